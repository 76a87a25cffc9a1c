//! What a table's log says of a file (rows, NULLs, bounds), and whether what was read agrees. This is the guard against what
//! no schema can show: a column that is not found is NULL by the Delta protocol, and a column that is taken for another has
//! values all the same. No statistics, no verdict.

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
    /// Rows that the file stores, deleted ones included.
    pub rows: Option<u64>,
    /// Whether counts and bounds are exact for the rows that are left. If not, rows were deleted since: bounds still hold,
    /// and of NULLs only "none" and "all" say anything.
    pub tight: bool,
    /// The columns that have any, at most [`FileStatistics::COLUMNS_MAX`].
    pub columns: Vec<ColumnStatistics>,
}

/// Statistics of one column, or of one field of a struct. Never of what lies inside lists or maps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnStatistics {
    /// Names that lead to it, as files have them (physical names).
    pub path: Vec<String>,
    /// Rows in which it is NULL.
    pub nulls: Option<u64>,
    /// Its least value as JSON text; of a text perhaps only the beginning, of a timestamp perhaps only the milliseconds.
    pub least: Option<String>,
    /// Its greatest value, likewise.
    pub most: Option<String>,
}

impl FileStatistics {
    /// Most columns that are kept.
    pub const COLUMNS_MAX: usize = 1_200;
    /// Longest bound that is kept, in bytes; a longer one says nothing here.
    pub const BOUND_BYTES_MAX: usize = 512;
}

#[cfg(test)]
mod tests;
