//! The log's statistics of a file (rows, NULLs, bounds), and whether the rows that were read agree with them. This protects
//! against errors that no schema shows: by the Delta protocol a column that is not found in a file is NULL, and a column that
//! is mistaken for another one has values too. Without statistics there is no verdict.

mod judge;
mod observe;
mod parse;
mod text;
mod times;

pub(crate) use judge::judge;
pub(crate) use observe::Observer;
pub use text::StatisticsText;
pub use times::TimeColumn;

/// Statistics of one file, as its `add` action has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileStatistics {
    /// Rows in the file, deleted ones included.
    pub rows: Option<u64>,
    /// Whether counts and bounds are exact for the rows that are left. If false, rows were deleted since: bounds still hold,
    /// and of the counts of NULLs only "none" and "all" still say something.
    pub tight: bool,
    /// The columns that have statistics, at most [`FileStatistics::COLUMNS_MAX`].
    pub columns: Vec<ColumnStatistics>,
}

/// Statistics of one column, or of one field of a struct. There are none inside lists and maps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnStatistics {
    /// The names that lead to it in files (physical names).
    pub path: Vec<String>,
    /// Rows in which it is NULL, deleted ones perhaps included.
    pub nulls: Option<u64>,
    /// Its least value as JSON text; of a text perhaps only the beginning, of a timestamp perhaps only the milliseconds.
    pub least: Option<String>,
    /// Its greatest value, likewise.
    pub most: Option<String>,
}

impl FileStatistics {
    /// Most columns that are kept; the rest are ignored.
    pub const COLUMNS_MAX: usize = 1_200;
    /// Longest bound that is kept, in bytes; a longer one is ignored.
    pub const BOUND_BYTES_MAX: usize = 512;
}

#[cfg(test)]
mod tests;
