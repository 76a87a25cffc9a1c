//! Reads a manifest's files as Arrow batches, one after the other, from any row on. Memory is bounded by the stored bytes
//! of one row group of one file and the batches that wait, each of about the bytes that were asked for; the order is that
//! of the files, and of the rows in them.

use std::num::NonZero;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use delta_kernel::engine::arrow_data::ArrowEngineData;
use delta_kernel::schema::SchemaRef;
use delta_kernel::{Engine, KernelError};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt};
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt};
use tokio::runtime::Handle;

use crate::data_file::{self, Goal};
use crate::drive::{Out, Stop, drive, io};
use crate::error::store_error;
use crate::snapshot::engine;
use crate::transform::{Deleted, Logical, physical_schema};
use crate::{DeltaError, SourceFile, TableShape};

/// Bounds of a read. The same ones give the same batches.
#[derive(Clone, Copy, Debug)]
pub struct ReadOptions {
    /// Most rows of a batch.
    pub batch_rows: NonZero<usize>,
    /// Bytes that a batch should have at most, judged by what its file tells of its row groups.
    pub batch_bytes: NonZero<usize>,
    /// Batches that may wait for the consumer.
    pub batches_ahead: usize,
    /// Rows of the first file that are left out, deleted ones counted.
    pub first_row: u64,
}

impl Default for ReadOptions {
    fn default() -> Self {
        let (rows, bytes) = (NonZero::new(8192), NonZero::new(16 << 20));
        Self {
            batch_rows: rows.expect("8192 is not zero"),
            batch_bytes: bytes.expect("16 MiB is not zero"),
            batches_ahead: 1,
            first_row: 0,
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
        let stored = match &self.kept {
            None => Some(row),
            Some(kept) => kept.iter().enumerate().filter(|(_, kept)| *kept == Some(true)).nth(row).map(|(at, _)| at),
        };
        self.rows.start + stored.unwrap_or(row) as u64
    }
}

/// Reads `files` in their order. Files without rows give no batch.
///
/// An error, of the files as of their list, is the last item. A stream that ends without one is complete, and then each
/// file had exactly the rows that its log counted.
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
        let reader = Reader {
            engine: engine(store.clone(), NonZero::<usize>::MIN, options.batch_rows)?,
            physical: physical_schema(&shape)?,
            goal: Goal { rows: options.batch_rows, bytes: options.batch_bytes },
            io: io()?,
            shape,
            store,
        };
        let mut files = Box::pin(files);
        let mut index = 0;
        while let Some(file) = reader.io.block_on(files.next()) {
            let file = file.map_err(|e| DeltaError::Manifest(e.into()))?;
            let first_row = if index == 0 { options.first_row } else { 0 };
            reader.read(index, &Arc::new(file), first_row, out)?;
            index += 1;
        }
        Ok(())
    })
}

struct Reader {
    shape: TableShape,
    physical: SchemaRef,
    engine: Arc<dyn Engine>,
    goal: Goal,
    store: Arc<dyn ObjectStore>,
    io: Handle,
}

impl Reader {
    fn read(&self, index: usize, file: &Arc<SourceFile>, first_row: u64, out: &Out<FileBatch>) -> Result<(), Stop> {
        let (_, object) = self.shape.locate(&file.path)?;
        let engine = self.engine.as_ref();
        let logical = Logical::of(engine, &self.shape, &self.physical, file)?;
        let deleted = match &file.deletion_vector {
            Some(vector) => Some(Deleted::read(engine, &self.shape, vector, file)?),
            None => None,
        };
        let classify = |e: KernelError| self.classify(e, file, &object);
        let (store, schema) = (self.store.clone(), self.physical.clone());
        let open = data_file::open(store, object.clone(), file.size, schema, self.goal, first_row);
        let mut opened = self.io.block_on(open).map_err(classify)?;
        // Rows before the first one count as read: they were, by an earlier reader of the same file.
        let (mut stored, mut left) = (first_row, first_row);
        if let Some(deleted) = &deleted {
            left -= deleted.within(0..first_row);
        }
        while let Some(physical) = self.io.block_on(opened.batches.try_next()).map_err(classify)? {
            let rows = stored..stored + physical.num_rows() as u64;
            stored = rows.end;
            let mut batch = logical.batch(&ArrowEngineData::new(physical), file)?;
            let kept = deleted.as_ref().and_then(|deleted| deleted.kept(rows.clone()));
            if let Some(kept) = &kept {
                batch = filter_record_batch(&batch, kept).map_err(|e| DeltaError::Internal(e.to_string()))?;
            }
            left += batch.num_rows() as u64;
            if batch.num_rows() > 0 {
                out.send(FileBatch { index, file: file.clone(), rows, file_rows: opened.rows, kept, batch })?;
            }
        }
        self.check(file, deleted.as_ref(), stored, left).map_err(Stop::from)
    }

    /// The log's own count is the only witness that the file is the one that was planned.
    fn check(&self, file: &SourceFile, deleted: Option<&Deleted>, stored: u64, left: u64) -> Result<(), DeltaError> {
        let wrong =
            |what, expected, found| Err(DeltaError::RowCount { path: file.path.clone(), what, expected, found });
        match (file.rows, deleted.and_then(Deleted::last)) {
            (_, Some(last)) if last >= stored => {
                wrong("rows, one of those behind its end is deleted", last + 1, stored)
            }
            (Some(rows), _) if rows != left => wrong("rows", rows, left),
            _ => Ok(()),
        }
    }

    /// Asks the store what is true of a file that could not be read: the reader cannot tell a file that was replaced
    /// from one that is broken.
    fn classify(&self, error: KernelError, file: &SourceFile, object: &ObjectPath) -> DeltaError {
        let path = file.path.clone();
        let reason = error.to_string();
        let from_store = store_error(&error).map(|e| DeltaError::of_store(e, path.clone()));
        match self.io.block_on(self.store.head(object)) {
            Ok(meta) if meta.size != file.size => {
                let reason = format!("it has {} bytes, its log says {}", meta.size, file.size);
                DeltaError::SourceChanged { path, reason }
            }
            Ok(_) => from_store.unwrap_or(DeltaError::UnreadableFile { path, reason }),
            Err(head) => DeltaError::of_store(&head, path),
        }
    }
}
