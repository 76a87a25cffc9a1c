//! The records of data sources, their changes and uses.

use super::{CheckReport, Databricks, MaxCompute, Settings};

/// A data source without its secrets. Times are milliseconds since 1970.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DataSource {
    #[prost(string, tag = "1")]
    pub uid: String,
    #[prost(string, tag = "2")]
    pub display_name: String,
    #[prost(int64, tag = "3")]
    pub create_ms: i64,
    /// When the configuration was last changed.
    #[prost(int64, tag = "4")]
    pub update_ms: i64,
    /// 0: not deleted.
    #[prost(int64, tag = "5")]
    pub delete_ms: i64,
    /// The number of a [`crate::state::State`].
    #[prost(int32, tag = "6")]
    pub state: i32,
    #[prost(string, tag = "7")]
    pub state_message: String,
    /// The id of a network connection; empty: connect directly.
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
    /// The revision of the last change of the configuration, from which the etag is made.
    #[prost(uint64, tag = "13")]
    pub config_revision: u64,
}

/// A data source after a commit, as watchers receive it.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Change {
    #[prost(string, tag = "1")]
    pub id: String,
    #[prost(message, required, tag = "2")]
    pub source: DataSource,
}

/// Up to which revision changes were deleted.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Trim {
    #[prost(uint64, tag = "1")]
    pub revision: u64,
}

/// A use of a data source. Its expiry is held in memory only.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Use {
    #[prost(int64, tag = "1")]
    pub acquire_ms: i64,
}
