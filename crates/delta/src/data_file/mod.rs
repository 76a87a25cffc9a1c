//! Reads one Parquet file of a table: its footer, the plan of its columns, and its row groups in pieces of bounded size. The
//! result are the table's stored columns with the table's types; values of deleted rows are left out unconverted. Knows
//! nothing of partition values, nor of how deletion vectors are stored.

mod ahead;
mod bare;
mod bytes;
mod fetch;
mod find;
mod footer;
mod group;
mod held;
mod leaf;
mod nested;
mod plan;

use std::num::NonZero;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, new_null_array};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;
use parquet::file::metadata::{FileMetaData, ParquetMetaData, ParquetMetaDataBuilder, ParquetMetaDataReader};

pub(crate) use bytes::FileBytes;
pub(crate) use fetch::Coming;
pub use fetch::FilePins;
pub(crate) use find::Finder;
use plan::{FilePlan, Refusal};

use crate::TableShape;
use crate::values::calendar::Calendars;
use crate::values::{self, Fault};

/// How much is read at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Goal {
    pub rows: NonZero<usize>,
    pub bytes: NonZero<usize>,
    /// Bytes of memory that the pages of a file may take.
    pub memory: u64,
}

/// Why a file cannot be read.
#[derive(Debug)]
pub(crate) enum FileFault {
    /// The file is damaged, or the store failed.
    Parquet(ParquetError),
    /// A column of the table cannot be read from it; with an empty path, the file as a whole.
    Column { path: Vec<String>, reason: String, row: Option<u64> },
}

impl From<ParquetError> for FileFault {
    fn from(error: ParquetError) -> Self {
        Self::Parquet(error)
    }
}

impl From<Refusal> for FileFault {
    fn from(refusal: Refusal) -> Self {
        Self::Column { path: refusal.path, reason: refusal.reason, row: None }
    }
}

/// A file that is being read.
pub(crate) struct DataFile {
    /// Rows of the file, deleted ones included.
    pub rows: u64,
    bytes: FileBytes,
    metadata: ArrowReaderMetadata,
    plan: FilePlan,
    calendars: Calendars,
    /// Schema of the stored columns.
    schema: SchemaRef,
    goal: Goal,
}

impl DataFile {
    /// Reads the footer and finds the table's columns in it. `schema` has the stored columns.
    pub(crate) fn open(bytes: FileBytes, shape: &TableShape, schema: SchemaRef, goal: Goal) -> Result<Self, FileFault> {
        footer::check(&bytes, goal.memory / 16).map_err(|reason| match bytes.failed() {
            Some(store) => FileFault::Parquet(ParquetError::External(Box::new(store))),
            None => FileFault::Column { path: Vec::new(), reason, row: None },
        })?;
        let footer = ParquetMetaDataReader::new().parse_and_finish(&bytes)?;
        let file = footer.file_metadata();
        let stored = shape.schema().fields().filter(|field| !shape.is_partition_column(field.name()));
        let plan = plan::plan(stored, shape.column_mapping(), file.schema_descr())?;
        let calendars = Calendars::of(file.key_value_metadata());
        let rows = footer.row_groups().iter().map(group::rows).sum();
        let metadata = stripped(footer, &plan)?;
        let found = Self { rows, bytes, metadata, plan, calendars, schema, goal };
        if rows > 0 {
            found.check()?;
        }
        Ok(found)
    }

    /// Fails if the file has none of the table's columns, or lacks one that is NOT NULL.
    fn check(&self) -> Result<(), FileFault> {
        if !self.plan.found_any && !self.plan.columns.is_empty() {
            let reason =
                "it has none of the table's columns: is it a file of another table, or of another column mapping?";
            return Err(FileFault::Column { path: Vec::new(), reason: reason.to_owned(), row: None });
        }
        match self.plan.columns.iter().find(|column| column.at.is_none() && !column.nullable) {
            Some(column) => {
                let reason = "the file does not have it, and the table says that it is NOT NULL".to_owned();
                Err(FileFault::Column { path: vec![column.name.clone()], reason, row: None })
            }
            None => Ok(()),
        }
    }

    /// Passes the rows on in their order, without the deleted ones, whose values are not converted. `kept` says which rows of
    /// a range are not deleted; None if none is deleted.
    pub(crate) fn read<E: From<FileFault>>(
        &self,
        kept: impl Fn(Range<u64>) -> Option<BooleanArray>,
        mut take: impl FnMut(Rows) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut begin = 0_u64;
        self.bytes.begin(self.metadata.metadata().row_groups(), &self.plan.leaves);
        for (index, group) in self.metadata.metadata().row_groups().iter().enumerate() {
            self.bytes.begin_group(index).map_err(FileFault::from)?;
            let (at_once, handed_on) = group::pace(group, &self.plan.leaves, self.goal);
            let batches = ParquetRecordBatchReaderBuilder::new_with_metadata(self.bytes.clone(), self.metadata.clone())
                .with_row_groups(vec![index])
                .with_projection(self.plan.mask())
                .with_batch_size(at_once)
                .build()
                .map_err(FileFault::from)?;
            let (at, told) = (begin, group::rows(group));
            let mut waiting = Waiting::default();
            for batch in batches {
                waiting.add(batch.map_err(|e| self.failed(e))?);
                if waiting.rows >= handed_on || waiting.bytes >= self.goal.bytes.get() {
                    begin += self.hand_on(&mut waiting, begin, &kept, &mut take)?;
                }
            }
            begin += self.hand_on(&mut waiting, begin, &kept, &mut take)?;
            if begin - at != told {
                // The reader takes the first page that ends early for the end of the row group.
                let reason =
                    format!("row group {index} holds {} rows, its footer says {told}: it is damaged", begin - at);
                return Err(FileFault::Column { path: Vec::new(), reason, row: None }.into());
            }
        }
        Ok(())
    }

    /// The store's own error, which the reader has turned into a text.
    fn failed(&self, error: ArrowError) -> FileFault {
        match self.bytes.failed() {
            Some(store) => FileFault::Parquet(ParquetError::External(Box::new(store))),
            None => FileFault::Parquet(error.into()),
        }
    }

    fn hand_on<E: From<FileFault>>(
        &self,
        waiting: &mut Waiting,
        begin: u64,
        kept: &impl Fn(Range<u64>) -> Option<BooleanArray>,
        take: &mut impl FnMut(Rows) -> Result<(), E>,
    ) -> Result<u64, E> {
        let Waiting { batches, rows, .. } = std::mem::take(waiting);
        if let Some(first) = batches.first() {
            let batch = concat_batches(&first.schema(), &batches);
            drop(batches);
            let batch = batch.map_err(|e| FileFault::Parquet(e.into()))?;
            let range = begin..begin + rows as u64;
            let kept = kept(range.clone());
            let left = match &kept {
                Some(kept) => filter_record_batch(&batch, kept).map_err(|e| FileFault::Parquet(e.into()))?,
                None => batch,
            };
            let batch = self.carried(&left, begin, kept.as_ref())?;
            take(Rows { range, kept, batch })?;
        }
        Ok(rows as u64)
    }

    fn carried(
        &self,
        stored: &RecordBatch,
        first_row: u64,
        kept: Option<&BooleanArray>,
    ) -> Result<RecordBatch, FileFault> {
        let rows = stored.num_rows();
        let mut columns = Vec::with_capacity(self.plan.columns.len());
        for (member, field) in self.plan.columns.iter().zip(self.schema.fields()) {
            let to = field.data_type();
            let Some(at) = member.at else {
                columns.push(new_null_array(to, rows));
                continue;
            };
            let array = stored.columns().get(at).ok_or_else(|| missing(&member.name))?;
            let carry = |array: &ArrayRef| {
                let made = values::carry(array, &member.node, to, &self.calendars)?;
                let null = !member.nullable && made.null_count() > 0;
                if null { Err(values::not_null(member)) } else { Ok(made) }
            };
            columns.push(carry(array).map_err(|fault: Fault| {
                let row = first_bad(rows, |rows| carry(&array.slice(0, rows)).is_ok());
                // If there are several faults, the one of this row.
                let fault = carry(&array.slice(0, row + 1)).err().unwrap_or(fault);
                let path = std::iter::once(member.name.clone()).chain(fault.path).collect();
                FileFault::Column { path, reason: fault.why, row: Some(first_row + stored_row(kept, row)) }
            })?);
        }
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(self.schema.clone(), columns, &options).map_err(|e| FileFault::Column {
            path: Vec::new(),
            reason: e.to_string(),
            row: Some(first_row),
        })
    }
}

/// Batches that were read and not passed on yet.
#[derive(Default)]
struct Waiting {
    batches: Vec<RecordBatch>,
    rows: usize,
    bytes: usize,
}

impl Waiting {
    fn add(&mut self, batch: RecordBatch) {
        self.rows += batch.num_rows();
        self.bytes += batch.get_array_memory_size();
        self.batches.push(batch);
    }
}

fn missing(column: &str) -> FileFault {
    let reason = "the Parquet reader left it out".to_owned();
    FileFault::Column { path: vec![column.to_owned()], reason, row: None }
}

/// The footer with a schema by which the reader returns values as they are stored.
fn stripped(footer: ParquetMetaData, plan: &FilePlan) -> Result<ArrowReaderMetadata, ParquetError> {
    let file = footer.file_metadata();
    let file = FileMetaData::new(file.version(), file.num_rows(), None, None, plan.schema.clone(), None);
    let groups = footer.into_builder().take_row_groups();
    let metadata = ParquetMetaDataBuilder::new(file).set_row_groups(groups).build();
    ArrowReaderMetadata::try_new(Arc::new(metadata), ArrowReaderOptions::new().with_skip_arrow_metadata(true))
}

/// Consecutive rows of a file.
pub(crate) struct Rows {
    /// Which of the file's rows these are, deleted ones counted.
    pub range: Range<u64>,
    /// Which rows of the range are not deleted; None if none is deleted.
    pub kept: Option<BooleanArray>,
    /// The rows that are not deleted.
    pub batch: RecordBatch,
}

/// Index among all rows of the row with this index among those that are not deleted.
pub(crate) fn stored_row(kept: Option<&BooleanArray>, row: usize) -> u64 {
    let stored = match kept {
        None => Some(row),
        Some(kept) => kept.iter().enumerate().filter(|(_, kept)| *kept == Some(true)).nth(row).map(|(at, _)| at),
    };
    stored.unwrap_or(row) as u64
}

/// The first bad row, found by halving: `good` says of a number of leading rows whether they are all good.
fn first_bad(rows: usize, good: impl Fn(usize) -> bool) -> usize {
    let (mut fine, mut bad) = (0, rows);
    while bad - fine > 1 {
        let middle = fine + (bad - fine) / 2;
        if good(middle) { fine = middle } else { bad = middle }
    }
    fine
}
