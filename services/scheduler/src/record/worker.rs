//! Workers, commit intents, claims on units, and what is still to be told to the catalog.

use super::plan::{PartitionValue, TargetName, Version};

/// A worker that registered.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Worker {
    #[prost(string, tag = "1")]
    pub instance: String,
    #[prost(string, tag = "2")]
    pub pool: String,
    #[prost(int32, tag = "3")]
    pub slots: i32,
    /// Numbers of the contract's enums.
    #[prost(int32, repeated, tag = "4")]
    pub steps: Vec<i32>,
    #[prost(int32, repeated, tag = "5")]
    pub read_paths: Vec<i32>,
    #[prost(int32, repeated, tag = "6")]
    pub target_kinds: Vec<i32>,
    #[prost(string, repeated, tag = "7")]
    pub reader_features: Vec<String>,
    #[prost(int32, tag = "8")]
    pub engine: i32,
    #[prost(string, tag = "9")]
    pub endpoint: String,
    #[prost(int64, tag = "10")]
    pub seen_time_ms: i64,
    /// Parts in a group that it can take; none: SINGLE only.
    #[prost(int32, repeated, tag = "11")]
    pub roles: Vec<i32>,
    /// Given when it registered first.
    #[prost(string, tag = "12")]
    pub uid: String,
}

/// One unit that an intent publishes.
#[derive(Clone, PartialEq, prost::Message)]
pub struct IntentUnit {
    #[prost(int32, tag = "1")]
    pub unit_index: i32,
    #[prost(message, repeated, tag = "2")]
    pub partition: Vec<PartitionValue>,
    #[prost(int64, tag = "3")]
    pub rows: i64,
    #[prost(int64, tag = "4")]
    pub bytes: i64,
}

/// A commit intent. It outlives its job: an open one is dropped only when it is resolved.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Intent {
    /// Key of the task: data source, job, number.
    #[prost(string, tag = "1")]
    pub data_source: String,
    #[prost(string, tag = "2")]
    pub job: String,
    #[prost(uint32, tag = "3")]
    pub task: u32,
    /// Uid of the job, so that a later job of the same id is not taken for it.
    #[prost(string, tag = "4")]
    pub job_uid: String,
    #[prost(message, required, tag = "5")]
    pub target: TargetName,
    #[prost(message, repeated, tag = "6")]
    pub units: Vec<IntentUnit>,
    /// Tunnel or Storage API session.
    #[prost(string, tag = "7")]
    pub session_id: String,
    #[prost(int64, repeated, tag = "8")]
    pub block_ids: Vec<i64>,
    #[prost(string, repeated, tag = "9")]
    pub commit_messages: Vec<String>,
    #[prost(string, tag = "10")]
    pub instance_key: String,
    #[prost(message, optional, tag = "11")]
    pub staging: Option<TargetName>,
    /// What is committed: 1 tunnel, 2 storage, 3 SQL, [`Intent::REPLACE`].
    #[prost(int32, tag = "12")]
    pub path: i32,
    #[prost(int64, tag = "13")]
    pub begin_time_ms: i64,
    /// Number of the contract's CommitOutcome; 0: open.
    #[prost(int32, tag = "14")]
    pub outcome: i32,
}

impl Intent {
    /// The number of the path that drops the target table, to be made anew.
    pub const REPLACE: i32 = 4;

    /// Whether it replaces the whole table, and so covers all its units.
    pub fn replaces(&self) -> bool {
        self.path == Self::REPLACE
    }
}

/// Who may write a target unit, and whether a commit of it is open.
#[derive(Clone, PartialEq, prost::Message)]
pub struct UnitClaim {
    /// The job that claimed it last.
    #[prost(string, tag = "1")]
    pub data_source: String,
    #[prost(string, tag = "2")]
    pub job: String,
    /// The open intent; empty: none.
    #[prost(string, tag = "3")]
    pub open_intent: String,
    /// Uid of the job: a claim holds as long as that very job lives.
    #[prost(string, tag = "4")]
    pub job_uid: String,
    /// The source table it is for, as "schema.table".
    #[prost(string, tag = "5")]
    pub table: String,
}

/// Where the rows of a target unit came from.
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
}

/// That a job writes a target table, whichever of its units.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TableClaim {
    /// A claim holds as long as that very job lives.
    #[prost(string, tag = "1")]
    pub job_uid: String,
    /// The source table it is for.
    #[prost(string, tag = "2")]
    pub schema: String,
    #[prost(string, tag = "3")]
    pub table: String,
    /// The job may drop the table.
    #[prost(bool, tag = "4")]
    pub replaces: bool,
}

/// The last number that was given out.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Sequence {
    #[prost(uint64, tag = "1")]
    pub last: u64,
}

/// Something the catalog is to be told.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Notice {
    #[prost(string, tag = "1")]
    pub task: String,
    #[prost(string, tag = "2")]
    pub table: String,
    #[prost(string, repeated, tag = "3")]
    pub partitions: Vec<String>,
    /// Number of the contract's MigrationState.
    #[prost(int32, tag = "4")]
    pub state: i32,
    #[prost(message, optional, tag = "5")]
    pub version: Option<Version>,
    #[prost(message, optional, tag = "6")]
    pub target: Option<TargetName>,
}

/// A request id that was answered.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Request {
    /// Digest of the request's content.
    #[prost(bytes = "vec", tag = "1")]
    pub digest: Vec<u8>,
    /// The resource it made or started.
    #[prost(string, tag = "2")]
    pub resource: String,
    #[prost(int64, tag = "3")]
    pub time_ms: i64,
}
