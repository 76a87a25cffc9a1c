//! Parses types in Spark's SQL form, as found in Delta's `__CHAR_VARCHAR_TYPE_STRING` and Unity Catalog's `type_text`.

use std::str::FromStr;

use crate::error::MappingError;
use crate::source::{SparkField, SparkType};

/// Maximum nesting that is read.
const DEPTH_MAX: usize = 100;
/// Maximum length of a text that is read, in bytes.
const TEXT_BYTES_MAX: usize = 1024 * 1024;

impl FromStr for SparkType {
    type Err = MappingError;

    fn from_str(text: &str) -> Result<Self, MappingError> {
        let mut reader = Reader { text, at: 0 };
        if text.len() > TEXT_BYTES_MAX {
            return Err(reader.error("it is too long"));
        }
        let found = reader.data_type(0)?;
        if reader.peek().is_some() { Err(reader.error("it goes on after its end")) } else { Ok(found) }
    }
}

/// The type without parameters or parts that has this Spark or Delta name, given in lower case.
pub(crate) fn simple_type(name: &str) -> Option<SparkType> {
    Some(match name {
        "tinyint" | "byte" => SparkType::Byte,
        "smallint" | "short" => SparkType::Short,
        "int" | "integer" => SparkType::Integer,
        "bigint" | "long" => SparkType::Long,
        "float" | "real" => SparkType::Float,
        "double" => SparkType::Double,
        "boolean" => SparkType::Boolean,
        "string" => SparkType::String,
        "binary" => SparkType::Binary,
        "date" => SparkType::Date,
        "timestamp" | "timestamp_ltz" => SparkType::Timestamp,
        "timestamp_ntz" => SparkType::TimestampNtz,
        "variant" => SparkType::Variant,
        "void" | "null" => SparkType::Void,
        _ => return None,
    })
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

type Read<T> = Result<T, MappingError>;

impl Reader<'_> {
    fn data_type(&mut self, depth: usize) -> Read<SparkType> {
        if depth > DEPTH_MAX {
            return Err(self.error("it is nested too deeply"));
        }
        let name = self.word().to_lowercase();
        match name.as_str() {
            "" => Err(self.error("a type name is expected")),
            "array" => {
                self.require('<')?;
                let element = Box::new(self.data_type(depth + 1)?);
                self.require('>')?;
                Ok(SparkType::Array { element, contains_null: true })
            }
            "map" => {
                self.require('<')?;
                let key = Box::new(self.data_type(depth + 1)?);
                self.require(',')?;
                let value = Box::new(self.data_type(depth + 1)?);
                self.require('>')?;
                Ok(SparkType::Map { key, value, value_contains_null: true })
            }
            "struct" => self.fields(depth),
            "decimal" | "dec" | "numeric" => self.decimal(),
            "varchar" => Ok(SparkType::Varchar(self.length()?)),
            "char" | "character" => Ok(SparkType::Char(self.length()?)),
            "interval" => Ok(SparkType::Interval(self.phrase(name))),
            "string" if self.keyword("collate") => {
                let collation = self.word();
                if collation.is_empty() {
                    Err(self.error("a collation is expected"))
                } else {
                    Ok(SparkType::CollatedString(collation))
                }
            }
            other => match simple_type(other) {
                Some(simple) => Ok(simple),
                None => {
                    if self.take('(') {
                        // The parameters are skipped: the plan rejects the type anyway.
                        while !matches!(self.peek(), None | Some(')')) {
                            self.advance();
                        }
                        self.require(')')?;
                    }
                    Ok(SparkType::Other(name))
                }
            },
        }
    }

    fn decimal(&mut self) -> Read<SparkType> {
        if !self.take('(') {
            return Ok(SparkType::Decimal { precision: 10, scale: 0 });
        }
        let precision = self.number()?;
        let scale = if self.take(',') { self.number()? } else { 0 };
        self.require(')')?;
        match (u8::try_from(precision), u8::try_from(scale)) {
            (Ok(precision @ 1..=38), Ok(scale)) if scale <= precision => Ok(SparkType::Decimal { precision, scale }),
            _ => Err(self.error("a decimal has 1 to 38 digits, of which at most all stand after the point")),
        }
    }

    fn length(&mut self) -> Read<u32> {
        self.require('(')?;
        let length = self.number()?;
        self.require(')')?;
        if length == 0 { Err(self.error("the length must be at least 1")) } else { Ok(length) }
    }

    fn fields(&mut self, depth: usize) -> Read<SparkType> {
        self.require('<')?;
        let mut fields = Vec::new();
        if self.take('>') {
            return Ok(SparkType::Struct(fields));
        }
        loop {
            let name = self.field_name()?;
            self.require(':')?;
            let data_type = self.data_type(depth + 1)?;
            let nullable = !self.keyword("not");
            if !nullable && !self.keyword("null") {
                return Err(self.error("NULL is expected after NOT"));
            }
            let comment = if self.keyword("comment") { Some(self.quoted()?) } else { None };
            fields.push(SparkField { name, data_type, nullable, comment });
            if !self.take(',') {
                self.require('>')?;
                return Ok(SparkType::Struct(fields));
            }
        }
    }

    /// Spark prints field names without quotes, even those with blanks in them, so the name is everything up to the colon.
    fn field_name(&mut self) -> Read<String> {
        let name = if self.take('`') {
            self.until_closed('`')?
        } else {
            let rest = &self.text[self.at..];
            let end = rest.find(':').unwrap_or(rest.len());
            self.at += end;
            rest[..end].trim().to_owned()
        };
        if name.is_empty() { Err(self.error("a field name is expected")) } else { Ok(name) }
    }

    fn quoted(&mut self) -> Read<String> {
        for quote in ['\'', '"'] {
            if self.take(quote) {
                return self.until_closed(quote);
            }
        }
        Err(self.error("a comment in quotes is expected"))
    }

    fn until_closed(&mut self, quote: char) -> Read<String> {
        let mut text = String::new();
        while let Some(c) = self.text[self.at..].chars().next() {
            self.at += c.len_utf8();
            if c != quote {
                text.push(c);
            } else if self.text[self.at..].starts_with(quote) {
                self.at += quote.len_utf8();
                text.push(quote);
            } else {
                return Ok(text);
            }
        }
        Err(self.error("a quote is never closed"))
    }

    fn number(&mut self) -> Read<u32> {
        self.word().parse().map_err(|_| self.error("a number is expected"))
    }

    /// Appends the words that follow, up to a punctuation character.
    fn phrase(&mut self, mut phrase: String) -> String {
        loop {
            let word = self.word();
            if word.is_empty() {
                return phrase;
            }
            phrase.push(' ');
            phrase.push_str(&word.to_lowercase());
        }
    }

    fn word(&mut self) -> String {
        self.peek();
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        self.at += end;
        rest[..end].to_owned()
    }

    fn keyword(&mut self, keyword: &str) -> bool {
        let before = self.at;
        let found = self.word().eq_ignore_ascii_case(keyword);
        if !found {
            self.at = before;
        }
        found
    }

    /// The next character that is not a blank.
    fn peek(&mut self) -> Option<char> {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
        self.text[self.at..].chars().next()
    }

    fn advance(&mut self) {
        self.at += self.peek().map_or(0, char::len_utf8);
    }

    fn take(&mut self, sign: char) -> bool {
        let found = self.peek() == Some(sign);
        if found {
            self.at += sign.len_utf8();
        }
        found
    }

    fn require(&mut self, sign: char) -> Read<()> {
        let problem = match sign {
            '<' => "`<` is expected",
            '>' => "`>` is expected",
            '(' => "`(` is expected",
            ')' => "`)` is expected",
            ',' => "`,` is expected",
            _ => "`:` is expected",
        };
        if self.take(sign) { Ok(()) } else { Err(self.error(problem)) }
    }

    fn error(&self, problem: &'static str) -> MappingError {
        MappingError::TypeText { text: self.text.chars().take(80).collect(), problem, byte: self.at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read() {
        let same = |text: &str| text.parse::<SparkType>().map(|t| t.to_string());
        for text in [
            "BIGINT",
            "DECIMAL(10,2)",
            "VARCHAR(7)",
            "CHAR(3)",
            "TIMESTAMP_NTZ",
            "STRING COLLATE UTF8_LCASE",
            "INTERVAL DAY TO SECOND",
            "MAP<INT, ARRAY<STRING>>",
            "STRUCT<`a b`: INT NOT NULL, `c`: STRUCT<`d``e`: DATE>>",
        ] {
            assert_eq!(same(text).as_deref(), Ok(text));
        }
        assert_eq!(
            same("struct<a b:varchar(3),c:decimal>").as_deref(),
            Ok("STRUCT<`a b`: VARCHAR(3), `c`: DECIMAL(10,0)>")
        );
        assert_eq!("geography(4326)".parse(), Ok(SparkType::Other("geography".to_owned())));
        let commented: SparkType = "struct<a:int comment 'it''s'>".parse().expect("reads");
        assert!(matches!(commented, SparkType::Struct(f) if f[0].comment.as_deref() == Some("it's")));
    }

    #[test]
    fn what_is_not_a_type_is_refused() {
        for text in [
            "",
            "array<int",
            "decimal(39,0)",
            "decimal(3,4)",
            "varchar",
            "char(0)",
            "int int",
            "struct<:int>",
            "map<int>",
        ] {
            assert!(text.parse::<SparkType>().is_err(), "{text}");
        }
        assert!("array<".repeat(5000).parse::<SparkType>().is_err());
    }
}
