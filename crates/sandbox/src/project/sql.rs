//! SQL: the DDL of MaxCompute by a small parser over sqlparser's tokens, SELECT by sqlparser itself.
//!
//! What is not understood is refused with the service's parse error, never guessed.

pub mod ddl;
pub mod run;
pub mod select;
pub mod tokens;

use mms_maxcompute::types::DataType;

/// The rows that a SELECT gave.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ResultSet {
    /// Names and types of the columns.
    pub columns: Vec<(String, DataType)>,
    /// The rows, as text.
    pub rows: Vec<Vec<String>>,
}
