//! Reads a manifest's files as Arrow batches, one after the other, from any row on. Memory is bounded by what
//! [`ReadOptions`] allows for the pages of a file and the batches that wait; the order is that of the files, and of the rows
//! in them.

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

/// Bounds of a read. The same ones give the same batches.
#[derive(Clone, Debug)]
pub struct ReadOptions {
    /// Most rows of a batch.
    pub batch_rows: NonZero<usize>,
    /// Bytes that a batch should have at most, judged by what its file tells of its row groups.
    pub batch_bytes: NonZero<usize>,
    /// Bytes that the pages of a file may take in memory. A row group of up to a quarter of it is fetched whole; a page of
    /// more than half of it is refused.
    pub memory_bytes: u64,
    /// Batches that may wait for the consumer.
    pub batches_ahead: usize,
    /// Rows of the first file that are left out, deleted ones counted. They are read all the same: what the log says of a
    /// file can only be compared with the whole of it.
    pub first_row: u64,
    /// What to do with a file of which the log's statistics say something else.
    pub differences: Differences,
    /// Where to tell what is worth knowing of files that were read.
    pub notes: ReadNotes,
    /// The files that were read with these before: one of another content is refused.
    pub pins: FilePins,
}

/// What to do with a file that is not what the log's statistics say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Differences {
    /// Refuse it.
    #[default]
    Refuse,
    /// Note it, and take the file for right: some writers' statistics are wrong.
    Note,
}

/// Notes on files that were read, at most [`ReadNotes::MAX`].
#[derive(Clone, Debug, Default)]
pub struct ReadNotes(Arc<Mutex<Vec<String>>>);

impl ReadNotes {
    /// Most notes that are kept.
    pub const MAX: usize = 20;

    /// Takes what was noted since it was last asked.
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

/// Some rows of one file.
#[derive(Clone, Debug)]
pub struct FileBatch {
    /// The place of the file in the list that was given, from 0.
    pub index: usize,
    /// The file.
    pub file: Arc<SourceFile>,
    /// Where these rows lie in it, those that are deleted included.
    pub rows: Range<u64>,
    /// How many rows it has, those that are deleted included.
    pub file_rows: u64,
    /// Which of them are left, if some are deleted.
    pub kept: Option<BooleanArray>,
    /// The rows, at least one.
    pub batch: RecordBatch,
}

impl FileBatch {
    /// The place in the file of a row of the batch, from 0.
    #[must_use]
    pub fn row_in_file(&self, row: usize) -> u64 {
        self.rows.start + stored_row(self.kept.as_ref(), row)
    }
}

/// Reads `files` in their order. Files without rows give no batch.
///
/// An error, of the files as of their list, is the last item. A stream that ends without one is complete, and then each
/// file had exactly the rows, NULLs and bounds that its log tells.
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
            // While this one is read the next is opened, if it is known by now.
            next = files.next().now_or_never().map(|next| {
                let opening = next.as_ref().and_then(|next| reader.begin_open(next.as_ref().ok()?));
                (next, opening)
            });
            let first_row = if index == 0 { reader.options.first_row } else { 0 };
            // A damaged file may bring a decoder to its knees; that is the file's fault.
            let read = catch_unwind(AssertUnwindSafe(|| reader.read(index, &file, opening, first_row, out)));
            read.unwrap_or_else(|_| {
                let reason = "the Parquet decoder gave up on it: the file is damaged".to_owned();
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

/// Why the reading of a file ends early.
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

/// One file on its way.
struct Reading<'a> {
    index: usize,
    file: &'a Arc<SourceFile>,
    constants: Constants,
    deleted: Option<Deleted>,
    observer: Observer<'a>,
    /// Rows that were read, and those of them that are left.
    stored: u64,
    left: u64,
}

impl Reader {
    /// A file with its table, for texts.
    fn named(&self, file: &SourceFile) -> String {
        self.shape.shown_file(&file.path)
    }

    /// Begins to open a file; none if it cannot be one of the table's.
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
            // Nothing else could tell that it is the file that was planned.
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
        // Only what comes from `first_row` on is wanted.
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

    /// The table's columns in its order, partition columns among them.
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

    /// The log's own count is the first witness that the file is the one that was planned.
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

    /// And its statistics are the second, of each column.
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

    /// What a fault in a file means: the file's, a column's, or the store's.
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
        // The reader cannot tell a file that was replaced from one that is broken.
        match self.io.block_on(self.store.head(object)) {
            Ok(meta) if meta.size != file.size => self.changed(file, meta.size),
            Ok(_) => DeltaError::UnreadableFile { path, reason: crate::error::bounded(&error.to_string()) },
            Err(head) => DeltaError::of_store(&head, path),
        }
    }
}
