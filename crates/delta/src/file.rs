//! One data file of a pinned version, in plain fields so that a manifest can store it in any format.

use crate::FileStatistics;

/// The partition a file belongs to: logical column names in the table's order, with the text of the Delta log. `None` is
/// NULL. The empty text of a column that is neither string nor binary is NULL too, and is given as `None`.
pub type PartitionValues = Vec<(String, Option<String>)>;

/// One data file of a pinned version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// The path, percent-encoded and relative to the table's root: one spelling for one place, however the log spells it.
    /// It is decoded once, when the file is opened, and nowhere else.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Rows that are left after the deletion vector, where the log has statistics.
    pub rows: Option<u64>,
    /// The partition, empty for an unpartitioned table.
    pub partition_values: PartitionValues,
    /// Rows to leave out.
    pub deletion_vector: Option<DeletionVector>,
    /// What else the log tells of it, to be compared with what is read.
    pub statistics: Option<FileStatistics>,
}

impl SourceFile {
    /// The path as people write it.
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
    /// Where the vector begins in its file.
    pub offset: Option<i32>,
    /// Bytes of the serialised vector.
    pub size_in_bytes: i32,
    /// Deleted rows.
    pub cardinality: u64,
}
