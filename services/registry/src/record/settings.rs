//! The record of a data source's migration settings.

use std::collections::BTreeMap;

/// 0, empty and unset stand for the contract's defaults.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Settings {
    #[prost(message, optional, tag = "1")]
    pub scan_schedule: Option<Schedule>,
    #[prost(int32, tag = "2")]
    pub metadata_concurrency: i32,
    #[prost(string, repeated, tag = "3")]
    pub schema_whitelist: Vec<String>,
    #[prost(string, repeated, tag = "4")]
    pub schema_blacklist: Vec<String>,
    #[prost(string, repeated, tag = "5")]
    pub table_whitelist: Vec<String>,
    #[prost(string, repeated, tag = "6")]
    pub table_blacklist: Vec<String>,
    #[prost(int32, tag = "7")]
    pub max_concurrent_tasks: i32,
    #[prost(btree_map = "string, string", tag = "8")]
    pub sql_parameters: BTreeMap<String, String>,
    #[prost(message, optional, tag = "9")]
    pub table_names: Option<CharacterMapping>,
    #[prost(message, optional, tag = "10")]
    pub column_names: Option<CharacterMapping>,
    #[prost(message, optional, tag = "11")]
    pub partition_values: Option<CharacterMapping>,
    #[prost(int32, tag = "12")]
    pub max_partitions_per_task: i32,
    #[prost(int64, tag = "13")]
    pub max_bytes_per_task: i64,
    #[prost(int32, tag = "15")]
    pub target_kind: i32,
    #[prost(message, optional, tag = "16")]
    pub rate_limit: Option<Rate>,
    /// Milliseconds; unset: the default; 0: never.
    #[prost(int64, optional, tag = "17")]
    pub idle_stop_after_ms: Option<i64>,
    #[prost(bool, tag = "18")]
    pub auto_start: bool,
    /// Time windows in which tasks may start, in text form.
    #[prost(string, repeated, tag = "19")]
    pub time_windows: Vec<String>,
    #[prost(message, optional, tag = "20")]
    pub concurrency: Option<Concurrency>,
}

/// How many tasks of one schema or table may run at once. 0: no bound.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Concurrency {
    #[prost(int32, tag = "1")]
    pub per_schema: i32,
    #[prost(int32, tag = "2")]
    pub per_table: i32,
    /// Bounds of single schemas, by name.
    #[prost(btree_map = "string, int32", tag = "3")]
    pub schemas: BTreeMap<String, i32>,
    /// Bounds of single tables.
    #[prost(message, repeated, tag = "4")]
    pub tables: Vec<TableBound>,
}

/// How many tasks of one table may run at once.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TableBound {
    #[prost(string, tag = "1")]
    pub schema: String,
    #[prost(string, tag = "2")]
    pub table: String,
    #[prost(int32, tag = "3")]
    pub tasks: i32,
}

/// A recurring time; one of daily, hourly and cron is set.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Schedule {
    #[prost(message, optional, tag = "1")]
    pub daily: Option<Clock>,
    /// The minute of the hour.
    #[prost(int32, optional, tag = "2")]
    pub hourly: Option<i32>,
    #[prost(string, optional, tag = "3")]
    pub cron: Option<String>,
    #[prost(string, tag = "4")]
    pub time_zone: String,
}

/// A time of day.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Clock {
    #[prost(int32, tag = "1")]
    pub hour: i32,
    #[prost(int32, tag = "2")]
    pub minute: i32,
}

/// How to replace characters that the target does not accept.
#[derive(Clone, PartialEq, prost::Message)]
pub struct CharacterMapping {
    #[prost(btree_map = "string, string", tag = "1")]
    pub characters: BTreeMap<String, String>,
    #[prost(string, tag = "2")]
    pub other: String,
    #[prost(string, tag = "3")]
    pub prefix: String,
}

/// Upper bounds of throughput.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Rate {
    #[prost(int64, tag = "1")]
    pub bytes_per_second: i64,
    #[prost(int64, tag = "2")]
    pub rows_per_second: i64,
}
