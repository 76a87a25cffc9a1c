//! Reads a manifest's files as Arrow batches, one after the other, from any row on. Memory is bounded by what [`ReadOptions`]
//! allows for the pages of a file and for waiting batches. Batches come in the order of the files and of their rows.

use std::num::NonZero;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{BooleanArray, RecordBatch, RecordBatchOptions};
use delta_kernel::Engine;
use futures::stream::BoxStream;
use futures::{FutureExt, Stream, StreamExt};
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt};
use tokio::runtime::Handle;

use crate::data_file::{Coming, DataFile, FileBytes, FileFault, FilePins, Goal, Rows, stored_row};
use crate::deleted::Deleted;
use crate::drive::{Gone, Out, Stop, drive, io};
use crate::error::{dotted, store_error};
use crate::log::plain_engine;
use crate::partition::Constants;
use crate::statistics::{Observer, judge};
use crate::{DeltaError, Difference, SourceFile, TableShape};

/// Bounds of a read. With the same options, the same files give the same batches.
#[derive(Clone, Debug)]
pub struct ReadOptions {
    /// Most rows of one batch.
    pub batch_rows: NonZero<usize>,
    /// Bytes that a batch should have at most, estimated from what the file says of its row groups.
    pub batch_bytes: NonZero<usize>,
    /// Bytes that the pages of a file may take in memory. A row group of up to a quarter of it is fetched whole; a page of
    /// more than half of it is refused.
    pub memory_bytes: u64,
    /// Batches that may wait for the consumer.
    pub batches_ahead: usize,
    /// Rows of the first file that are left out of the batches, deleted ones counted. They are read nevertheless: what the
    /// log says of a file can only be compared with the whole file.
    pub first_row: u64,
    /// What to do with a file that contradicts the log's statistics of it.
    pub differences: Differences,
    /// Collects remarks about the files that were read.
    pub notes: ReadNotes,
    /// Versions of the files that were read with these pins before: a file that has changed since is refused.
    pub pins: FilePins,
}

/// What to do with a file that contradicts the log's statistics of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Differences {
    /// Fail with [`DeltaError::Statistics`].
    #[default]
    Refuse,
    /// Make a note and use the file's rows: some writers' statistics are wrong.
    Note,
}

/// Remarks about files that were read, at most [`ReadNotes::MAX`]. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct ReadNotes(Arc<Mutex<Vec<String>>>);

impl ReadNotes {
    /// Most notes that are kept; further ones are dropped.
    pub const MAX: usize = 20;

    /// Takes the notes that were made since the last call.
    #[must_use]
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn add(&self, note: String) {
        let mut notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if notes.len() < Self::MAX && !notes.contains(&note) {
            notes.push(note);
        }
    }
}

impl Default for ReadOptions {
    fn default() -> Self {
        let (rows, bytes) = (NonZero::new(8192), NonZero::new(4 << 20));
        Self {
            batch_rows: rows.expect("8192 is not zero"),
            batch_bytes: bytes.expect("4 MiB is not zero"),
            memory_bytes: 512 << 20,
            batches_ahead: 1,
            first_row: 0,
            differences: Differences::default(),
            notes: ReadNotes::default(),
            pins: FilePins::default(),
        }
    }
}

/// Consecutive rows of one file.
#[derive(Clone, Debug)]
pub struct FileBatch {
    /// Index of the file in the given list, from 0.
    pub index: usize,
    /// The file that the rows are of.
    pub file: Arc<SourceFile>,
    /// Which of the file's rows these are, deleted ones counted.
    pub rows: Range<u64>,
    /// Number of the file's rows, deleted ones counted.
    pub file_rows: u64,
    /// Which rows of the range are not deleted; None if none is deleted.
    pub kept: Option<BooleanArray>,
    /// The rows that are not deleted, at least one.
    pub batch: RecordBatch,
}

impl FileBatch {
    /// Index in the file, deleted rows counted, of a row of the batch; from 0.
    #[must_use]
    pub fn row_in_file(&self, row: usize) -> u64 {
        self.rows.start + stored_row(self.kept.as_ref(), row)
    }
}

/// Reads `files` in their order. Files without rows give no batch.
///
/// An error, of a file or of the list of files, is the last item. A stream that ends without one is complete, and each file
/// had exactly the rows, NULLs and bounds that its log records.
pub fn read_files<S, E>(
    shape: &TableShape,
    store: Arc<dyn ObjectStore>,
    files: S,
    options: ReadOptions,
) -> BoxStream<'static, Result<FileBatch, DeltaError>>
where
    S: Stream<Item = Result<SourceFile, E>> + Send + 'static,
    E: Into<Box<dyn std::error::Error + Send + Sync>> + Send + 'static,
{
    let shape = shape.clone();
    drive(options.batches_ahead, move |out| {
        let reader =
            Reader { engine: plain_engine(store.clone(), options.batch_rows)?, io: io()?, options, shape, store };
        let mut files = Box::pin(files.map(|file| file.map(Arc::new)));
        let (mut index, mut next) = (0, None);
        loop {
            let (file, opening) = match next.take() {
                Some(found) => found,
                None => (reader.io.block_on(files.next()), None),
            };
            let Some(file) = file else { break };
            let file = file.map_err(|e| DeltaError::Manifest(e.into()))?;
            let opening = opening.or_else(|| reader.begin_open(&file));
            // While this file is read, the next one is opened, if it is known by now.
            next = files.next().now_or_never().map(|next| {
                let opening = next.as_ref().and_then(|next| reader.begin_open(next.as_ref().ok()?));
                (next, opening)
            });
            let first_row = if index == 0 { reader.options.first_row } else { 0 };
            // The decoder may panic on a damaged file; that is an error of the file, not of this program.
            let read = catch_unwind(AssertUnwindSafe(|| reader.read(index, &file, opening, first_row, out)));
            read.unwrap_or_else(|_| {
                let reason = "the Parquet decoder failed on it: the file is damaged".to_owned();
                Err(Stop::Failed(DeltaError::UnreadableFile { path: reader.named(&file), reason }))
            })?;
            index += 1;
        }
        Ok(())
    })
}

struct Reader {
    shape: TableShape,
    engine: Arc<dyn Engine>,
    options: ReadOptions,
    store: Arc<dyn ObjectStore>,
    io: Handle,
}

/// Why the reading of a file ends before its end.
enum End {
    Fault(FileFault),
    Stop(Stop),
}

impl From<FileFault> for End {
    fn from(fault: FileFault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Gone> for End {
    fn from(gone: Gone) -> Self {
        Self::Stop(gone.into())
    }
}

impl From<DeltaError> for End {
    fn from(error: DeltaError) -> Self {
        Self::Stop(error.into())
    }
}

/// A file that is being opened.
type Opening = Coming<Result<FileBytes, object_store::Error>>;

/// One file that is being read.
struct Reading<'a> {
    index: usize,
    file: &'a Arc<SourceFile>,
    constants: Constants,
    deleted: Option<Deleted>,
    observer: Observer<'a>,
    /// Rows read so far, and those of them that are not deleted.
    stored: u64,
    left: u64,
}

impl Reader {
    /// The file and its table, for messages.
    fn named(&self, file: &SourceFile) -> String {
        self.shape.shown_file(&file.path)
    }

    /// Starts to open a file; None if its path cannot be one of the table's.
    fn begin_open(&self, file: &SourceFile) -> Option<Opening> {
        let (_, object) = self.shape.locate(&file.path).ok()?;
        let ReadOptions { memory_bytes, pins, .. } = &self.options;
        let (store, io) = (self.store.clone(), self.io.clone());
        Some(Coming::begin(&self.io, FileBytes::open(store, object, file.size, *memory_bytes, pins.clone(), io)))
    }

    fn read(
        &self,
        index: usize,
        file: &Arc<SourceFile>,
        opening: Option<Opening>,
        first_row: u64,
        out: &Out<FileBatch>,
    ) -> Result<(), Stop> {
        let (_, object) = self.shape.locate(&file.path)?;
        let deleted = match &file.deletion_vector {
            Some(vector) => Some(Deleted::read(self.engine.as_ref(), &self.shape, vector, file)?),
            None => None,
        };
        let mut reading = Reading {
            index,
            file,
            constants: Constants::of(&self.shape, file)?,
            deleted,
            observer: Observer::new(&self.shape, file.statistics.as_ref()),
            stored: 0,
            left: 0,
        };
        let opened = opening.and_then(|opening| opening.wait(&self.io));
        let opened = opened.ok_or_else(|| DeltaError::Internal(format!("opening {} ended early", self.named(file))))?;
        let bytes = opened.map_err(|e| DeltaError::of_store(&e, self.named(file)))?;
        let size = bytes.size();
        if size != file.size && file.rows.is_none() {
            // Without the log's row count nothing else would show whether it is the planned file.
            return Err(self.changed(file, size).into());
        }
        match self.read_bytes(bytes, &mut reading, first_row, out) {
            Ok(()) => {}
            Err(End::Stop(stop)) => return Err(stop),
            Err(End::Fault(_)) if size != file.size => return Err(self.changed(file, size).into()),
            Err(End::Fault(fault)) => return Err(self.classify(fault, file, &object).into()),
        }
        self.check(&reading).map_err(|error| if size == file.size { error } else { self.changed(file, size) })?;
        if size != file.size {
            self.options.notes.add(format!(
                "file {} has {size} bytes, its log says {}; it was read whole and has the rows that the log counts",
                self.named(file),
                file.size
            ));
        }
        self.compare(&reading).map_err(Stop::from)
    }

    fn read_bytes(
        &self,
        bytes: FileBytes,
        reading: &mut Reading<'_>,
        first_row: u64,
        out: &Out<FileBatch>,
    ) -> Result<(), End> {
        let ReadOptions { batch_rows, batch_bytes, memory_bytes, .. } = self.options;
        let goal = Goal { rows: batch_rows, bytes: batch_bytes, memory: memory_bytes };
        let opened = DataFile::open(bytes, &self.shape, self.shape.stored_schema().clone(), goal)?;
        let deleted = reading.deleted.take();
        let kept = |range| deleted.as_ref().and_then(|deleted| deleted.kept(range));
        let read = opened.read(kept, |rows| self.hand_on(rows, opened.rows, &deleted, reading, first_row, out));
        reading.deleted = deleted;
        read
    }

    fn hand_on(
        &self,
        read: Rows,
        file_rows: u64,
        deleted: &Option<Deleted>,
        reading: &mut Reading<'_>,
        first_row: u64,
        out: &Out<FileBatch>,
    ) -> Result<(), End> {
        let Rows { range: rows, kept, batch: left } = read;
        reading.stored = rows.end;
        reading.left += left.num_rows() as u64;
        reading.observer.see(&left);
        // Rows before `first_row` are not returned.
        let skip = first_row.saturating_sub(rows.start).min(rows.end - rows.start);
        let gone = deleted.as_ref().map_or(0, |deleted| deleted.within(rows.start..rows.start + skip));
        let cut = |rows: u64| usize::try_from(rows).unwrap_or(usize::MAX);
        let wanted = left.slice(cut(skip - gone), left.num_rows() - cut(skip - gone));
        if wanted.num_rows() == 0 {
            return Ok(());
        }
        let kept = kept.map(|kept| kept.slice(cut(skip), kept.len() - cut(skip)));
        let batch = self.logical(&wanted, &reading.constants)?;
        let (index, file) = (reading.index, reading.file.clone());
        out.send(FileBatch { index, file, rows: rows.start + skip..rows.end, file_rows, kept, batch })?;
        Ok(())
    }

    /// The table's columns in its order, with the partition columns.
    fn logical(&self, stored: &RecordBatch, constants: &Constants) -> Result<RecordBatch, DeltaError> {
        let rows = stored.num_rows();
        let mut next = stored.columns().iter();
        let columns = self.shape.arrow_schema().fields().iter().map(|field| {
            let constant = constants.column(field.name(), rows)?;
            let column = constant.or_else(|| next.next().cloned());
            column.ok_or_else(|| DeltaError::Internal(format!("column {} was not read", field.name())))
        });
        let columns = columns.collect::<Result<_, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(self.shape.arrow_schema().clone(), columns, &options)
            .map_err(|e| DeltaError::Internal(e.to_string()))
    }

    /// The first check that this is the planned file: its rows against the log's count.
    fn check(&self, reading: &Reading<'_>) -> Result<(), DeltaError> {
        let path = self.named(reading.file);
        let wrong = |what, expected, found| Err(DeltaError::RowCount { path: path.clone(), what, expected, found });
        match (reading.file.rows, reading.deleted.as_ref().and_then(Deleted::last)) {
            (_, Some(last)) if last >= reading.stored => {
                wrong("rows, one of those behind its end is deleted", last + 1, reading.stored)
            }
            (Some(rows), _) if rows != reading.left => wrong("rows", rows, reading.left),
            _ => Ok(()),
        }
    }

    /// The second check: each column against the log's statistics.
    fn compare(&self, reading: &Reading<'_>) -> Result<(), DeltaError> {
        let file = &reading.file;
        let Some(difference) = file.statistics.as_ref().and_then(|told| judge(&reading.observer, told)) else {
            return Ok(());
        };
        let difference = Difference {
            file: self.named(file),
            column: dotted(&difference.column),
            what: difference.what,
            told: difference.told,
            found: difference.found,
        };
        match self.options.differences {
            Differences::Refuse => Err(DeltaError::Statistics(Box::new(difference))),
            Differences::Note => {
                self.options.notes.add(difference.to_string());
                Ok(())
            }
        }
    }

    fn changed(&self, file: &SourceFile, size: u64) -> DeltaError {
        let reason = format!("it has {size} bytes, its log says {} bytes", file.size);
        DeltaError::SourceChanged { path: self.named(file), reason }
    }

    /// Decides whose fault an error is: the file's, a column's, or the store's.
    fn classify(&self, fault: FileFault, file: &SourceFile, object: &ObjectPath) -> DeltaError {
        let path = self.named(file);
        let error = match fault {
            FileFault::Column { path: column, reason, row } if !column.is_empty() => {
                return DeltaError::Column { file: path, column: dotted(&column), row, reason };
            }
            FileFault::Column { reason, .. } => return DeltaError::UnreadableFile { path, reason },
            FileFault::Parquet(error) => error,
        };
        if let Some(store) = store_error(&error) {
            return DeltaError::of_store(store, path);
        }
        // The reader cannot tell a replaced file from a broken one; their sizes can.
        match self.io.block_on(self.store.head(object)) {
            Ok(meta) if meta.size != file.size => self.changed(file, meta.size),
            Ok(_) => DeltaError::UnreadableFile { path, reason: crate::error::bounded(&error.to_string()) },
            Err(head) => DeltaError::of_store(&head, path),
        }
    }
}
