//! What planning a table finds: its version, its target, its findings, and how its files are read.

use mms_proto::FindingReason;
use mms_proto::name::PartitionId;
use mms_proto::types::v1::{ColumnMappingMode, Severity, TargetKind};
use mms_store::Known;

use crate::key::{TargetKey, UnitKey};

/// The version of a source table that a job moves.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Version {
    /// Version of a Delta log; unset for a source that cannot be pinned.
    #[prost(int64, optional, tag = "1")]
    pub delta: Option<i64>,
    /// Its commit time; 0 when the log does not say.
    #[prost(int64, tag = "2")]
    pub commit_time_ms: i64,
    /// The table's own id; empty when not known.
    #[prost(string, tag = "3")]
    pub table_id: String,
}

/// Address of a target table.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct TargetName {
    /// The project.
    #[prost(string, tag = "1")]
    pub project: String,
    /// The schema; empty in a two-tier project.
    #[prost(string, tag = "2")]
    pub schema: String,
    /// The table.
    #[prost(string, tag = "3")]
    pub table: String,
}

impl TargetName {
    /// The key under which the target itself, which ignores case, knows this table.
    pub fn key(&self) -> TargetKey {
        TargetKey { name: format!("{}.{}.{}", self.project, self.schema, self.table).to_lowercase() }
    }

    /// The key of a unit of this table.
    pub fn unit_key(&self, partition: &[PartitionValue]) -> UnitKey {
        UnitKey { target: self.key(), partition: partition_text(partition) }
    }
}

/// One column of the target.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Column {
    #[prost(string, tag = "1")]
    pub source_column: String,
    #[prost(string, tag = "2")]
    pub source_type: String,
    #[prost(string, tag = "3")]
    pub target_column: String,
    #[prost(string, tag = "4")]
    pub target_type: String,
    #[prost(bool, tag = "5")]
    pub partition: bool,
    #[prost(bool, tag = "6")]
    pub nullable: bool,
    #[prost(string, tag = "7")]
    pub comment: String,
}

/// What is made at the target.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Target {
    #[prost(message, optional, tag = "1")]
    pub name: Option<TargetName>,
    #[prost(message, required, tag = "2")]
    pub kind: Known<TargetKind>,
    #[prost(message, repeated, tag = "3")]
    pub columns: Vec<Column>,
    #[prost(string, tag = "4")]
    pub create_sql: String,
    #[prost(string, tag = "5")]
    pub create_schema_sql: String,
    #[prost(string, repeated, tag = "6")]
    pub primary_key: Vec<String>,
    #[prost(string, tag = "8")]
    pub ownership: String,
    #[prost(string, tag = "9")]
    pub comment: String,
    #[prost(int32, tag = "10")]
    pub lifecycle_days: i32,
}

/// Something the plan found.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Finding {
    #[prost(message, required, tag = "1")]
    pub severity: Known<Severity>,
    #[prost(message, required, tag = "6")]
    pub reason: Known<FindingReason>,
    #[prost(string, tag = "3")]
    pub column: String,
    #[prost(string, tag = "4")]
    pub message: String,
    #[prost(string, tag = "5")]
    pub remedy: String,
}

/// One value of a partition.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct PartitionValue {
    #[prost(string, tag = "1")]
    pub column: String,
    /// None is NULL.
    #[prost(string, optional, tag = "2")]
    pub value: Option<String>,
}

/// How the files of a Delta table are read, as its log says.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DeltaTable {
    #[prost(string, tag = "1")]
    pub schema_json: String,
    #[prost(message, required, tag = "2")]
    pub column_mapping: Known<ColumnMappingMode>,
    #[prost(string, repeated, tag = "3")]
    pub partition_columns: Vec<String>,
    #[prost(string, repeated, tag = "4")]
    pub reader_features: Vec<String>,
}

/// The text of a target partition, one spelling for one partition; empty for an unpartitioned table.
pub fn partition_text(partition: &[PartitionValue]) -> String {
    let levels = partition.iter().map(|level| (level.column.to_lowercase(), level.value.clone())).collect();
    PartitionId::new(levels).map_or_else(|_| String::new(), |id| id.to_string())
}
