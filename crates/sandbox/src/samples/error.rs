//! The error type of the samples.

use std::path::{Path, PathBuf};

/// Why a table could not be written.
#[derive(Debug, thiserror::Error)]
pub enum SampleError {
    /// A file or folder could not be written.
    #[error("cannot write {}: {source}; give a folder that can be written and is empty", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The error of the file system.
        #[source]
        source: std::io::Error,
    },
    /// Arrow returned an error.
    #[error("cannot make rows: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
    /// The Parquet writer returned an error.
    #[error("cannot write Parquet: {0}")]
    Parquet(#[from] parquet::errors::ParquetError),
    /// The Arrow type of a column has no counterpart in the Delta protocol.
    #[error("column {column:?} has Arrow type {data_type}, which Delta does not have")]
    Type {
        /// The column.
        column: String,
        /// The Arrow type.
        data_type: String,
    },
    /// A commit would have more files open at once than are allowed.
    #[error("more than {limit} partitions in one commit; write them in several")]
    TooManyPartitions {
        /// The most files that may be open at once.
        limit: usize,
    },
    /// The file or the row does not exist.
    #[error("file {file} of the table does not exist or has no row {row}")]
    NoSuchRow {
        /// The file, counted from 0 among the live files.
        file: usize,
        /// The row in the file, counted from 0.
        row: u64,
    },
}

impl SampleError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.to_owned(), source }
    }
}
