//! Jobs and their tables.

use super::plan::{DeltaTable, Finding, Target, TargetName, Version};
use std::collections::BTreeMap;

/// Why something is in its state.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Reason {
    /// Number of the contract's ErrorReason.
    #[prost(int32, tag = "3")]
    pub reason: i32,
    /// What was wrong, with which value, and what to do next.
    #[prost(string, tag = "2")]
    pub message: String,
}

/// What a job was asked to do, defaults filled in. Numbers of enums are the contract's.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Spec {
    /// Schemas scope: names; empty with `tables` empty: all schemas.
    #[prost(string, repeated, tag = "1")]
    pub schemas: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub table_whitelist: Vec<String>,
    #[prost(string, repeated, tag = "3")]
    pub table_blacklist: Vec<String>,
    /// Tables scope.
    #[prost(message, repeated, tag = "21")]
    pub tables: Vec<SourceTable>,
    #[prost(bool, tag = "5")]
    pub tables_scope: bool,
    #[prost(int32, tag = "6")]
    pub content: i32,
    #[prost(int32, tag = "7")]
    pub verification_level: i32,
    #[prost(int32, tag = "8")]
    pub target_policy: i32,
    #[prost(bool, tag = "9")]
    pub force: bool,
    /// 0: none.
    #[prost(int64, tag = "10")]
    pub deadline_ms: i64,
    #[prost(int32, tag = "11")]
    pub priority: i32,
    #[prost(string, tag = "12")]
    pub pool: String,
    /// What is said of single tables, at most once of each.
    #[prost(message, repeated, tag = "22")]
    pub table_options: Vec<TableOptions>,
    /// Number of the contract's UnsupportedTables.
    #[prost(int32, tag = "23")]
    pub unsupported_tables: i32,
    /// As asked; 0: as the data source says.
    #[prost(int32, tag = "15")]
    pub max_concurrent_tasks: i32,
    #[prost(int32, tag = "16")]
    pub max_partitions_per_task: i32,
    #[prost(int64, tag = "17")]
    pub max_bytes_per_task: i64,
    #[prost(int32, tag = "18")]
    pub max_attempts: i32,
    #[prost(btree_map = "string, string", tag = "19")]
    pub sql_parameters: BTreeMap<String, String>,
    #[prost(string, tag = "20")]
    pub tunnel_quota: String,
}

/// A table that somebody named.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SourceTable {
    #[prost(string, tag = "1")]
    pub schema: String,
    #[prost(string, tag = "2")]
    pub table: String,
}

/// What a job says of one table.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TableOptions {
    #[prost(message, required, tag = "1")]
    pub table: SourceTable,
    /// Empty parts: as the catalog says.
    #[prost(message, optional, tag = "2")]
    pub target: Option<TargetName>,
    /// Number of the contract's TargetKind.
    #[prost(int32, tag = "3")]
    pub target_kind: i32,
    #[prost(btree_map = "string, string", tag = "4")]
    pub column_names: BTreeMap<String, String>,
    /// 0: never.
    #[prost(int32, optional, tag = "5")]
    pub lifecycle_days: Option<i32>,
    /// Numbers of the contract's UnsupportedType.
    #[prost(int32, tag = "6")]
    pub large_decimals: i32,
    #[prost(int32, tag = "7")]
    pub variant: i32,
    #[prost(int32, tag = "8")]
    pub interval: i32,
    /// Number of the contract's StatisticsMismatch.
    #[prost(int32, tag = "9")]
    pub statistics_mismatch: i32,
}

/// Sums over the tables or tasks of a job.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Counts {
    #[prost(int32, tag = "1")]
    pub tables_total: i32,
    #[prost(int32, tag = "2")]
    pub tables_planned: i32,
    #[prost(int32, tag = "3")]
    pub tables_blocked: i32,
    #[prost(int32, tag = "4")]
    pub tables_done: i32,
    #[prost(int32, tag = "5")]
    pub tasks_total: i32,
    #[prost(int32, tag = "6")]
    pub tasks_running: i32,
    #[prost(int32, tag = "7")]
    pub tasks_done: i32,
    #[prost(int32, tag = "8")]
    pub tasks_failed: i32,
    #[prost(int64, tag = "9")]
    pub rows_total: i64,
    #[prost(int64, tag = "10")]
    pub rows_done: i64,
    #[prost(int64, tag = "11")]
    pub bytes_total: i64,
    #[prost(int64, tag = "12")]
    pub bytes_done: i64,
    #[prost(int32, tag = "13")]
    pub tables_skipped: i32,
}

/// A job.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Job {
    #[prost(string, tag = "1")]
    pub uid: String,
    #[prost(string, tag = "2")]
    pub display_name: String,
    #[prost(message, required, tag = "3")]
    pub spec: Spec,
    /// Number of a [`crate::job::JobState`].
    #[prost(int32, tag = "4")]
    pub state: i32,
    #[prost(message, optional, tag = "5")]
    pub reason: Option<Reason>,
    /// Waits for approval once planned.
    #[prost(bool, tag = "6")]
    pub review: bool,
    #[prost(string, tag = "7")]
    pub creator: String,
    #[prost(int64, tag = "8")]
    pub create_time_ms: i64,
    #[prost(int64, tag = "9")]
    pub start_time_ms: i64,
    #[prost(int64, tag = "10")]
    pub end_time_ms: i64,
    #[prost(message, required, tag = "11")]
    pub counts: Counts,
    /// Revision of the last change; the etag.
    #[prost(uint64, tag = "12")]
    pub revision: u64,
    /// Limits that hold for this job: the data source's settings, with the spec's over them. Set when planning begins.
    #[prost(int32, tag = "13")]
    pub max_concurrent_tasks: i32,
    #[prost(int32, tag = "14")]
    pub max_partitions_per_task: i32,
    #[prost(int64, tag = "15")]
    pub max_bytes_per_task: i64,
    #[prost(btree_map = "string, string", tag = "16")]
    pub sql_parameters: BTreeMap<String, String>,
    #[prost(string, tag = "17")]
    pub tunnel_quota: String,
    /// The scope has been turned into tables.
    #[prost(bool, tag = "18")]
    pub scope_listed: bool,
    /// The number of the next task.
    #[prost(uint32, tag = "19")]
    pub next_task: u32,
    /// Somebody approved the plan.
    #[prost(bool, tag = "20")]
    pub approved: bool,
    /// The data source's own bound, over the tasks of all its jobs.
    #[prost(int32, tag = "21")]
    pub source_max_concurrent_tasks: i32,
    /// Number of a [`crate::change::Change`] that is under way; 0: none.
    #[prost(int32, tag = "22")]
    pub change: i32,
    /// The only task that the change is for.
    #[prost(uint32, optional, tag = "23")]
    pub change_task: Option<u32>,
    /// The logs of its tasks are gone: their time was up.
    #[prost(bool, tag = "24")]
    pub logs_dropped: bool,
    /// Who approved the plan, and when.
    #[prost(string, tag = "25")]
    pub approver: String,
    #[prost(int64, tag = "26")]
    pub approve_time_ms: i64,
}

/// One table of a job.
#[derive(Clone, PartialEq, prost::Message)]
pub struct JobTable {
    /// Number of the contract's TableDecision.
    #[prost(int32, tag = "1")]
    pub decision: i32,
    /// Number of the contract's DecisionReason.
    #[prost(int32, tag = "25")]
    pub decision_reason: i32,
    #[prost(string, tag = "2")]
    pub decision_message: String,
    #[prost(message, optional, tag = "3")]
    pub version: Option<Version>,
    #[prost(message, optional, tag = "4")]
    pub target: Option<Target>,
    #[prost(message, repeated, tag = "5")]
    pub findings: Vec<Finding>,
    #[prost(message, optional, tag = "6")]
    pub reason: Option<Reason>,
    #[prost(bool, tag = "7")]
    pub planned: bool,
    #[prost(int32, tag = "8")]
    pub task_count: i32,
    #[prost(int32, tag = "9")]
    pub tasks_done: i32,
    #[prost(int32, tag = "10")]
    pub tasks_failed: i32,
    #[prost(int64, tag = "11")]
    pub unit_count: i64,
    #[prost(int64, optional, tag = "12")]
    pub source_rows: Option<i64>,
    #[prost(int64, tag = "13")]
    pub target_rows: i64,
    #[prost(int64, tag = "14")]
    pub source_bytes: i64,
    #[prost(int64, tag = "15")]
    pub bytes_done: i64,
    #[prost(int64, tag = "16")]
    pub rows_done: i64,
    #[prost(int64, tag = "17")]
    pub start_time_ms: i64,
    #[prost(int64, tag = "18")]
    pub end_time_ms: i64,
    #[prost(string, tag = "19")]
    pub location: String,
    /// None: it was not planned.
    #[prost(message, optional, tag = "20")]
    pub delta: Option<DeltaTable>,
    #[prost(uint64, tag = "22")]
    pub revision: u64,
    /// Number of the first task.
    #[prost(uint32, tag = "23")]
    pub first_task: u32,
    /// Target rows were counted by verification.
    #[prost(bool, tag = "24")]
    pub verified: bool,
}
