//! Parses a type's text (`type_text`, DDL): `struct<a:int,b:array<varchar(10)>>`. Pure and bounded in depth.

use std::collections::BTreeMap;

use crate::spark_type::MAX_DEPTH;
use crate::{SparkField, SparkType, TypeError};

/// What may follow `interval`.
const INTERVAL_WORDS: &[&str] = &["year", "month", "day", "hour", "minute", "second", "to"];

/// Parses Spark's text of a type. Element and value types count as nullable: the text does not say.
pub fn parse_type_text(text: &str) -> Result<SparkType, TypeError> {
    let mut parser = Parser { text, at: 0 };
    let parsed = parser.data_type(0)?;
    parser.blanks();
    if parser.at < text.len() {
        return Err(parser.error("something follows the type"));
    }
    Ok(parsed)
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Parser<'t> {
    fn error(&self, what: &str) -> TypeError {
        TypeError::new(self.text, format!("{what} at byte {}", self.at))
    }

    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn blanks(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn take(&mut self, token: char) -> bool {
        self.blanks();
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len_utf8();
        }
        found
    }

    fn expect(&mut self, token: char) -> Result<(), TypeError> {
        if self.take(token) { Ok(()) } else { Err(self.error(&format!("{token:?} is missing"))) }
    }

    fn word(&mut self) -> &'t str {
        self.blanks();
        let rest = self.rest();
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    /// Takes `word` if it comes next, whatever its case.
    fn take_word(&mut self, word: &str) -> bool {
        let before = self.at;
        let found = self.word().eq_ignore_ascii_case(word);
        if !found {
            self.at = before;
        }
        found
    }

    fn number<N: std::str::FromStr>(&mut self) -> Result<N, TypeError> {
        let word = self.word();
        word.parse().map_err(|_| self.error(&format!("{word:?} is no number in range")))
    }

    fn length(&mut self) -> Result<u32, TypeError> {
        self.expect('(')?;
        let length = self.number()?;
        self.expect(')')?;
        Ok(length)
    }

    fn data_type(&mut self, depth: usize) -> Result<SparkType, TypeError> {
        if depth > MAX_DEPTH {
            return Err(self.error("nested too deeply"));
        }
        self.blanks();
        let start = self.at;
        let word = self.word().to_ascii_lowercase();
        Ok(match word.as_str() {
            "boolean" | "bool" => SparkType::Boolean,
            "tinyint" | "byte" => SparkType::Byte,
            "smallint" | "short" => SparkType::Short,
            "int" | "integer" => SparkType::Integer,
            "bigint" | "long" => SparkType::Long,
            "float" | "real" => SparkType::Float,
            "double" => SparkType::Double,
            "string" => {
                if self.take_word("collate") {
                    self.word();
                }
                SparkType::String
            }
            "varchar" => SparkType::Varchar(self.length()?),
            "char" | "character" => SparkType::Char(self.length()?),
            "binary" => SparkType::Binary,
            "date" => SparkType::Date,
            "timestamp" | "timestamp_ltz" => SparkType::Timestamp,
            "timestamp_ntz" => SparkType::TimestampNtz,
            "variant" => SparkType::Variant,
            "void" | "null" => SparkType::Null,
            "interval" => {
                let mut words = word;
                while let Some(next) = INTERVAL_WORDS.iter().find(|next| self.take_word(next)) {
                    words = format!("{words} {next}");
                }
                SparkType::Interval(words)
            }
            "decimal" | "dec" | "numeric" => self.decimal()?,
            "array" => {
                self.expect('<')?;
                let element = Box::new(self.data_type(depth + 1)?);
                self.expect('>')?;
                SparkType::Array { element, contains_null: true }
            }
            "map" => {
                self.expect('<')?;
                let key = Box::new(self.data_type(depth + 1)?);
                self.expect(',')?;
                let value = Box::new(self.data_type(depth + 1)?);
                self.expect('>')?;
                SparkType::Map { key, value, value_contains_null: true }
            }
            "struct" => {
                self.expect('<')?;
                SparkType::Struct(self.fields(depth)?)
            }
            "" => return Err(self.error("a type is missing")),
            _ => {
                // geometry(4326), geography(any), and what comes after this was written.
                if self.take('(') {
                    let rest = self.rest();
                    let Some(end) = rest.find(')') else { return Err(self.error("')' is missing")) };
                    self.at += end + 1;
                }
                SparkType::Other(self.text[start..self.at].to_owned())
            }
        })
    }

    fn decimal(&mut self) -> Result<SparkType, TypeError> {
        let (mut precision, mut scale) = (10, 0);
        if self.take('(') {
            precision = self.number()?;
            if self.take(',') {
                scale = self.number()?;
            }
            self.expect(')')?;
        }
        decimal(precision, scale)
            .ok_or_else(|| self.error("a decimal has 1 to 38 digits and no more of them after the point"))
    }

    fn fields(&mut self, depth: usize) -> Result<Vec<SparkField>, TypeError> {
        let mut fields = Vec::new();
        if self.take('>') {
            return Ok(fields);
        }
        loop {
            let name = self.field_name()?;
            // DDL allows a blank instead of the colon.
            self.take(':');
            let data_type = self.data_type(depth + 1)?;
            let mut nullable = true;
            if self.take_word("not") {
                if !self.take_word("null") {
                    return Err(self.error("NULL is missing after NOT"));
                }
                nullable = false;
            }
            let comment = if self.take_word("comment") { Some(self.quoted('\'')?) } else { None };
            fields.push(SparkField { name, data_type, nullable, comment, metadata: BTreeMap::new() });
            if self.take('>') {
                return Ok(fields);
            }
            self.expect(',')?;
        }
    }

    fn field_name(&mut self) -> Result<String, TypeError> {
        self.blanks();
        if self.rest().starts_with('`') {
            return self.quoted('`');
        }
        // Outside quotes the source does not escape: everything up to the colon (or blank) is the name.
        let rest = self.rest();
        let end = rest.find([':', ' ', ',', '<', '>']).unwrap_or(rest.len());
        if end == 0 {
            return Err(self.error("a field name is missing"));
        }
        self.at += end;
        Ok(rest[..end].to_owned())
    }

    /// Text in quotes; the quote itself is doubled, or (in comments) escaped with a backslash.
    fn quoted(&mut self, quote: char) -> Result<String, TypeError> {
        self.expect(quote)?;
        let mut out = String::new();
        let mut chars = self.rest().char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            if c == quote {
                if chars.next_if(|(_, next)| *next == quote).is_none() {
                    self.at += at + c.len_utf8();
                    return Ok(out);
                }
                out.push(c);
            } else if c == '\\' && quote == '\'' {
                out.extend(chars.next().map(|(_, escaped)| escaped));
            } else {
                out.push(c);
            }
        }
        Err(self.error(&format!("the closing {quote} is missing")))
    }
}

/// A decimal, if Spark allows it.
fn decimal(precision: u8, scale: u8) -> Option<SparkType> {
    ((1..=38).contains(&precision) && scale <= precision).then_some(SparkType::Decimal { precision, scale })
}

#[cfg(test)]
#[path = "type_tests.rs"]
mod tests;
