//! SQL: a small parser over sqlparser's tokens reads MaxCompute's DDL, sqlparser itself reads SELECT.
//!
//! A statement that is not understood is rejected with the service's parse error, never guessed at.

pub mod ddl;
pub mod run;
pub mod select;
pub mod tokens;

use mms_maxcompute::types::DataType;

/// The result of a SELECT.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ResultSet {
    /// Names and types of the columns.
    pub columns: Vec<(String, DataType)>,
    /// The values of each row, as text.
    pub rows: Vec<Vec<String>>,
}
