//! Tasks, their units and their logs.

use super::job::Reason;
use super::plan::PartitionValue;

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
}

/// One check of the last verification of a task.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Check {
    #[prost(int32, tag = "1")]
    pub unit_index: i32,
    /// Numbers of the contract's enums.
    #[prost(int32, tag = "6")]
    pub kind: i32,
    #[prost(string, tag = "7")]
    pub column: String,
    #[prost(string, optional, tag = "8")]
    pub source_value: Option<String>,
    #[prost(int32, tag = "9")]
    pub source_origin: i32,
    #[prost(string, optional, tag = "10")]
    pub target_value: Option<String>,
    #[prost(int32, tag = "5")]
    pub verdict: i32,
    #[prost(message, repeated, tag = "11")]
    pub samples: Vec<Sample>,
}

/// A row that differs.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Sample {
    #[prost(string, tag = "1")]
    pub row: String,
    #[prost(string, optional, tag = "2")]
    pub source_value: Option<String>,
    #[prost(string, optional, tag = "3")]
    pub target_value: Option<String>,
}

/// What the last verification came to; its checks are kept beside the task.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Verification {
    #[prost(int32, tag = "1")]
    pub level: i32,
    #[prost(int32, tag = "3")]
    pub verdict: i32,
    /// Checks that were made, those that are not kept included.
    #[prost(int64, tag = "4")]
    pub checks_total: i64,
    #[prost(int64, tag = "5")]
    pub checks_different: i64,
    #[prost(int64, tag = "6")]
    pub checks_unknown: i64,
    /// Checks that are kept.
    #[prost(uint32, tag = "8")]
    pub checks_kept: u32,
    /// Rows that were counted at the target, if all units were.
    #[prost(int64, optional, tag = "7")]
    pub target_rows: Option<i64>,
}

/// A task.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Task {
    /// Source schema and table, the key of its [`super::JobTable`].
    #[prost(string, tag = "1")]
    pub schema: String,
    #[prost(string, tag = "2")]
    pub table: String,
    /// Number of a [`crate::task::TaskState`].
    #[prost(int32, tag = "3")]
    pub state: i32,
    #[prost(message, optional, tag = "4")]
    pub reason: Option<Reason>,
    #[prost(message, repeated, tag = "5")]
    pub units: Vec<Unit>,
    /// Numbers of the contract's TaskStep, in order.
    #[prost(int32, repeated, tag = "6")]
    pub steps: Vec<i32>,
    #[prost(bool, tag = "7")]
    pub makes_table: bool,
    /// Waits for the task that makes the table.
    #[prost(bool, tag = "8")]
    pub blocked: bool,
    /// Leases so far.
    #[prost(int32, tag = "9")]
    pub attempt: i32,
    /// Attempts that failed since the last retry by hand.
    #[prost(int32, tag = "10")]
    pub failures: i32,
    /// Leases that ran out since then.
    #[prost(int32, tag = "11")]
    pub expiries: i32,
    /// Waits until then; 0: does not wait.
    #[prost(int64, tag = "12")]
    pub retry_time_ms: i64,
    /// Holder of the lease; empty: none.
    #[prost(string, tag = "13")]
    pub worker: String,
    /// The holder's process.
    #[prost(string, tag = "14")]
    pub instance: String,
    /// The lease's epoch.
    #[prost(uint64, tag = "15")]
    pub incarnation: u64,
    #[prost(uint64, tag = "16")]
    pub counter: u64,
    #[prost(bytes = "vec", tag = "17")]
    pub checkpoint: Vec<u8>,
    #[prost(int64, tag = "18")]
    pub rows_done: i64,
    #[prost(int64, tag = "19")]
    pub bytes_done: i64,
    #[prost(message, optional, tag = "20")]
    pub verification: Option<Verification>,
    #[prost(int64, tag = "21")]
    pub create_time_ms: i64,
    #[prost(int64, tag = "22")]
    pub start_time_ms: i64,
    #[prost(int64, tag = "23")]
    pub end_time_ms: i64,
    #[prost(uint64, tag = "24")]
    pub next_log: u64,
    #[prost(uint64, tag = "25")]
    pub revision: u64,
    /// Nobody is at work on it though somebody was: its job was stopped, or came back, and it was not leased since.
    #[prost(bool, tag = "26")]
    pub parked: bool,
}

impl Task {
    /// Whether somebody holds its lease.
    pub fn leased(&self) -> bool {
        !self.worker.is_empty()
    }

    /// Bytes of its files.
    pub fn bytes_total(&self) -> i64 {
        self.units.iter().map(|unit| unit.source_bytes).sum()
    }

    /// Rows of its files, when the log records all counts.
    pub fn rows_total(&self) -> Option<i64> {
        self.units.iter().map(|unit| unit.source_rows).sum()
    }
}

/// One line of a task's log.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Log {
    #[prost(int64, tag = "1")]
    pub time_ms: i64,
    #[prost(int32, tag = "2")]
    pub attempt: i32,
    #[prost(string, tag = "3")]
    pub worker: String,
    #[prost(int32, tag = "4")]
    pub state: i32,
    #[prost(string, tag = "5")]
    pub message: String,
    /// Numbers of the contract's TaskStep and LogLevel.
    #[prost(int32, tag = "6")]
    pub step: i32,
    #[prost(int32, tag = "7")]
    pub level: i32,
}
