//! The definition of a target table, and the addresses of tables and partitions.

use std::collections::BTreeMap;
use std::fmt;

use crate::name::{ColumnName, ProjectName, SchemaName, TableName};
use crate::types::DataType;

/// The full address of a table: `project.schema.table`, or `project.table` in a project without schemas.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct TableRef {
    /// The project that contains the table.
    pub project: ProjectName,
    /// The schema that contains the table; `None` in a two-tier project.
    pub schema: Option<SchemaName>,
    /// The name of the table itself.
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
    /// The name on the target side.
    pub name: ColumnName,
    /// The type on the target side.
    pub data_type: DataType,
    /// Whether NULL is allowed.
    pub nullable: bool,
    /// The comment, at most 1,024 bytes.
    pub comment: Option<String>,
}

/// The kind of a target table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum TableKind {
    /// A plain table.
    Ordinary,
    /// A delta table without a primary key (`table.format.version` = 2).
    AppendDelta,
    /// A delta table with a primary key (`transactional` = true).
    PkDelta,
}

/// Everything that CREATE TABLE needs.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct TableDefinition {
    /// The address of the table.
    pub target: TableRef,
    /// The kind of the table.
    pub kind: TableKind,
    /// Data columns in order; at most 1,200 together with the partition columns.
    pub columns: Vec<Column>,
    /// Partition columns in order; at most 6.
    pub partition_columns: Vec<Column>,
    /// Names of the key columns; empty unless the kind is [`TableKind::PkDelta`].
    pub primary_key: Vec<ColumnName>,
    /// The comment, at most 1,024 bytes.
    pub comment: Option<String>,
    /// Days after which unchanged data may be reclaimed; `None` for no limit.
    pub lifecycle_days: Option<u32>,
    /// TBLPROPERTIES, including those by which this project marks its tables.
    pub properties: BTreeMap<String, String>,
}

/// One partition: a value for every partition column, in order. Values are plain text, without quotes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct PartitionSpec(pub Vec<(ColumnName, String)>);

/// Writes the tunnel's form, `k=v,k=v`.
impl fmt::Display for PartitionSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (name, value)) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            write!(f, "{comma}{name}={value}")?;
        }
        Ok(())
    }
}
