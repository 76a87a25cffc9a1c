//! Lineage: where rows at the target came from.

use super::target::{PartitionValue, TargetName, Version};

/// Which task wrote a target unit, and from which version of which table.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Lineage {
    #[prost(int64, tag = "1")]
    pub time_ms: i64,
    #[prost(message, required, tag = "2")]
    pub target: TargetName,
    #[prost(message, repeated, tag = "3")]
    pub partition: Vec<PartitionValue>,
    #[prost(string, tag = "4")]
    pub table: String,
    #[prost(message, optional, tag = "5")]
    pub version: Option<Version>,
    #[prost(string, tag = "6")]
    pub task: String,
    #[prost(string, tag = "7")]
    pub intent_id: String,
    #[prost(int64, tag = "8")]
    pub rows: i64,
    #[prost(string, tag = "9")]
    pub data_source: String,
    /// Uid of the task's job.
    #[prost(string, tag = "10")]
    pub job_uid: String,
    /// Generation of the target table. Rows of earlier generations than the present one no longer exist.
    #[prost(uint64, tag = "11")]
    pub generation: u64,
}
