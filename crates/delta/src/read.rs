//! Reads a manifest's files as Arrow batches, one after the other. Memory is bounded by one row group of one file and
//! the batches that wait; the order is that of the files, and of the rows in them.

use std::num::NonZero;
use std::sync::Arc;

use arrow::array::RecordBatch;
use delta_kernel::schema::SchemaRef;
use delta_kernel::{Engine, FileMeta, KernelError};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt};
use tokio::runtime::Handle;

use crate::drive::{Out, Stop, drive, io};
use crate::error::store_error;
use crate::snapshot::engine;
use crate::transform::{Deleted, Logical, physical_schema};
use crate::{DeltaError, SourceFile, TableShape};

/// Bounds of a read.
#[derive(Clone, Copy, Debug)]
pub struct ReadOptions {
    /// Most rows of a batch. The same figure gives the same batches.
    pub batch_rows: NonZero<usize>,
    /// Batches that may wait for the consumer.
    pub batches_ahead: usize,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self { batch_rows: NonZero::new(8192).expect("8192 is not zero"), batches_ahead: 2 }
    }
}

/// Some rows of one file.
#[derive(Clone, Debug)]
pub struct FileBatch {
    /// The place of the file in the list that was given, from 0.
    pub file: usize,
    /// The rows, at least one.
    pub batch: RecordBatch,
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
            io: io()?,
            shape,
            store,
        };
        let mut files = Box::pin(files);
        let mut index = 0;
        while let Some(file) = reader.io.block_on(files.next()) {
            let file = file.map_err(|e| DeltaError::Manifest(e.into()))?;
            reader.read(index, &file, out)?;
            index += 1;
        }
        Ok(())
    })
}

struct Reader {
    shape: TableShape,
    physical: SchemaRef,
    engine: Arc<dyn Engine>,
    store: Arc<dyn ObjectStore>,
    io: Handle,
}

impl Reader {
    fn read(&self, index: usize, file: &SourceFile, out: &Out<FileBatch>) -> Result<(), Stop> {
        let (location, object) = self.shape.locate(&file.path)?;
        let engine = self.engine.as_ref();
        let logical = Logical::of(engine, &self.shape, &self.physical, file)?;
        let deleted = match &file.deletion_vector {
            Some(vector) => Some(Deleted::read(engine, &self.shape, vector, file)?),
            None => None,
        };
        let meta = FileMeta { location, last_modified: 0, size: file.size };
        let classify = |e: KernelError| self.classify(e, file, &object);
        let batches = engine.parquet_handler().read_parquet_files(&[meta], self.physical.clone(), None);
        let (mut stored, mut sent) = (0_u64, 0_u64);
        for physical in batches.map_err(classify)? {
            let physical = physical.map_err(classify)?;
            let range = stored..stored + physical.len() as u64;
            stored = range.end;
            let mut batch = logical.batch(physical.as_ref(), file)?;
            if let Some(deleted) = &deleted {
                batch = deleted.apply(batch, range)?;
            }
            sent += batch.num_rows() as u64;
            if batch.num_rows() > 0 {
                out.send(FileBatch { file: index, batch })?;
            }
        }
        self.check(file, deleted.as_ref(), stored, sent).map_err(Stop::from)
    }

    /// The log's own count is the only witness that the file is the one that was planned.
    fn check(&self, file: &SourceFile, deleted: Option<&Deleted>, stored: u64, sent: u64) -> Result<(), DeltaError> {
        let wrong =
            |what, expected, found| Err(DeltaError::RowCount { path: file.path.clone(), what, expected, found });
        match (file.rows, deleted.and_then(Deleted::last)) {
            (_, Some(last)) if last >= stored => {
                wrong("rows, one of those behind its end is deleted", last + 1, stored)
            }
            (Some(rows), _) if rows != sent => wrong("rows", rows, sent),
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
