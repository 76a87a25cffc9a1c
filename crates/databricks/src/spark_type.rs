//! Owns [`SparkType`]: a column's type in Spark's terms, and its canonical text. Parsing lies in `type_json` and `type_text`.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

/// Deepest nesting of types that is read.
pub(crate) const MAX_DEPTH: usize = 64;

/// The type of a column, a field, an element, a key or a value.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "Spark's own names")]
pub enum SparkType {
    Boolean,
    Byte,
    Short,
    Integer,
    Long,
    Float,
    Double,
    Decimal {
        precision: u8,
        scale: u8,
    },
    /// Text. A collation (which changes comparisons, not values) is left to the column's metadata and type text.
    String,
    /// Text of at most so many characters.
    Varchar(u32),
    /// Text padded to so many characters.
    Char(u32),
    Binary,
    Date,
    Timestamp,
    TimestampNtz,
    /// An interval, in Spark's words: `interval day to second`.
    Interval(String),
    Variant,
    /// The type of a bare `NULL`.
    Null,
    Array {
        element: Box<SparkType>,
        contains_null: bool,
    },
    Map {
        key: Box<SparkType>,
        value: Box<SparkType>,
        value_contains_null: bool,
    },
    Struct(Vec<SparkField>),
    /// A type that this program does not know, in the source's own words.
    Other(String),
}

/// A field of a struct.
#[derive(Debug, Clone, PartialEq)]
pub struct SparkField {
    /// Its name.
    pub name: String,
    /// Its type.
    pub data_type: SparkType,
    /// Whether NULL may occur.
    pub nullable: bool,
    /// Its comment.
    pub comment: Option<String>,
    /// Its metadata as the source gives it, the comment included.
    pub metadata: BTreeMap<String, Value>,
}

/// A type that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("type {text:?} cannot be read: {what}")]
pub struct TypeError {
    /// The beginning of the source's text.
    pub text: String,
    /// Why it cannot be read.
    pub what: String,
}

impl TypeError {
    pub(crate) fn new(text: &str, what: impl Into<String>) -> Self {
        Self { text: text.chars().take(200).collect(), what: what.into() }
    }
}

/// Spark's canonical text, as in `type_text`: `struct<a:int,b:array<decimal(10,2)>>`.
impl fmt::Display for SparkType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean => f.write_str("boolean"),
            Self::Byte => f.write_str("tinyint"),
            Self::Short => f.write_str("smallint"),
            Self::Integer => f.write_str("int"),
            Self::Long => f.write_str("bigint"),
            Self::Float => f.write_str("float"),
            Self::Double => f.write_str("double"),
            Self::Decimal { precision, scale } => write!(f, "decimal({precision},{scale})"),
            Self::String => f.write_str("string"),
            Self::Varchar(length) => write!(f, "varchar({length})"),
            Self::Char(length) => write!(f, "char({length})"),
            Self::Binary => f.write_str("binary"),
            Self::Date => f.write_str("date"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::TimestampNtz => f.write_str("timestamp_ntz"),
            Self::Interval(words) | Self::Other(words) => f.write_str(words),
            Self::Variant => f.write_str("variant"),
            Self::Null => f.write_str("void"),
            Self::Array { element, .. } => write!(f, "array<{element}>"),
            Self::Map { key, value, .. } => write!(f, "map<{key},{value}>"),
            Self::Struct(fields) => {
                f.write_str("struct<")?;
                for (at, field) in fields.iter().enumerate() {
                    let comma = if at == 0 { "" } else { "," };
                    write!(f, "{comma}{}:{}", quoted(&field.name), field.data_type)?;
                    if !field.nullable {
                        f.write_str(" not null")?;
                    }
                }
                f.write_str(">")
            }
        }
    }
}

fn quoted(name: &str) -> String {
    let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if plain { name.to_owned() } else { format!("`{}`", name.replace('`', "``")) }
}
