//! The limits of MaxCompute, checked before anything is sent. [`TableDefinition::validate`] returns every violation at once.

use std::collections::{BTreeMap, BTreeSet};

use crate::name::{ColumnName, NAME_BYTES_MAX};
use crate::table::{Column, PartitionSpec, TableDefinition, TableKind};
use crate::types::DataType;

/// Maximum number of columns of a table, partition columns included.
pub const COLUMNS_MAX: usize = 1200;
/// Maximum number of partition columns of a table.
pub const PARTITION_LEVELS_MAX: usize = 6;
/// Maximum length of a comment, in bytes.
pub const COMMENT_BYTES_MAX: usize = 1024;
/// Maximum length of a partition value, in bytes.
pub const PARTITION_VALUE_BYTES_MAX: usize = 128;

/// A limit of MaxCompute that a table definition breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what the fields are")]
pub enum LimitViolation {
    #[error("the table has no data column: MaxCompute needs at least one")]
    NoColumns,
    #[error("the table has {count} columns, the limit is {max}: leave some out or split the table", max = COLUMNS_MAX)]
    TooManyColumns { count: usize },
    #[error("the table has {count} partition columns, the limit is {max}: make the others ordinary columns", max = PARTITION_LEVELS_MAX)]
    TooManyPartitionLevels { count: usize },
    #[error("the comment of {what} has {bytes} bytes, the limit is {max}: shorten it", max = COMMENT_BYTES_MAX)]
    CommentTooLong { what: String, bytes: usize },
    #[error(
        "columns `{first}` and `{second}` have the same name, for MaxCompute ignores case: map one to another name"
    )]
    SameColumn { first: String, second: String },
    #[error(
        "fields `{first}` and `{second}` inside `{column}` have the same name, for MaxCompute ignores case: rename one"
    )]
    SameField { column: String, first: String, second: String },
    #[error("a field inside `{column}` has the name `{name}`: 1 to {max} bytes are needed", max = NAME_BYTES_MAX)]
    FieldName { column: String, name: String },
    #[error(
        "`{column}` is DECIMAL({precision},{scale}): the precision must be 1 to 38, the scale 0 to 18 and not above it"
    )]
    Decimal { column: String, precision: u8, scale: u8 },
    #[error("`{column}` is {data_type}: VARCHAR takes a length of 1 to 65535, CHAR 1 to 255; use STRING")]
    TextLength { column: String, data_type: DataType },
    #[error("`{column}` has JSON inside ARRAY, MAP or STRUCT, which MaxCompute does not allow: use STRING there")]
    NestedJson { column: String },
    #[error("partition column `{column}` is {data_type}: only STRING, VARCHAR, CHAR and integers partition a table")]
    PartitionType { column: String, data_type: DataType },
    #[error("a PK delta table needs a primary key")]
    KeyMissing,
    #[error("only a PK delta table has a primary key: this kind has none")]
    KeyNotAllowed,
    #[error("key column `{column}` is not a data column of the table")]
    KeyUnknown { column: String },
    #[error("key column `{column}` allows NULL: key columns are NOT NULL")]
    KeyNullable { column: String },
    #[error("the lifecycle must be at least 1 day")]
    Lifecycle,
    #[error("table property `{key}` is set by the table's kind: leave it out")]
    ReservedProperty { key: String },
}

/// Why a partition value cannot be addressed directly. Such partitions are written through a staging table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("partition value `{value}` of `{column}` {why}")]
pub struct PartitionValueError {
    /// The partition column.
    pub column: ColumnName,
    /// The partition value.
    pub value: String,
    /// The rule that the value breaks, as a phrase that follows the value in the message.
    pub why: String,
}

impl TableDefinition {
    /// Returns every limit that this definition breaks; empty if MaxCompute accepts it.
    #[must_use]
    pub fn validate(&self) -> Vec<LimitViolation> {
        let mut found = Vec::new();
        let count = self.columns.len() + self.partition_columns.len();
        if self.columns.is_empty() {
            found.push(LimitViolation::NoColumns);
        }
        if count > COLUMNS_MAX {
            found.push(LimitViolation::TooManyColumns { count });
        }
        if self.partition_columns.len() > PARTITION_LEVELS_MAX {
            found.push(LimitViolation::TooManyPartitionLevels { count: self.partition_columns.len() });
        }
        if self.lifecycle_days == Some(0) {
            found.push(LimitViolation::Lifecycle);
        }
        check_comment("the table", self.comment.as_deref(), &mut found);
        let mut seen: BTreeMap<String, &ColumnName> = BTreeMap::new();
        for column in self.columns.iter().chain(&self.partition_columns) {
            if let Some(first) = seen.insert(column.name.key(), &column.name) {
                let (first, second) = (first.to_string(), column.name.to_string());
                found.push(LimitViolation::SameColumn { first, second });
            }
            check_comment(&format!("column `{}`", column.name), column.comment.as_deref(), &mut found);
            check_type(column.name.as_str(), &column.data_type, false, &mut found);
        }
        for Column { name, data_type, .. } in self.partition_columns.iter().filter(|c| !c.data_type.partitions()) {
            found.push(LimitViolation::PartitionType { column: name.to_string(), data_type: data_type.clone() });
        }
        self.check_key(&mut found);
        for key in self.properties.keys().filter(|key| RESERVED_PROPERTIES.contains(&key.to_lowercase().as_str())) {
            found.push(LimitViolation::ReservedProperty { key: key.clone() });
        }
        found
    }

    fn check_key(&self, found: &mut Vec<LimitViolation>) {
        match (self.kind, self.primary_key.is_empty()) {
            (TableKind::PkDelta, true) => found.push(LimitViolation::KeyMissing),
            (TableKind::PkDelta, false) => {
                for key in &self.primary_key {
                    match self.columns.iter().find(|column| column.name.key() == key.key()) {
                        None => found.push(LimitViolation::KeyUnknown { column: key.to_string() }),
                        Some(column) if column.nullable => {
                            found.push(LimitViolation::KeyNullable { column: key.to_string() });
                        }
                        Some(_) => {}
                    }
                }
            }
            (TableKind::Ordinary | TableKind::AppendDelta, false) => found.push(LimitViolation::KeyNotAllowed),
            (TableKind::Ordinary | TableKind::AppendDelta, true) => {}
        }
    }
}

/// Table properties that follow from [`TableKind`], so a definition must not set them.
const RESERVED_PROPERTIES: [&str; 2] = ["transactional", "table.format.version"];

impl PartitionSpec {
    /// Checks that both the tunnel and SQL can name this partition. The tunnel's `k=v,k=v` has no escape, so some characters
    /// cannot be expressed.
    ///
    /// # Errors
    /// The first value that cannot be expressed.
    pub fn check(&self) -> Result<(), PartitionValueError> {
        for (column, value) in &self.0 {
            let why = if value.is_empty() {
                "is empty, which no partition can be".to_owned()
            } else if value.len() > PARTITION_VALUE_BYTES_MAX {
                format!("has {} bytes, the limit is {PARTITION_VALUE_BYTES_MAX}", value.len())
            } else if let Some(c) =
                value.chars().find(|c| !c.is_ascii() || c.is_ascii_control() || "/,='\"\\".contains(*c))
            {
                format!("contains {c:?}, which a partition address cannot express")
            } else if value.trim() != value {
                "begins or ends with a space, which a partition address loses".to_owned()
            } else {
                continue;
            };
            return Err(PartitionValueError { column: column.clone(), value: value.clone(), why });
        }
        Ok(())
    }
}

fn check_comment(what: &str, comment: Option<&str>, found: &mut Vec<LimitViolation>) {
    if let Some(bytes) = comment.map(str::len).filter(|bytes| *bytes > COMMENT_BYTES_MAX) {
        found.push(LimitViolation::CommentTooLong { what: what.to_owned(), bytes });
    }
}

fn check_type(column: &str, data_type: &DataType, nested: bool, found: &mut Vec<LimitViolation>) {
    let column_name = || column.to_owned();
    match data_type {
        DataType::Decimal { precision, scale } if !(1..=38).contains(precision) || *scale > 18 || scale > precision => {
            found.push(LimitViolation::Decimal { column: column_name(), precision: *precision, scale: *scale });
        }
        DataType::Varchar(length) if !(1..=65_535).contains(length) => {
            found.push(LimitViolation::TextLength { column: column_name(), data_type: data_type.clone() });
        }
        DataType::Char(length) if !(1..=255).contains(length) => {
            found.push(LimitViolation::TextLength { column: column_name(), data_type: data_type.clone() });
        }
        DataType::Json if nested => found.push(LimitViolation::NestedJson { column: column_name() }),
        DataType::Array(item) => check_type(column, item, true, found),
        DataType::Map(key, value) => {
            check_type(column, key, true, found);
            check_type(column, value, true, found);
        }
        DataType::Struct(fields) => {
            let mut seen: BTreeMap<String, &str> = BTreeMap::new();
            let mut bad_names = BTreeSet::new();
            for field in fields {
                if field.name.is_empty() || field.name.len() > NAME_BYTES_MAX {
                    bad_names.insert(field.name.clone());
                }
                if let Some(first) = seen.insert(field.name.to_lowercase(), &field.name) {
                    found.push(LimitViolation::SameField {
                        column: column_name(),
                        first: first.to_owned(),
                        second: field.name.clone(),
                    });
                }
                check_type(column, &field.data_type, true, found);
            }
            found.extend(bad_names.into_iter().map(|name| LimitViolation::FieldName { column: column_name(), name }));
        }
        _ => {}
    }
}

#[cfg(test)]
#[path = "limits_tests.rs"]
mod tests;
