//! One data file of a pinned version, in plain fields, so that a manifest of any format can store it.

use crate::FileStatistics;

/// The partition of a file: logical column names in the table's order, with the text of the Delta log. `None` is NULL. The
/// empty text of a column that is neither string nor binary means NULL too, and is given as `None`.
pub type PartitionValues = Vec<(String, Option<String>)>;

/// One data file of a pinned version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// The path, percent-encoded and relative to the table's root, in one normal spelling however the log spells it. It is
    /// decoded once, when the file is opened.
    pub path: String,
    /// Size in bytes, as the log records it.
    pub size: u64,
    /// Rows without the deleted ones; None if the log has no statistics of the file.
    pub rows: Option<u64>,
    /// The partition; empty for an unpartitioned table.
    pub partition_values: PartitionValues,
    /// The deleted rows, if any.
    pub deletion_vector: Option<DeletionVector>,
    /// Statistics of the log, which are compared with what is read.
    pub statistics: Option<FileStatistics>,
}

impl SourceFile {
    /// The path, percent-decoded, for messages.
    #[must_use]
    pub fn shown_path(&self) -> String {
        crate::place::decoded(&self.path)
    }
}

/// Which rows of a file are deleted, as the Delta protocol describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletionVector {
    /// `u` (a file under the root, named by a UUID), `p` (an absolute path) or `i` (inline).
    pub storage_type: String,
    /// The path or the bytes, in the encoding of the storage type.
    pub path_or_inline: String,
    /// Offset of the vector in its file; None for an inline vector.
    pub offset: Option<i32>,
    /// Size of the serialised vector in bytes.
    pub size_in_bytes: i32,
    /// Number of deleted rows.
    pub cardinality: u64,
}
