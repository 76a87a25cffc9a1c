//! Owns [`Read`]: some rows of a unit, and how each is named to people.

use arrow::array::RecordBatch;
use mms_delta::FileBatch;

/// Some rows of a unit.
pub struct Read {
    /// The rows, at least one.
    pub batch: RecordBatch,
    lies: Lies,
}

/// Where rows lie at the source.
enum Lies {
    File(FileBatch),
    /// From this row on in the result of a statement, in words.
    Result(u64, String),
}

impl Read {
    /// Rows of the result of a statement, the first of which is its `first`.
    pub fn of_result(batch: RecordBatch, first: u64, result: String) -> Self {
        Self { batch, lies: Lies::Result(first, result) }
    }

    /// Where a row of the batch lies.
    pub fn shown_row(&self, row: usize) -> String {
        match &self.lies {
            Lies::File(read) => format!("row {} of {}", read.row_in_file(row), read.file.shown_path()),
            Lies::Result(first, result) => format!("row {} of {result}", first + row as u64),
        }
    }
}

impl From<FileBatch> for Read {
    fn from(read: FileBatch) -> Self {
        Self { batch: read.batch.clone(), lies: Lies::File(read) }
    }
}
