//! Manifests: the source files of a table's units.

use mms_proto::types::v1::DeletionVectorStorage;
use mms_store::Known;

use super::target::PartitionValue;

/// Deleted rows of a file, as the log records them.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Deletion {
    #[prost(message, required, tag = "1")]
    pub storage: Known<DeletionVectorStorage>,
    #[prost(string, tag = "2")]
    pub path_or_inline: String,
    #[prost(int32, optional, tag = "3")]
    pub offset: Option<i32>,
    #[prost(int32, tag = "4")]
    pub size_bytes: i32,
    #[prost(int64, tag = "5")]
    pub cardinality: i64,
}

/// A file of a manifest.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SourceFile {
    #[prost(string, tag = "1")]
    pub path: String,
    #[prost(int64, tag = "2")]
    pub size_bytes: i64,
    #[prost(int64, optional, tag = "3")]
    pub row_count: Option<i64>,
    #[prost(message, repeated, tag = "4")]
    pub partition_values: Vec<PartitionValue>,
    #[prost(message, optional, tag = "5")]
    pub deletion: Option<Deletion>,
    #[prost(message, optional, tag = "6")]
    pub statistics: Option<FileStatistics>,
}

/// Statistics of a file, as the log records them.
#[derive(Clone, PartialEq, prost::Message)]
pub struct FileStatistics {
    #[prost(int64, optional, tag = "1")]
    pub row_count: Option<i64>,
    #[prost(bool, tag = "2")]
    pub tight_bounds: bool,
    #[prost(message, repeated, tag = "3")]
    pub columns: Vec<ColumnStatistics>,
}

/// Statistics of one column of a file, as the log records them.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ColumnStatistics {
    #[prost(string, repeated, tag = "1")]
    pub path: Vec<String>,
    #[prost(int64, optional, tag = "2")]
    pub null_count: Option<i64>,
    #[prost(string, tag = "3")]
    pub min_value: String,
    #[prost(string, tag = "4")]
    pub max_value: String,
}

/// Files of one unit of a table. A unit has as many chunks as it needs.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ManifestChunk {
    #[prost(message, repeated, tag = "1")]
    pub files: Vec<SourceFile>,
}
