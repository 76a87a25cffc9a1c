//! The types of MaxCompute's 2.0 edition, their text form and their limits.

use std::fmt;

/// A column type.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum DataType {
    /// 8-bit integer.
    TinyInt,
    /// 16-bit integer.
    SmallInt,
    /// 32-bit integer.
    Int,
    /// 64-bit integer.
    BigInt,
    /// IEEE 754 single.
    Float,
    /// IEEE 754 double.
    Double,
    /// True or false.
    Boolean,
    /// Exact decimal; `precision` 1..=38, `scale` 0..=18 and not above the precision.
    Decimal {
        /// Total number of digits.
        precision: u8,
        /// Digits after the decimal point.
        scale: u8,
    },
    /// UTF-8 text, at most 8 MiB a cell.
    String,
    /// Text of at most this many characters, 1..=65535.
    Varchar(u32),
    /// Text padded to this many characters, 1..=255.
    Char(u32),
    /// Bytes, at most 8 MiB a cell.
    Binary,
    /// A calendar date.
    Date,
    /// A time of day with milliseconds.
    Datetime,
    /// An instant with nanoseconds.
    Timestamp,
    /// A wall-clock time with nanoseconds.
    TimestampNtz,
    /// JSON text; not inside ARRAY, MAP or STRUCT.
    Json,
    /// A list.
    Array(Box<DataType>),
    /// Keys and values.
    Map(Box<DataType>, Box<DataType>),
    /// Named fields, in order.
    Struct(Vec<StructField>),
}

/// One field of a STRUCT.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct StructField {
    /// The field's name.
    pub name: String,
    /// The field's type.
    pub data_type: DataType,
}

impl DataType {
    /// Whether a partition column may have this type.
    #[must_use]
    pub fn partitions(&self) -> bool {
        matches!(
            self,
            Self::String | Self::Varchar(_) | Self::Char(_) | Self::TinyInt | Self::SmallInt | Self::Int | Self::BigInt
        )
    }

    /// Whether this is an ARRAY, MAP or STRUCT.
    #[must_use]
    pub fn is_nested(&self) -> bool {
        matches!(self, Self::Array(_) | Self::Map(..) | Self::Struct(_))
    }

    /// Whether this is one of the four integer types.
    #[must_use]
    pub fn is_integer(&self) -> bool {
        matches!(self, Self::TinyInt | Self::SmallInt | Self::Int | Self::BigInt)
    }
}

/// Field names of a STRUCT are quoted unless they are plain words.
fn field_name(name: &str) -> String {
    if !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        name.to_owned()
    } else {
        format!("`{}`", name.replace('`', "``"))
    }
}

/// Writes the SQL text of the type, in upper case.
impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TinyInt => f.write_str("TINYINT"),
            Self::SmallInt => f.write_str("SMALLINT"),
            Self::Int => f.write_str("INT"),
            Self::BigInt => f.write_str("BIGINT"),
            Self::Float => f.write_str("FLOAT"),
            Self::Double => f.write_str("DOUBLE"),
            Self::Boolean => f.write_str("BOOLEAN"),
            Self::Decimal { precision, scale } => write!(f, "DECIMAL({precision},{scale})"),
            Self::String => f.write_str("STRING"),
            Self::Varchar(n) => write!(f, "VARCHAR({n})"),
            Self::Char(n) => write!(f, "CHAR({n})"),
            Self::Binary => f.write_str("BINARY"),
            Self::Date => f.write_str("DATE"),
            Self::Datetime => f.write_str("DATETIME"),
            Self::Timestamp => f.write_str("TIMESTAMP"),
            Self::TimestampNtz => f.write_str("TIMESTAMP_NTZ"),
            Self::Json => f.write_str("JSON"),
            Self::Array(item) => write!(f, "ARRAY<{item}>"),
            Self::Map(key, value) => write!(f, "MAP<{key},{value}>"),
            Self::Struct(fields) => {
                f.write_str("STRUCT<")?;
                for (i, field) in fields.iter().enumerate() {
                    let comma = if i == 0 { "" } else { "," };
                    write!(f, "{comma}{}:{}", field_name(&field.name), field.data_type)?;
                }
                f.write_str(">")
            }
        }
    }
}
