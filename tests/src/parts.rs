//! A small table with many partitions, `s.parts`, whose ids show whether rows are lost or duplicated.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use mms_sandbox::samples::{DeltaWriter, TableSpec};

/// Rows that one commit adds to each partition.
pub const ROWS: usize = 100;

/// The table at the source.
pub struct Parts {
    writer: DeltaWriter,
    rows: usize,
}

impl Parts {
    /// Creates the table with so many partitions, below the root of a source.
    ///
    /// The table cannot be written.
    /// It cannot be written.
    pub fn create(root: &Path, partitions: usize) -> anyhow::Result<Self> {
        let fields = vec![Field::new("id", DataType::Int64, true), Field::new("pt", DataType::Utf8, true)];
        let mut spec = TableSpec::new(Arc::new(Schema::new(fields)), 1_700_000_000_000);
        spec.partition_columns = vec!["pt".to_owned()];
        let mut parts = Self { writer: DeltaWriter::create(&root.join("s/parts"), spec)?, rows: 0 };
        parts.append(0..partitions)?;
        Ok(parts)
    }

    /// Adds rows to a range of partitions, in a new version of the table.
    ///
    /// # Errors
    /// The table cannot be written.
    pub fn append(&mut self, partitions: Range<usize>) -> anyhow::Result<()> {
        let count = partitions.len() * ROWS;
        let (first, end) = (i64::try_from(self.rows)?, i64::try_from(self.rows + count)?);
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(first..end));
        let names = partitions.flat_map(|part| std::iter::repeat_n(format!("p{part:02}"), ROWS));
        let names: ArrayRef = Arc::new(StringArray::from_iter_values(names));
        let batch = RecordBatch::try_from_iter_with_nullable([("id", ids, true), ("pt", names, true)])?;
        self.writer.append([Ok::<_, arrow::error::ArrowError>(batch)])?;
        self.rows += count;
        Ok(())
    }

    /// The number of rows. Their ids are all numbers below it.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }
}
