//! Data sources, their changes and uses.

use super::{CheckReport, Databricks, MaxCompute, Settings};

/// A data source without its secrets.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DataSource {
    #[prost(string, tag = "1")]
    pub uid: String,
    #[prost(string, tag = "2")]
    pub display_name: String,
    #[prost(int64, tag = "3")]
    pub create_ms: i64,
    /// When the configuration last changed.
    #[prost(int64, tag = "4")]
    pub update_ms: i64,
    /// 0 while it lives.
    #[prost(int64, tag = "5")]
    pub delete_ms: i64,
    /// Number of a [`crate::state::State`].
    #[prost(int32, tag = "6")]
    pub state: i32,
    #[prost(string, tag = "7")]
    pub state_message: String,
    /// Id of a network connection; empty: direct.
    #[prost(string, tag = "8")]
    pub network_connection: String,
    #[prost(message, required, tag = "9")]
    pub databricks: Databricks,
    #[prost(message, required, tag = "10")]
    pub max_compute: MaxCompute,
    #[prost(message, optional, tag = "11")]
    pub settings: Option<Settings>,
    #[prost(message, optional, tag = "12")]
    pub last_check: Option<CheckReport>,
    /// Revision of the last change of the configuration; the etag.
    #[prost(uint64, tag = "13")]
    pub config_revision: u64,
}

/// A data source as it became with one commit: what watchers are told.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Change {
    #[prost(string, tag = "1")]
    pub id: String,
    #[prost(message, required, tag = "2")]
    pub source: DataSource,
}

/// Up to where changes were forgotten.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Trim {
    #[prost(uint64, tag = "1")]
    pub revision: u64,
}

/// Who uses a data source. When the use ends is known to the clock of this process alone.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Use {
    #[prost(int64, tag = "1")]
    pub acquire_ms: i64,
}
