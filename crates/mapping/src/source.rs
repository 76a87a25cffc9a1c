//! A Databricks table, as Unity Catalog and the Delta log describe it.

use std::collections::BTreeMap;
use std::fmt;

/// A source table, with facts about its pinned snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct SourceTable {
    /// The schema that contains the table.
    pub schema: String,
    /// The name of the table itself.
    pub table: String,
    /// The comment; `None` if there is none.
    pub comment: Option<String>,
    /// All columns in order, partition columns included.
    pub columns: Vec<SourceColumn>,
    /// Names of the partition columns, outermost first.
    pub partition_columns: Vec<String>,
    /// Names of the key columns; empty if there is no key.
    pub primary_key: Vec<String>,
    /// Table properties, such as `delta.constraints.…`.
    pub properties: BTreeMap<String, String>,
    /// For each partition column, whether the pinned snapshot has a NULL in it. A column that was not examined is absent.
    pub partition_nulls: BTreeMap<String, bool>,
    /// Number of partitions in the pinned snapshot, if they were counted.
    pub partition_count: Option<u64>,
}

/// A column of the source.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SourceColumn {
    /// The logical name, not the physical one of column mapping.
    pub name: String,
    /// The type at the source.
    pub data_type: SparkType,
    /// Whether NULL is allowed.
    pub nullable: bool,
    /// The comment; `None` if there is none.
    pub comment: Option<String>,
    /// Features of the column that a target column does not have.
    pub extras: Vec<ColumnExtra>,
}

/// A feature of a column that a target column does not have.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum ColumnExtra {
    /// A default value, as an expression.
    Default(String),
    /// The column is computed from others by this expression.
    Generated(String),
    /// The column numbers the rows.
    Identity,
}

/// A type of Spark.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum SparkType {
    /// 8-bit integer, TINYINT.
    Byte,
    /// 16-bit integer, SMALLINT.
    Short,
    /// 32-bit integer, INT.
    Integer,
    /// 64-bit integer, BIGINT.
    Long,
    /// IEEE 754 single.
    Float,
    /// IEEE 754 double.
    Double,
    /// True or false.
    Boolean,
    /// Exact decimal, precision 1..=38, scale up to the precision.
    Decimal {
        /// Total number of digits.
        precision: u8,
        /// Digits after the decimal point.
        scale: u8,
    },
    /// Text with the binary collation.
    String,
    /// Text with this collation, which is not the binary one.
    CollatedString(String),
    /// Text of at most this many characters.
    Varchar(u32),
    /// Text padded to this many characters.
    Char(u32),
    /// Bytes.
    Binary,
    /// A calendar date.
    Date,
    /// An instant in microseconds.
    Timestamp,
    /// A wall-clock time in microseconds.
    TimestampNtz,
    /// An interval; the text names its fields.
    Interval(String),
    /// A semi-structured value of any shape.
    Variant,
    /// A type whose only value is NULL.
    Void,
    /// A type that this version does not know (GEOGRAPHY, OBJECT, user-defined…), by name.
    Other(String),
    /// A list.
    Array {
        /// The type of the items.
        element: Box<SparkType>,
        /// Whether an item may be NULL.
        contains_null: bool,
    },
    /// Keys and values.
    Map {
        /// The type of the keys.
        key: Box<SparkType>,
        /// The type of the values.
        value: Box<SparkType>,
        /// Whether a value may be NULL.
        value_contains_null: bool,
    },
    /// Named fields, in order.
    Struct(Vec<SparkField>),
}

/// One field of a struct.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct SparkField {
    /// The logical name.
    pub name: String,
    /// The type at the source.
    pub data_type: SparkType,
    /// Whether NULL is allowed.
    pub nullable: bool,
    /// The comment; `None` if there is none.
    pub comment: Option<String>,
}

/// Writes Spark's SQL text of the type, in upper case.
impl fmt::Display for SparkType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Byte => f.write_str("TINYINT"),
            Self::Short => f.write_str("SMALLINT"),
            Self::Integer => f.write_str("INT"),
            Self::Long => f.write_str("BIGINT"),
            Self::Float => f.write_str("FLOAT"),
            Self::Double => f.write_str("DOUBLE"),
            Self::Boolean => f.write_str("BOOLEAN"),
            Self::Decimal { precision, scale } => write!(f, "DECIMAL({precision},{scale})"),
            Self::String => f.write_str("STRING"),
            Self::CollatedString(collation) => write!(f, "STRING COLLATE {collation}"),
            Self::Varchar(n) => write!(f, "VARCHAR({n})"),
            Self::Char(n) => write!(f, "CHAR({n})"),
            Self::Binary => f.write_str("BINARY"),
            Self::Date => f.write_str("DATE"),
            Self::Timestamp => f.write_str("TIMESTAMP"),
            Self::TimestampNtz => f.write_str("TIMESTAMP_NTZ"),
            Self::Interval(text) | Self::Other(text) => f.write_str(&text.to_uppercase()),
            Self::Variant => f.write_str("VARIANT"),
            Self::Void => f.write_str("VOID"),
            Self::Array { element, .. } => write!(f, "ARRAY<{element}>"),
            Self::Map { key, value, .. } => write!(f, "MAP<{key}, {value}>"),
            Self::Struct(fields) => {
                f.write_str("STRUCT<")?;
                for (i, field) in fields.iter().enumerate() {
                    let comma = if i == 0 { "" } else { ", " };
                    write!(f, "{comma}`{}`: {}", field.name.replace('`', "``"), field.data_type)?;
                    if !field.nullable {
                        f.write_str(" NOT NULL")?;
                    }
                }
                f.write_str(">")
            }
        }
    }
}
