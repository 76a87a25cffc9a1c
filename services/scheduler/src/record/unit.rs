//! The record of one target unit of a task: what is moved into it, and whether it is published. Fields and sums only.

use super::target::PartitionValue;

/// One target unit of a task.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Unit {
    /// Number of the unit in its table, under which its files are kept.
    #[prost(uint32, tag = "1")]
    pub number: u32,
    #[prost(message, repeated, tag = "2")]
    pub partition: Vec<PartitionValue>,
    #[prost(string, repeated, tag = "3")]
    pub source_partitions: Vec<String>,
    #[prost(int64, tag = "4")]
    pub file_count: i64,
    #[prost(int64, tag = "5")]
    pub source_bytes: i64,
    #[prost(int64, optional, tag = "6")]
    pub source_rows: Option<i64>,
    /// A commit of this task was applied to it.
    #[prost(bool, tag = "7")]
    pub published: bool,
    #[prost(int64, tag = "8")]
    pub published_rows: i64,
    #[prost(int64, tag = "9")]
    pub published_bytes: i64,
    /// Its rows were at the target already when it was planned: it counts as published from the start, without a commit of this
    /// task.
    #[prost(bool, tag = "10")]
    pub at_target: bool,
}

impl Unit {
    /// Rows that it has at the target, once it is published.
    pub fn rows_at_target(&self) -> i64 {
        let known = self.source_rows.filter(|_| self.at_target && self.published_rows == 0);
        known.unwrap_or(self.published_rows)
    }
}
