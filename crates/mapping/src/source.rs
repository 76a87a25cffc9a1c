//! The source side: a Databricks table as Unity Catalog and the Delta log describe it.

use std::collections::BTreeMap;
use std::fmt;

/// A table of the source, with what its pinned snapshot tells.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct SourceTable {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub table: String,
    /// Its comment.
    pub comment: Option<String>,
    /// All columns in order, partition columns included.
    pub columns: Vec<SourceColumn>,
    /// Names of the partition columns, outermost first.
    pub partition_columns: Vec<String>,
    /// Names of the key columns; empty if there is no key.
    pub primary_key: Vec<String>,
    /// Table properties (`delta.constraints.…` and others).
    pub properties: BTreeMap<String, String>,
    /// For each partition column, whether the pinned snapshot has a NULL in it. Absent: nobody has looked.
    pub partition_nulls: BTreeMap<String, bool>,
    /// Partitions in the pinned snapshot, if counted.
    pub partition_count: Option<u64>,
}

/// A column of the source.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SourceColumn {
    /// Its logical name (not the physical one of column mapping).
    pub name: String,
    /// Its type.
    pub data_type: SparkType,
    /// Whether NULL is allowed.
    pub nullable: bool,
    /// Its comment.
    pub comment: Option<String>,
    /// What else the source does with it.
    pub extras: Vec<ColumnExtra>,
}

/// Something a column has that a target column has not.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum ColumnExtra {
    /// A default value, as an expression.
    Default(String),
    /// It is computed from others, as an expression.
    Generated(String),
    /// It numbers the rows.
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
        /// Digits in all.
        precision: u8,
        /// Digits after the point.
        scale: u8,
    },
    /// Text.
    String,
    /// Text with a collation other than the binary one.
    CollatedString(String),
    /// Text of at most so many characters.
    Varchar(u32),
    /// Text padded to so many characters.
    Char(u32),
    /// Bytes.
    Binary,
    /// A calendar day.
    Date,
    /// An instant in microseconds.
    Timestamp,
    /// A wall-clock time in microseconds.
    TimestampNtz,
    /// A span of time; the text says of which fields.
    Interval(String),
    /// A value of any shape.
    Variant,
    /// Nothing but NULL.
    Void,
    /// A type this version does not know (GEOGRAPHY, OBJECT, user-defined…), by its name.
    Other(String),
    /// A list.
    Array {
        /// Its items.
        element: Box<SparkType>,
        /// Whether an item may be NULL.
        contains_null: bool,
    },
    /// Keys and values.
    Map {
        /// Its keys.
        key: Box<SparkType>,
        /// Its values.
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
    /// Its logical name.
    pub name: String,
    /// Its type.
    pub data_type: SparkType,
    /// Whether NULL is allowed.
    pub nullable: bool,
    /// Its comment.
    pub comment: Option<String>,
}

/// Spark's SQL text of the type, upper case.
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
