//! The one error of the samples.

use std::path::{Path, PathBuf};

/// Why a table could not be written.
#[derive(Debug, thiserror::Error)]
pub enum SampleError {
    /// The file system refused.
    #[error("cannot write {}: {source}; give a folder that can be written and is empty", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Arrow refused.
    #[error("cannot make rows: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
    /// Parquet refused.
    #[error("cannot write Parquet: {0}")]
    Parquet(#[from] parquet::errors::ParquetError),
    /// A type that the Delta protocol does not have.
    #[error("column {column:?} has Arrow type {data_type}, which Delta does not have")]
    Type {
        /// The column.
        column: String,
        /// Its type.
        data_type: String,
    },
    /// More partitions at once than files may be open.
    #[error("more than {limit} partitions in one commit; write them in several")]
    TooManyPartitions {
        /// The limit.
        limit: usize,
    },
    /// A file or row that is not there.
    #[error("file {file} of the table does not exist or has no row {row}")]
    NoSuchRow {
        /// The file, by its place among the live ones.
        file: usize,
        /// The row.
        row: u64,
    },
}

impl SampleError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.to_owned(), source }
    }
}
