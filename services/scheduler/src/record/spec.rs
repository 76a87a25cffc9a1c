//! Specs of jobs, and the limits that follow from them.

use std::collections::BTreeMap;

use mms_proto::scheduler::v1::{DroppedPolicy, IncrementalMode, MigrationContent, OlderVersion, UnsupportedTables};
use mms_proto::types::v1::{StatisticsMismatch, TargetKind, TargetPolicy, UnsupportedType, VerificationLevel};
use mms_store::Known;

use super::breaker::BreakerBounds;
use super::target::TargetName;

/// What a job is to do, with defaults filled in.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Spec {
    /// Scope of schemas: their names. Empty without `tables_scope` for all schemas.
    #[prost(string, repeated, tag = "1")]
    pub schemas: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub table_whitelist: Vec<String>,
    #[prost(string, repeated, tag = "3")]
    pub table_blacklist: Vec<String>,
    /// Scope of tables.
    #[prost(message, repeated, tag = "4")]
    pub tables: Vec<SourceTable>,
    #[prost(bool, tag = "5")]
    pub tables_scope: bool,
    #[prost(message, required, tag = "6")]
    pub content: Known<MigrationContent>,
    #[prost(message, required, tag = "7")]
    pub verification_level: Known<VerificationLevel>,
    #[prost(message, required, tag = "8")]
    pub target_policy: Known<TargetPolicy>,
    #[prost(bool, tag = "9")]
    pub force: bool,
    /// Unix milliseconds; 0 for none.
    #[prost(int64, tag = "10")]
    pub deadline_ms: i64,
    #[prost(int32, tag = "11")]
    pub priority: i32,
    #[prost(string, tag = "12")]
    pub pool: String,
    /// Options of single tables, at most one entry for each.
    #[prost(message, repeated, tag = "13")]
    pub table_options: Vec<TableOptions>,
    #[prost(message, required, tag = "14")]
    pub unsupported_tables: Known<UnsupportedTables>,
    /// As in the request; 0 for the data source's setting.
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
    #[prost(message, required, tag = "21")]
    pub older_version: Known<OlderVersion>,
    /// Hours in which tasks may start, one text each. Empty for the data source's setting.
    #[prost(string, repeated, tag = "22")]
    pub time_windows: Vec<String>,
    /// Scope of partitions; `tables` then names their tables.
    #[prost(message, repeated, tag = "23")]
    pub partitions: Vec<PartitionsOf>,
    /// When the job pauses by itself.
    #[prost(message, optional, tag = "24")]
    pub breaker: Option<BreakerBounds>,
    /// Bounds of concurrent tasks of single schemas and tables.
    #[prost(message, optional, tag = "25")]
    pub concurrency: Option<Concurrency>,
    /// How fast all tasks of the job together may read.
    #[prost(message, optional, tag = "26")]
    pub rate: Option<Rate>,
    /// How much of a table is moved that is at the target in another version.
    #[prost(message, required, tag = "27")]
    pub incremental: Known<IncrementalMode>,
    /// What becomes of target partitions whose source is gone.
    #[prost(message, required, tag = "28")]
    pub dropped: Known<DroppedPolicy>,
}

/// Partitions that a job names of one table.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct PartitionsOf {
    #[prost(message, required, tag = "1")]
    pub table: SourceTable,
    /// Resource name of the table, as the caller wrote it.
    #[prost(string, tag = "2")]
    pub parent: String,
    /// The last segments of the partitions' resource names.
    #[prost(string, repeated, tag = "3")]
    pub partitions: Vec<String>,
}

/// A source table, as a caller has named it.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SourceTable {
    #[prost(string, tag = "1")]
    pub schema: String,
    #[prost(string, tag = "2")]
    pub table: String,
}

/// A job's options for one table.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TableOptions {
    #[prost(message, required, tag = "1")]
    pub table: SourceTable,
    /// The target table. Empty parts are filled in from the catalog.
    #[prost(message, optional, tag = "2")]
    pub target: Option<TargetName>,
    #[prost(message, required, tag = "3")]
    pub target_kind: Known<TargetKind>,
    #[prost(btree_map = "string, string", tag = "4")]
    pub column_names: BTreeMap<String, String>,
    /// 0 for never.
    #[prost(int32, optional, tag = "5")]
    pub lifecycle_days: Option<i32>,
    #[prost(message, required, tag = "6")]
    pub large_decimals: Known<UnsupportedType>,
    #[prost(message, required, tag = "7")]
    pub variant: Known<UnsupportedType>,
    #[prost(message, required, tag = "8")]
    pub interval: Known<UnsupportedType>,
    #[prost(message, required, tag = "9")]
    pub statistics_mismatch: Known<StatisticsMismatch>,
    /// Empty for all partitions.
    #[prost(string, tag = "10")]
    pub partition_filter: String,
}

/// The limits that hold for a job: its data source's settings, overridden by its own spec.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Limits {
    #[prost(int32, tag = "1")]
    pub max_concurrent_tasks: i32,
    /// The data source's own bound, over the tasks of all its jobs.
    #[prost(int32, tag = "2")]
    pub source_max_concurrent_tasks: i32,
    #[prost(int32, tag = "3")]
    pub max_partitions_per_task: i32,
    #[prost(int64, tag = "4")]
    pub max_bytes_per_task: i64,
    #[prost(btree_map = "string, string", tag = "5")]
    pub sql_parameters: BTreeMap<String, String>,
    #[prost(string, tag = "6")]
    pub tunnel_quota: String,
    /// Hours in which tasks may start, one text each. Empty for always.
    #[prost(string, repeated, tag = "7")]
    pub time_windows: Vec<String>,
    /// The data source's own windows, for a job that sets none.
    #[prost(string, repeated, tag = "8")]
    pub source_time_windows: Vec<String>,
    /// The job's own bounds of concurrent tasks of single schemas and tables.
    #[prost(message, optional, tag = "9")]
    pub concurrency: Option<Concurrency>,
    /// The data source's own bounds, over all its jobs.
    #[prost(message, optional, tag = "10")]
    pub source_concurrency: Option<Concurrency>,
    /// How fast all tasks of the job together may read.
    #[prost(message, optional, tag = "11")]
    pub rate: Option<Rate>,
    /// How fast the tasks of all jobs of the data source together may read.
    #[prost(message, optional, tag = "12")]
    pub source_rate: Option<Rate>,
}

/// A rate limit per second. 0 for no limit.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct Rate {
    #[prost(uint64, tag = "1")]
    pub bytes: u64,
    #[prost(uint64, tag = "2")]
    pub rows: u64,
}

/// Bounds of concurrent tasks of one schema or table. 0 for no bound. Names are case-folded.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Concurrency {
    #[prost(int32, tag = "1")]
    pub per_schema: i32,
    #[prost(int32, tag = "2")]
    pub per_table: i32,
    /// Bounds of single schemas, over `per_schema`.
    #[prost(btree_map = "string, int32", tag = "3")]
    pub schemas: BTreeMap<String, i32>,
    /// Bounds of single tables, over `per_table`.
    #[prost(message, repeated, tag = "4")]
    pub tables: Vec<TableBound>,
}

/// The bound of concurrent tasks of one table.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct TableBound {
    #[prost(string, tag = "1")]
    pub schema: String,
    #[prost(string, tag = "2")]
    pub table: String,
    #[prost(int32, tag = "3")]
    pub tasks: i32,
}

impl Concurrency {
    /// The bound of a schema, by its case-folded name; None for no bound.
    pub fn of_schema(&self, schema: &str) -> Option<i32> {
        self.schemas.get(schema).copied().or((self.per_schema > 0).then_some(self.per_schema))
    }

    /// The bound of a table, by its case-folded names; None for no bound.
    pub fn of_table(&self, schema: &str, table: &str) -> Option<i32> {
        let own = self.tables.iter().find(|one| one.schema == schema && one.table == table);
        own.map(|one| one.tasks).or((self.per_table > 0).then_some(self.per_table))
    }
}

impl Limits {
    /// Overrides the data source's settings with what the job's spec sets.
    pub fn heed(&mut self, spec: &Spec) {
        let own = spec.max_concurrent_tasks;
        self.max_concurrent_tasks = if own > 0 { own } else { self.source_max_concurrent_tasks };
        let windows = if spec.time_windows.is_empty() { &self.source_time_windows } else { &spec.time_windows };
        self.time_windows = windows.clone();
        self.concurrency.clone_from(&spec.concurrency);
        self.rate = spec.rate;
    }

    /// Whether anything bounds the tasks of single schemas or tables.
    pub fn bounds_tables(&self) -> bool {
        self.concurrency.is_some() || self.source_concurrency.is_some()
    }
}

/// A change of a live job's spec. None leaves a field unchanged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpecChange {
    /// The deadline in Unix milliseconds; 0 for none.
    pub deadline_ms: Option<i64>,
    /// The priority among jobs with the same deadline.
    pub priority: Option<i32>,
    /// Most concurrent tasks; 0 for the data source's setting.
    pub max_concurrent_tasks: Option<i32>,
    /// Hours in which tasks may start, one text each. Empty for the data source's setting.
    pub time_windows: Option<Vec<String>>,
    /// When the job pauses by itself.
    pub breaker: Option<BreakerBounds>,
    /// Bounds of concurrent tasks of single schemas and tables. `Some(None)` removes the job's own.
    pub concurrency: Option<Option<Concurrency>>,
    /// How fast all tasks of the job together may read. `Some(None)` removes the job's own limit.
    pub rate: Option<Option<Rate>>,
}

impl Spec {
    /// Whether its tasks move rows.
    pub fn moves_rows(&self) -> bool {
        matches!(*self.content, MigrationContent::SchemaAndData | MigrationContent::DataOnly)
    }

    /// Whether it only compares what is at the target.
    pub fn only_verifies(&self) -> bool {
        self.content == MigrationContent::VerificationOnly
    }

    /// Whether it drops target partitions whose source is gone.
    pub fn drops_gone(&self) -> bool {
        self.dropped == DroppedPolicy::Drop
    }

    /// Applies a change.
    pub fn take(&mut self, change: SpecChange) {
        let SpecChange { deadline_ms, priority, max_concurrent_tasks, time_windows, breaker, concurrency, rate } =
            change;
        self.rate = rate.unwrap_or(self.rate);
        self.breaker = breaker.or(self.breaker);
        if let Some(concurrency) = concurrency {
            self.concurrency = concurrency;
        }
        self.deadline_ms = deadline_ms.unwrap_or(self.deadline_ms);
        self.priority = priority.unwrap_or(self.priority);
        self.max_concurrent_tasks = max_concurrent_tasks.unwrap_or(self.max_concurrent_tasks);
        if let Some(windows) = time_windows {
            self.time_windows = windows;
        }
    }
}
