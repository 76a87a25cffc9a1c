//! What the plan of a table contains: its version, its target, its findings, and how its files are read.

use mms_proto::FindingReason;
use mms_proto::name::PartitionId;
use mms_proto::types::v1::{ColumnMappingMode, Severity, TargetKind};
use mms_store::Known;

use crate::key::{TargetKey, UnitKey};

/// The version of a source table that a job moves.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Version {
    /// Version of the Delta log; None for a source that cannot be pinned.
    #[prost(int64, optional, tag = "1")]
    pub delta: Option<i64>,
    /// Commit time in Unix milliseconds; 0 if the log does not say.
    #[prost(int64, tag = "2")]
    pub commit_time_ms: i64,
    /// The table's own id; empty if not known.
    #[prost(string, tag = "3")]
    pub table_id: String,
}

/// Name of a target table.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct TargetName {
    #[prost(string, tag = "1")]
    pub project: String,
    /// Empty in a two-tier project.
    #[prost(string, tag = "2")]
    pub schema: String,
    #[prost(string, tag = "3")]
    pub table: String,
}

impl TargetName {
    /// The table's key, in lower case because the target ignores case.
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

/// The target table that the plan makes or writes to.
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

/// A finding of the plan.
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
    /// None for NULL.
    #[prost(string, optional, tag = "2")]
    pub value: Option<String>,
}

/// How the files of a Delta table are read, from its log.
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

/// The text of a target partition, the same for each spelling of it. Empty for an unpartitioned table.
pub fn partition_text(partition: &[PartitionValue]) -> String {
    let levels = partition.iter().map(|level| (level.column.to_lowercase(), level.value.clone())).collect();
    PartitionId::new(levels).map_or_else(|_| String::new(), |id| id.to_string())
}
