//! The definition of a table: its columns and properties, and the limits that MaxCompute puts on them.

use std::collections::{BTreeMap, BTreeSet};

use mms_maxcompute::types::DataType;
use serde::{Deserialize, Serialize};

use super::error::{ApiError, ApiResult};
use super::type_text::type_text;

/// Longest name, in bytes.
const NAME_BYTES_MAX: usize = 128;
/// Longest comment, in bytes.
const COMMENT_BYTES_MAX: usize = 1024;
/// Most columns of a table, partition columns included.
const COLUMNS_MAX: usize = 1200;
/// Most partition columns of a table.
const LEVELS_MAX: usize = 6;
/// Most partitions of a table.
pub const PARTITIONS_MAX: usize = 60_000;

/// A column or partition column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// In lower case, as the service stores it.
    pub name: String,
    pub data_type: DataType,
    pub nullable: bool,
    pub comment: Option<String>,
}

/// Everything about a table except its rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableMeta {
    /// Generated when the table is created, so that a later table of the same name has another id.
    pub id: String,
    /// Lower case.
    pub name: String,
    /// Data columns in order.
    pub columns: Vec<Column>,
    /// Partition columns in order.
    pub partition_columns: Vec<Column>,
    /// Names of the key columns of a transactional table.
    pub primary_key: Vec<String>,
    pub comment: Option<String>,
    /// The days of LIFECYCLE.
    pub lifecycle: Option<u32>,
    /// The TBLPROPERTIES.
    pub properties: BTreeMap<String, String>,
    /// Seconds since the epoch.
    pub created: i64,
    /// Seconds since the epoch.
    pub last_ddl: i64,
}

/// Whether a text can name a schema: letters, digits and `_`, at most 128 bytes.
pub fn is_word(name: &str) -> bool {
    !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Whether a text can name a table or a project: as [`is_word`], and the first character is a letter.
pub fn is_table_name(name: &str) -> bool {
    is_word(name) && name.starts_with(|c: char| c.is_ascii_alphabetic())
}

fn is_column_name(name: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '_' || ('\u{4e00}'..='\u{9fff}').contains(&c);
    !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.chars().all(legal)
}

fn partitions_by(data_type: &DataType) -> bool {
    use DataType as T;
    matches!(data_type, T::String | T::Varchar(_) | T::Char(_) | T::TinyInt | T::SmallInt | T::Int | T::BigInt)
}

fn holds_json(data_type: &DataType) -> bool {
    match data_type {
        DataType::Json => true,
        DataType::Array(item) => holds_json(item),
        DataType::Map(key, value) => holds_json(key) || holds_json(value),
        DataType::Struct(fields) => fields.iter().any(|f| holds_json(&f.data_type)),
        _ => false,
    }
}

fn check_comment(what: &str, comment: Option<&String>) -> Result<(), String> {
    match comment {
        Some(text) if text.len() > COMMENT_BYTES_MAX => {
            Err(format!("the comment of {what} has {} bytes, the limit is {COMMENT_BYTES_MAX}", text.len()))
        }
        _ => Ok(()),
    }
}

impl TableMeta {
    /// Adds columns after the existing ones. Existing rows hold NULL in them, so they must be nullable. They cannot be
    /// of a nested type either: the service allows that only with schema evolution switched on, which this project does
    /// not have.
    ///
    /// # Errors
    /// A column exists already and `if_not_exists` is false, or a column cannot be added.
    pub fn add_columns(&mut self, columns: Vec<Column>, if_not_exists: bool) -> ApiResult<()> {
        for column in columns {
            let there = self.columns.iter().chain(&self.partition_columns).any(|other| other.name == column.name);
            match (there, column.data_type.is_nested() || !column.nullable) {
                (true, _) if if_not_exists => {}
                (true, _) => return Err(ApiError::invalid(format!("column {} exists already", column.name))),
                (false, true) => {
                    let why = "a column that is added may be NULL, and is of no nested type without schema evolution";
                    return Err(ApiError::invalid(format!("column {}: {why}", column.name)));
                }
                (false, false) => self.columns.push(column),
            }
        }
        self.check().map_err(ApiError::invalid)
    }

    /// Checks a new table against the service's limits.
    pub fn check(&self) -> Result<(), String> {
        if !is_table_name(&self.name) {
            return Err(format!(
                "`{}` is not a table name: letters, digits and _, a letter first, 128 bytes",
                self.name
            ));
        }
        check_comment("the table", self.comment.as_ref())?;
        if self.columns.is_empty() {
            return Err("a table needs at least one column besides its partition columns".to_owned());
        }
        let count = self.columns.len() + self.partition_columns.len();
        if count > COLUMNS_MAX {
            return Err(format!("{count} columns, the limit is {COLUMNS_MAX}"));
        }
        if self.partition_columns.len() > LEVELS_MAX {
            return Err(format!("{} partition levels, the limit is {LEVELS_MAX}", self.partition_columns.len()));
        }
        let mut seen = BTreeSet::new();
        for column in self.columns.iter().chain(&self.partition_columns) {
            if !is_column_name(&column.name) {
                return Err(format!("`{}` is not a column name: letters, digits and _, 128 bytes", column.name));
            }
            if !seen.insert(&column.name) {
                return Err(format!("column `{}` is declared twice", column.name));
            }
            check_comment(&format!("column `{}`", column.name), column.comment.as_ref())?;
            if column.data_type != DataType::Json && holds_json(&column.data_type) {
                return Err(format!("column `{}`: JSON is not allowed inside other types", column.name));
            }
        }
        if let Some(column) = self.partition_columns.iter().find(|c| !partitions_by(&c.data_type)) {
            return Err(format!("column `{}` of type {} cannot partition", column.name, type_text(&column.data_type)));
        }
        self.check_key()
    }

    fn check_key(&self) -> Result<(), String> {
        let transactional = self.properties.get("transactional").is_some_and(|v| v.eq_ignore_ascii_case("true"));
        if !self.primary_key.is_empty() && !transactional {
            return Err("PRIMARY KEY needs TBLPROPERTIES (\"transactional\"=\"true\")".to_owned());
        }
        for key in &self.primary_key {
            match self.columns.iter().find(|c| c.name == *key) {
                None => return Err(format!("key column `{key}` is not a column of the table")),
                Some(column) if column.nullable => return Err(format!("key column `{key}` must be NOT NULL")),
                Some(_) => {}
            }
        }
        Ok(())
    }
}
