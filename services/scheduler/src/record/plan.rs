//! What planning a table leaves: its version, its target, its findings and its files.

/// The version of a source table that a job moves.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Version {
    /// Version of a Delta log; unset for a source that cannot be pinned.
    #[prost(int64, optional, tag = "1")]
    pub delta: Option<i64>,
    /// Its commit time; 0 when the log does not say.
    #[prost(int64, tag = "2")]
    pub commit_time_ms: i64,
    /// The table's own id; empty when not known.
    #[prost(string, tag = "3")]
    pub table_id: String,
}

/// Address of a target table.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct TargetName {
    /// The project.
    #[prost(string, tag = "1")]
    pub project: String,
    /// The schema; empty in a two-tier project.
    #[prost(string, tag = "2")]
    pub schema: String,
    /// The table.
    #[prost(string, tag = "3")]
    pub table: String,
}

impl TargetName {
    /// The key under which the target itself, which ignores case, knows this table.
    pub fn key(&self) -> String {
        format!("{}.{}.{}", self.project, self.schema, self.table).to_lowercase()
    }
}

/// One column of the target.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Column {
    #[prost(string, tag = "1")]
    pub source_column: String,
    #[prost(string, tag = "2")]
    pub source_type: String,
    #[prost(string, tag = "3")]
    pub target_column: String,
    #[prost(string, tag = "4")]
    pub target_type: String,
    #[prost(bool, tag = "5")]
    pub partition: bool,
    #[prost(bool, tag = "6")]
    pub nullable: bool,
    #[prost(string, tag = "7")]
    pub comment: String,
}

/// What is made at the target.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Target {
    #[prost(message, optional, tag = "1")]
    pub name: Option<TargetName>,
    /// Number of the contract's TargetKind.
    #[prost(int32, tag = "2")]
    pub kind: i32,
    #[prost(message, repeated, tag = "3")]
    pub columns: Vec<Column>,
    #[prost(string, tag = "4")]
    pub create_sql: String,
    #[prost(string, tag = "5")]
    pub create_schema_sql: String,
    #[prost(string, repeated, tag = "6")]
    pub primary_key: Vec<String>,
    #[prost(string, tag = "8")]
    pub ownership: String,
    #[prost(string, tag = "9")]
    pub comment: String,
    #[prost(int32, tag = "10")]
    pub lifecycle_days: i32,
}

/// Something the plan found.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Finding {
    /// Number of the contract's Severity.
    #[prost(int32, tag = "1")]
    pub severity: i32,
    /// Number of the contract's FindingReason.
    #[prost(int32, tag = "6")]
    pub reason: i32,
    #[prost(string, tag = "3")]
    pub column: String,
    #[prost(string, tag = "4")]
    pub message: String,
    #[prost(string, tag = "5")]
    pub remedy: String,
}

/// One value of a partition.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct PartitionValue {
    #[prost(string, tag = "1")]
    pub column: String,
    /// None is NULL.
    #[prost(string, optional, tag = "2")]
    pub value: Option<String>,
}

/// How the files of a Delta table are read, as its log says.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DeltaTable {
    #[prost(string, tag = "1")]
    pub schema_json: String,
    /// Number of the contract's ColumnMappingMode.
    #[prost(int32, tag = "2")]
    pub column_mapping: i32,
    #[prost(string, repeated, tag = "3")]
    pub partition_columns: Vec<String>,
    #[prost(string, repeated, tag = "4")]
    pub reader_features: Vec<String>,
}

/// The rows of a file that are deleted, as the log says it.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Deletion {
    /// Number of the contract's DeletionVectorStorage.
    #[prost(int32, tag = "1")]
    pub storage: i32,
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

/// What the log tells of a file.
#[derive(Clone, PartialEq, prost::Message)]
pub struct FileStatistics {
    #[prost(int64, optional, tag = "1")]
    pub row_count: Option<i64>,
    #[prost(bool, tag = "2")]
    pub tight_bounds: bool,
    #[prost(message, repeated, tag = "3")]
    pub columns: Vec<ColumnStatistics>,
}

/// What the log tells of a column of a file.
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

/// Files of one unit of a table; a unit has as many chunks as it needs.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ManifestChunk {
    #[prost(message, repeated, tag = "1")]
    pub files: Vec<SourceFile>,
}
