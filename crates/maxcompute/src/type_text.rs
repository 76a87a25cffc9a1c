//! Parses the text of a type, as the server and people write it: any case, nested, with back-quoted field names. It accepts
//! whatever is well formed; [`crate::limits`] checks the limits.

use std::str::FromStr;

use crate::types::{DataType, StructField};

/// Maximum nesting. A deeper text is rejected, so that none can exhaust the stack.
const MAX_DEPTH: usize = 64;

/// Precision and scale of a DECIMAL that names neither.
const DECIMAL_DEFAULT: (u8, u8) = (38, 18);

/// Why a text is not a type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a MaxCompute type: expected {expected} at byte {at}")]
pub struct TypeTextError {
    /// The whole text.
    pub text: String,
    /// The byte at which the text stops being a type.
    pub at: usize,
    /// What is expected there.
    pub expected: &'static str,
}

impl FromStr for DataType {
    type Err = TypeTextError;

    fn from_str(text: &str) -> Result<Self, TypeTextError> {
        let mut parser = Parser { text, at: 0 };
        let data_type = parser.data_type(0)?;
        parser.space();
        if parser.at < text.len() {
            return Err(parser.fail("the end of the type"));
        }
        Ok(data_type)
    }
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
}

impl Parser<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn fail(&self, expected: &'static str) -> TypeTextError {
        TypeTextError { text: self.text.to_owned(), at: self.at, expected }
    }

    fn space(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    fn accept(&mut self, sign: char) -> bool {
        self.space();
        let found = self.rest().starts_with(sign);
        if found {
            self.at += sign.len_utf8();
        }
        found
    }

    fn expect(&mut self, sign: char, expected: &'static str) -> Result<(), TypeTextError> {
        if self.accept(sign) { Ok(()) } else { Err(self.fail(expected)) }
    }

    fn word(&mut self, expected: &'static str, ok: fn(char) -> bool) -> Result<String, TypeTextError> {
        self.space();
        let len = self.rest().find(|c| !ok(c)).unwrap_or(self.rest().len());
        if len == 0 {
            return Err(self.fail(expected));
        }
        let word = self.rest()[..len].to_owned();
        self.at += len;
        Ok(word)
    }

    fn number<N: FromStr>(&mut self) -> Result<N, TypeTextError> {
        let start = self.at;
        let digits = self.word("a number", |c| c.is_ascii_digit())?;
        digits.parse().map_err(|_| {
            self.at = start;
            self.fail("a smaller number")
        })
    }

    fn length(&mut self) -> Result<u32, TypeTextError> {
        self.expect('(', "`(` and a length")?;
        let length = self.number()?;
        self.expect(')', "`)`")?;
        Ok(length)
    }

    fn decimal(&mut self) -> Result<DataType, TypeTextError> {
        if !self.accept('(') {
            let (precision, scale) = DECIMAL_DEFAULT;
            return Ok(DataType::Decimal { precision, scale });
        }
        let precision = self.number()?;
        let scale = if self.accept(',') { self.number()? } else { 0 };
        self.expect(')', "`)`")?;
        Ok(DataType::Decimal { precision, scale })
    }

    fn data_type(&mut self, depth: usize) -> Result<DataType, TypeTextError> {
        if depth > MAX_DEPTH {
            return Err(self.fail("less nesting"));
        }
        self.space();
        let start = self.at;
        let word = self.word("a type name", |c| c.is_ascii_alphanumeric() || c == '_')?;
        Ok(match word.to_ascii_uppercase().as_str() {
            "TINYINT" => DataType::TinyInt,
            "SMALLINT" => DataType::SmallInt,
            "INT" => DataType::Int,
            "BIGINT" => DataType::BigInt,
            "FLOAT" => DataType::Float,
            "DOUBLE" => DataType::Double,
            "BOOLEAN" => DataType::Boolean,
            "DECIMAL" => self.decimal()?,
            "STRING" => DataType::String,
            "VARCHAR" => DataType::Varchar(self.length()?),
            "CHAR" => DataType::Char(self.length()?),
            "BINARY" => DataType::Binary,
            "DATE" => DataType::Date,
            "DATETIME" => DataType::Datetime,
            "TIMESTAMP" => DataType::Timestamp,
            "TIMESTAMP_NTZ" => DataType::TimestampNtz,
            "JSON" => DataType::Json,
            "ARRAY" => {
                self.expect('<', "`<`")?;
                let item = self.data_type(depth + 1)?;
                self.expect('>', "`>`")?;
                DataType::Array(Box::new(item))
            }
            "MAP" => {
                self.expect('<', "`<`")?;
                let key = self.data_type(depth + 1)?;
                self.expect(',', "`,` and the value type")?;
                let value = self.data_type(depth + 1)?;
                self.expect('>', "`>`")?;
                DataType::Map(Box::new(key), Box::new(value))
            }
            "STRUCT" => self.fields(depth)?,
            _ => {
                self.at = start;
                return Err(self.fail("a type of MaxCompute's 2.0 edition"));
            }
        })
    }

    fn fields(&mut self, depth: usize) -> Result<DataType, TypeTextError> {
        self.expect('<', "`<`")?;
        let mut fields = Vec::new();
        loop {
            let name = self.field_name()?;
            self.expect(':', "`:` and the field's type")?;
            fields.push(StructField { name, data_type: self.data_type(depth + 1)? });
            if !self.accept(',') {
                break;
            }
        }
        self.expect('>', "`,` or `>`")?;
        Ok(DataType::Struct(fields))
    }

    fn field_name(&mut self) -> Result<String, TypeTextError> {
        if !self.accept('`') {
            return self.word("a field name", |c| !c.is_whitespace() && !"`:<>,()".contains(c));
        }
        let mut name = String::new();
        loop {
            let Some(len) = self.rest().find('`') else {
                return Err(self.fail("a closing back quote"));
            };
            name.push_str(&self.rest()[..len]);
            self.at += len + 1;
            // A doubled back quote stands for one that belongs to the name.
            if !self.rest().starts_with('`') {
                return Ok(name);
            }
            name.push('`');
            self.at += 1;
        }
    }
}

#[cfg(test)]
#[path = "type_text_tests.rs"]
mod tests;
