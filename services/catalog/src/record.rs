//! The records that this service stores: its own prost messages, never those of the contract. Must never change the meaning of a
//! tag. Times are milliseconds since 1970; 0 means "never".

mod scan_state;

use std::collections::HashMap;

pub use scan_state::ScanState;

/// The scan schedule of a data source.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ScanClock {
    /// The schedule of its settings, in text form.
    #[prost(string, tag = "1")]
    pub schedule: String,
    /// The next time that is due and has not been handled.
    #[prost(int64, tag = "2")]
    pub next_time_ms: i64,
}

/// How many parts are in each state.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Counts {
    #[prost(int64, tag = "1")]
    pub init: i64,
    #[prost(int64, tag = "2")]
    pub doing: i64,
    #[prost(int64, tag = "3")]
    pub done: i64,
    #[prost(int64, tag = "4")]
    pub failed: i64,
    #[prost(int64, tag = "5")]
    pub part_done: i64,
}

/// A version of a Delta table.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Version {
    #[prost(int64, tag = "1")]
    pub number: i64,
    #[prost(int64, optional, tag = "2")]
    pub commit_time_ms: Option<i64>,
}

/// What is at a target: a version of a table, and the target's address.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Migrated {
    #[prost(int64, tag = "1")]
    pub number: i64,
    #[prost(int64, optional, tag = "2")]
    pub commit_time_ms: Option<i64>,
    /// The table id of the Delta log: a table recreated under the same name has another one. Empty: unknown, or the partitions
    /// come from several tables.
    #[prost(string, tag = "3")]
    pub table_id: String,
    /// Unset: unknown, or the partitions are at several targets.
    #[prost(message, optional, tag = "4")]
    pub target: Option<Target>,
}

/// A schema of the source, with the counters of its tables.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Schema {
    #[prost(string, tag = "1")]
    pub comment: String,
    #[prost(string, tag = "2")]
    pub owner: String,
    #[prost(int64, tag = "3")]
    pub scan_time_ms: i64,
    #[prost(int64, tag = "4")]
    pub delete_time_ms: i64,
    #[prost(string, tag = "5")]
    pub scan_error: String,
    #[prost(string, tag = "6")]
    pub target_project: String,
    #[prost(string, tag = "7")]
    pub target_schema: String,
    #[prost(message, required, tag = "8")]
    pub tables: Counts,
    #[prost(message, required, tag = "9")]
    pub partitions: Counts,
    #[prost(int64, tag = "10")]
    pub size_bytes: i64,
    #[prost(int64, tag = "11")]
    pub row_count: i64,
    /// The number of the scan that saw it last.
    #[prost(uint64, tag = "12")]
    pub seen: u64,
    #[prost(uint64, tag = "13")]
    pub revision: u64,
}

/// A column of a source table.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Column {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub type_text: String,
    #[prost(bool, tag = "3")]
    pub nullable: bool,
    #[prost(string, tag = "4")]
    pub comment: String,
    #[prost(int32, optional, tag = "5")]
    pub partition_index: Option<i32>,
}

/// The target of a table; parts left empty come from the schema and the data source.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Target {
    #[prost(string, tag = "1")]
    pub project: String,
    #[prost(string, tag = "2")]
    pub schema: String,
    #[prost(string, tag = "3")]
    pub table: String,
}

/// What the source reports about a table. Each scan replaces all of it.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TableFacts {
    #[prost(string, tag = "1")]
    pub source_id: String,
    /// The number of the contract's TableKind.
    #[prost(int32, tag = "2")]
    pub kind: i32,
    #[prost(string, tag = "3")]
    pub source_kind: String,
    #[prost(string, tag = "4")]
    pub source_format: String,
    #[prost(string, tag = "5")]
    pub comment: String,
    #[prost(string, tag = "6")]
    pub owner: String,
    #[prost(string, tag = "7")]
    pub location: String,
    #[prost(message, repeated, tag = "8")]
    pub columns: Vec<Column>,
    #[prost(string, repeated, tag = "9")]
    pub partition_columns: Vec<String>,
    #[prost(string, repeated, tag = "10")]
    pub primary_key: Vec<String>,
    #[prost(map = "string, string", tag = "11")]
    pub properties: HashMap<String, String>,
    #[prost(string, repeated, tag = "12")]
    pub reader_features: Vec<String>,
    #[prost(message, optional, tag = "13")]
    pub version: Option<Version>,
    /// The table id of the Delta log, which distinguishes a table from another of the same name.
    #[prost(string, tag = "14")]
    pub delta_id: String,
    #[prost(int64, optional, tag = "15")]
    pub size_bytes: Option<i64>,
    #[prost(int64, optional, tag = "16")]
    pub row_count: Option<i64>,
    #[prost(int64, tag = "17")]
    pub update_time_ms: i64,
}

/// A source table, and how far its migration has come.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Table {
    #[prost(message, required, tag = "1")]
    pub facts: TableFacts,
    #[prost(int64, tag = "2")]
    pub scan_time_ms: i64,
    #[prost(int64, tag = "3")]
    pub delete_time_ms: i64,
    #[prost(string, tag = "4")]
    pub scan_error: String,
    #[prost(message, required, tag = "5")]
    pub target: Target,
    /// The state reported for the whole table; used when it has no partitions.
    #[prost(int32, tag = "6")]
    pub own_state: i32,
    /// The version moved for the whole table; used when it has no partitions.
    #[prost(message, optional, tag = "7")]
    pub own_migrated: Option<Migrated>,
    /// The digest of the target's state when a job last checked it. Empty: it was written since, or no job has checked it.
    #[prost(bytes = "vec", tag = "30")]
    pub target_digest: Vec<u8>,
    /// The state that callers see.
    #[prost(int32, tag = "8")]
    pub state: i32,
    /// The version that callers see: for a partitioned table the oldest version that one of its partitions has at the target.
    /// Table id and target are set only if all its partitions have the same.
    #[prost(message, optional, tag = "9")]
    pub migrated: Option<Migrated>,
    #[prost(string, tag = "10")]
    pub task: String,
    #[prost(message, required, tag = "11")]
    pub partitions: Counts,
    /// The number of the scan that read it last; 0 while a scan is writing it.
    #[prost(uint64, tag = "12")]
    pub seen: u64,
    #[prost(uint64, tag = "13")]
    pub revision: u64,
    /// The newest version of which a job moved only some partitions. Until a scan has seen that version, there may be partitions
    /// that nobody has reported.
    #[prost(int64, optional, tag = "31")]
    pub part_version: Option<i64>,
    /// With `target_digest`: the rules by which the target's rows were made. Empty: not known.
    #[prost(bytes = "vec", tag = "32")]
    pub rules_digest: Vec<u8>,
}

/// A partition of a source table.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Partition {
    #[prost(int64, tag = "1")]
    pub file_count: i64,
    #[prost(int64, tag = "2")]
    pub size_bytes: i64,
    #[prost(int64, optional, tag = "3")]
    pub row_count: Option<i64>,
    #[prost(int64, tag = "4")]
    pub delete_time_ms: i64,
    #[prost(int32, tag = "5")]
    pub state: i32,
    #[prost(message, optional, tag = "6")]
    pub migrated: Option<Migrated>,
    #[prost(string, tag = "7")]
    pub task: String,
    /// The digest of the files that the last scan saw; empty before the first scan.
    #[prost(bytes = "vec", tag = "8")]
    pub files: Vec<u8>,
    /// The digest of the files that are at the target; empty when no scan saw that version.
    #[prost(bytes = "vec", tag = "9")]
    pub migrated_files: Vec<u8>,
    /// The newest version of the table in which the partition was seen.
    #[prost(int64, optional, tag = "10")]
    pub seen_version: Option<i64>,
    /// The number of the scan that saw it last.
    #[prost(uint64, tag = "11")]
    pub seen: u64,
}

/// How many live partitions of a table are at one target in one version.
#[derive(Clone, PartialEq, prost::Message)]
pub struct VersionCount {
    #[prost(int64, tag = "1")]
    pub partitions: i64,
    #[prost(int64, optional, tag = "2")]
    pub commit_time_ms: Option<i64>,
    #[prost(message, optional, tag = "3")]
    pub target: Option<Target>,
}

/// The counters of a scan.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Progress {
    #[prost(int64, tag = "1")]
    pub schemas_found: i64,
    #[prost(int64, tag = "2")]
    pub tables_found: i64,
    #[prost(int64, tag = "3")]
    pub tables_read: i64,
    #[prost(int64, tag = "4")]
    pub tables_failed: i64,
    #[prost(int64, tag = "5")]
    pub partitions_found: i64,
    #[prost(int64, tag = "6")]
    pub vanished: i64,
    #[prost(bool, tag = "7")]
    pub listing_done: bool,
    #[prost(int64, tag = "8")]
    pub schemas_failed: i64,
}

/// A scan, with its scope and progress.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Scan {
    /// Unique and never reused in this store: the revision of the commit that created the scan.
    #[prost(uint64, tag = "1")]
    pub number: u64,
    #[prost(string, repeated, tag = "2")]
    pub schemas: Vec<String>,
    #[prost(message, repeated, tag = "3")]
    pub tables: Vec<SourceTable>,
    /// The number of a [`ScanState`].
    #[prost(int32, tag = "4")]
    pub state: i32,
    #[prost(string, tag = "5")]
    pub error: String,
    #[prost(int64, tag = "6")]
    pub create_time_ms: i64,
    #[prost(int64, tag = "7")]
    pub start_time_ms: i64,
    #[prost(int64, tag = "8")]
    pub end_time_ms: i64,
    #[prost(message, required, tag = "9")]
    pub progress: Progress,
    #[prost(uint64, tag = "10")]
    pub revision: u64,
    #[prost(string, tag = "11")]
    pub uid: String,
}

/// A table that the scope of a scan names.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SourceTable {
    #[prost(string, tag = "1")]
    pub schema: String,
    #[prost(string, tag = "2")]
    pub table: String,
}

/// The counters of a data source.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Summary {
    #[prost(message, required, tag = "1")]
    pub schemas: Counts,
    #[prost(message, required, tag = "2")]
    pub tables: Counts,
    #[prost(message, required, tag = "3")]
    pub partitions: Counts,
    #[prost(int64, tag = "4")]
    pub size_bytes: i64,
    #[prost(int64, tag = "5")]
    pub row_count: i64,
    #[prost(string, tag = "6")]
    pub last_scan: String,
    #[prost(int64, tag = "7")]
    pub last_scan_time_ms: i64,
    /// The uid of the data source that these records belong to: its id may name another data source later.
    #[prost(string, tag = "8")]
    pub uid: String,
    /// Since when the registry does not know that data source; 0: it does.
    #[prost(int64, tag = "9")]
    pub gone_since_ms: i64,
}

/// The last report of a task that was applied.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Applied {
    #[prost(int64, tag = "1")]
    pub sequence: i64,
    #[prost(int64, tag = "2")]
    pub time_ms: i64,
}

/// The source table that owns a target table.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Claim {
    #[prost(string, tag = "1")]
    pub data_source: String,
    #[prost(string, tag = "2")]
    pub schema: String,
    #[prost(string, tag = "3")]
    pub table: String,
}
