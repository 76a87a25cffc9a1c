//! Commits (and checkpoints in JSON) as the kernel gets them, file by file and line by line, so that an error can say where.
//! Arrow's JSON reader decodes them; NULLs among texts are let through, as writers leave them.

use std::sync::Arc;

use arrow::datatypes::SchemaRef as ArrowSchemaRef;
use arrow::json::ReaderBuilder;
use arrow::json::reader::Decoder;
use bytes::Bytes;
use delta_kernel::engine::arrow_utils::{ReorderIndex, build_json_reorder_indices, fixup_json_read, json_arrow_schema};
use delta_kernel::engine_data::FilteredEngineData;
use delta_kernel::schema::SchemaRef;
use delta_kernel::{
    EngineData, FileDataReadResultIterator, FileMeta, JsonHandler, KernelError, KernelResult, KernelResultIterator,
    PredicateRef,
};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt};
use tokio::runtime::Handle;
use url::Url;

use super::normal::Normalizer;
use super::storage::read_only;
use super::{LOG_BATCH_ROWS, LOG_READ_AHEAD, LogFile, LogReading, refuse};

/// Bytes up to which a log file is fetched whole, ahead of its turn.
const AHEAD_BYTES: u64 = 4 << 20;
/// Longest line: a schema or a file's statistics have no other bound.
const LINE_BYTES_MAX: usize = 256 << 20;

pub(super) struct LogJson {
    pub(super) inner: Arc<dyn JsonHandler>,
    pub(super) io: Handle,
    pub(super) reading: Arc<LogReading>,
}

impl JsonHandler for LogJson {
    fn parse_json(&self, strings: Box<dyn EngineData>, schema: SchemaRef) -> KernelResult<Box<dyn EngineData>> {
        self.inner.parse_json(strings, schema)
    }

    fn read_json_files(
        &self,
        files: &[FileMeta],
        schema: SchemaRef,
        _: Option<PredicateRef>,
    ) -> KernelResult<FileDataReadResultIterator> {
        let relaxed = super::normal::relaxed(&schema)?;
        let arrow = Arc::new(json_arrow_schema(&relaxed)?);
        let store = self.reading.store.clone();
        let files: Vec<FileMeta> = files.into();
        let opened = files.into_iter().map(move |file| open(store.clone(), file));
        let reader = Reader {
            files: stream::iter(opened).buffered(LOG_READ_AHEAD.get()).boxed(),
            io: self.io.clone(),
            reading: self.reading.clone(),
            reorder: build_json_reorder_indices(&relaxed)?,
            arrow,
            open: None,
            ended: false,
        };
        Ok(Box::new(reader))
    }

    fn write_json_file(&self, _: &Url, _: KernelResultIterator<'_, FilteredEngineData>, _: bool) -> KernelResult<u64> {
        Err(read_only())
    }
}

type Chunks = BoxStream<'static, Result<Bytes, object_store::Error>>;

/// A file, with its bytes if it is small. What fails is told in the file's turn.
async fn open(store: Arc<dyn ObjectStore>, file: FileMeta) -> (FileMeta, Result<Chunks, KernelError>) {
    let chunks = async {
        let path = ObjectPath::from_url_path(file.location.path()).map_err(KernelError::ObjectStorePath)?;
        let found = store.get(&path).await.map_err(KernelError::from)?;
        if file.size > AHEAD_BYTES {
            return Ok(found.into_stream());
        }
        let whole = found.bytes().await.map_err(KernelError::from)?;
        Ok(stream::once(async { Ok(whole) }).boxed())
    };
    let chunks = chunks.await;
    (file, chunks)
}

type Reorder = Vec<ReorderIndex>;

struct Reader {
    files: BoxStream<'static, (FileMeta, Result<Chunks, KernelError>)>,
    io: Handle,
    reading: Arc<LogReading>,
    arrow: ArrowSchemaRef,
    reorder: Reorder,
    open: Option<Open>,
    ended: bool,
}

/// The file at hand.
struct Open {
    file: LogFile,
    location: String,
    chunks: Chunks,
    decoder: Decoder,
    normalizer: Normalizer,
    /// Bytes behind the last whole line.
    rest: Vec<u8>,
    /// Lines that were whole, and are not decoded yet.
    ready: Bytes,
    line: u64,
    exhausted: bool,
}

impl Iterator for Reader {
    type Item = KernelResult<Box<dyn EngineData>>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.ended {
            let step = match &mut self.open {
                Some(open) => open.batch(&self.io, &self.reorder, &self.reading),
                None => match self.io.block_on(self.files.next()) {
                    None => {
                        self.ended = true;
                        return None;
                    }
                    Some((file, chunks)) => {
                        let log_file = LogFile::of(&file.location);
                        let opened = chunks.and_then(|chunks| {
                            Open::new(log_file.clone(), file.location.to_string(), chunks, &self.arrow, &self.reading)
                        });
                        match opened {
                            Ok(open) => {
                                self.open = Some(open);
                                continue;
                            }
                            Err(error) => Err(self.reading.failed(&log_file, error)),
                        }
                    }
                },
            };
            match step {
                Ok(Some(batch)) => return Some(Ok(batch)),
                Ok(None) => self.open = None,
                Err(error) => {
                    // What follows a broken file is of no use.
                    self.ended = true;
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

impl Open {
    fn new(
        file: LogFile,
        location: String,
        chunks: Chunks,
        arrow: &ArrowSchemaRef,
        reading: &Arc<LogReading>,
    ) -> Result<Self, KernelError> {
        let builder = ReaderBuilder::new(arrow.clone()).with_batch_size(LOG_BATCH_ROWS.get());
        let decoder = builder.with_coerce_primitive(true).build_decoder().map_err(KernelError::from)?;
        let normalizer = Normalizer::new(reading.clone(), file.commit.is_some());
        let (rest, ready) = (Vec::new(), Bytes::new());
        Ok(Self { file, location, chunks, decoder, normalizer, rest, ready, line: 1, exhausted: false })
    }

    /// The next rows of this file; none at its end.
    fn batch(
        &mut self,
        io: &Handle,
        reorder: &Reorder,
        reading: &LogReading,
    ) -> KernelResult<Option<Box<dyn EngineData>>> {
        let first = self.line;
        let wrong = |open: &Self, error: KernelError| {
            let what = crate::error::kernel_text(&error);
            let error = match crate::error::store_error(&error) {
                Some(_) => error,
                None => refuse(format!("{what} (from line {first} on)")),
            };
            reading.failed(&open.file, error)
        };
        loop {
            let found = match self.decode(io) {
                Ok(found) => found,
                Err(error) => return Err(wrong(self, error)),
            };
            if !found && !self.exhausted {
                continue;
            }
            let flushed = self.decoder.flush().map_err(KernelError::from);
            let rows = match flushed {
                Ok(Some(rows)) => rows,
                Ok(None) if self.exhausted && self.ready.is_empty() => {
                    return match self.normalizer.end() {
                        Ok(()) => Ok(None),
                        Err(reason) => Err(reading.failed(&self.file, refuse(reason))),
                    };
                }
                Ok(None) => continue,
                Err(error) => return Err(wrong(self, error)),
            };
            self.line += rows.num_rows() as u64;
            let normal = self.normalizer.normal(rows).map_err(refuse);
            let made = normal.and_then(|rows| fixup_json_read(rows, reorder, &self.location));
            return match made {
                Ok(made) => Ok(Some(Box::new(made) as Box<dyn EngineData>)),
                Err(error) => Err(wrong(self, error)),
            };
        }
    }

    /// Decodes what is ready, or gets more ready. True when a batch is full.
    fn decode(&mut self, io: &Handle) -> Result<bool, KernelError> {
        if !self.ready.is_empty() {
            let read = self.decoder.decode(&self.ready).map_err(KernelError::from)?;
            self.ready = self.ready.slice(read..);
            return Ok(!self.ready.is_empty());
        }
        if self.exhausted {
            return Ok(false);
        }
        match io.block_on(self.chunks.try_next()).map_err(KernelError::from)? {
            Some(chunk) => match chunk.iter().rposition(|byte| *byte == b'\n') {
                Some(end) => {
                    let mut lines = std::mem::take(&mut self.rest);
                    lines.extend_from_slice(&chunk[..=end]);
                    self.rest.extend_from_slice(&chunk[end + 1..]);
                    self.ready = lines.into();
                }
                None => self.rest.extend_from_slice(&chunk),
            },
            None => {
                self.exhausted = true;
                self.ready = std::mem::take(&mut self.rest).into();
            }
        }
        if self.rest.len() > LINE_BYTES_MAX {
            return Err(refuse(format!("a line is longer than {LINE_BYTES_MAX} bytes")));
        }
        Ok(false)
    }
}
