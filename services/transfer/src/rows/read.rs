//! Owns [`Read`]: a batch of a unit's rows that knows where each of them comes from, so that an error names the row at the
//! source.

use arrow::array::RecordBatch;
use mms_delta::FileBatch;

/// A batch of a unit's rows.
pub struct Read {
    /// The rows, at least one.
    pub batch: RecordBatch,
    lies: Lies,
}

/// Where the rows of a batch come from.
enum Lies {
    File(FileBatch),
    /// The first row's number in the result of a statement, and what the statement reads, for messages.
    Result(u64, String),
}

impl Read {
    /// Rows of a statement's result; `first` is the number of the first of them in it.
    pub fn of_result(batch: RecordBatch, first: u64, result: String) -> Self {
        Self { batch, lies: Lies::Result(first, result) }
    }

    /// Says where a row of the batch comes from, for messages.
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
