//! What a target table is to be: its definition, and the address of its parts.

use std::collections::BTreeMap;
use std::fmt;

use crate::name::{ColumnName, ProjectName, SchemaName, TableName};
use crate::types::DataType;

/// The full address of a table: `project.schema.table`, or `project.table` in a project without schemas.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct TableRef {
    /// The project.
    pub project: ProjectName,
    /// The schema; none in a two-tier project.
    pub schema: Option<SchemaName>,
    /// The table.
    pub table: TableName,
}

impl fmt::Display for TableRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.schema {
            Some(schema) => write!(f, "{}.{}.{}", self.project, schema, self.table),
            None => write!(f, "{}.{}", self.project, self.table),
        }
    }
}

/// A column, or a partition column.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Column {
    /// Its name on the target side.
    pub name: ColumnName,
    /// Its type.
    pub data_type: DataType,
    /// Whether NULL is allowed.
    pub nullable: bool,
    /// At most 1,024 bytes.
    pub comment: Option<String>,
}

/// What kind of table is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum TableKind {
    /// A plain table.
    Ordinary,
    /// A delta table without a key (`table.format.version` = 2).
    AppendDelta,
    /// A delta table with a primary key (`transactional` = true).
    PkDelta,
}

/// Everything that CREATE TABLE needs.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct TableDefinition {
    /// Where the table lies.
    pub target: TableRef,
    /// What kind it is.
    pub kind: TableKind,
    /// Data columns in order, at most 1,200 together with the partition columns.
    pub columns: Vec<Column>,
    /// Partition columns in order, at most 6.
    pub partition_columns: Vec<Column>,
    /// Names of the key columns; only of a [`TableKind::PkDelta`].
    pub primary_key: Vec<ColumnName>,
    /// At most 1,024 bytes.
    pub comment: Option<String>,
    /// Days after which unchanged data may be reclaimed.
    pub lifecycle_days: Option<u32>,
    /// TBLPROPERTIES, ours (ownership) included.
    pub properties: BTreeMap<String, String>,
}

/// One partition: a value for every partition column, in order. Values are plain text, not quoted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct PartitionSpec(pub Vec<(ColumnName, String)>);

/// The tunnel's form, `k=v,k=v`.
impl fmt::Display for PartitionSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (name, value)) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            write!(f, "{comma}{name}={value}")?;
        }
        Ok(())
    }
}
