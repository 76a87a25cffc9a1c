//! Reads commits (and checkpoints in JSON) for the kernel, file by file and line by line, so that an error names the place.
//! Arrow's JSON reader decodes them; NULLs among texts are accepted, because writers leave them.

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
use futures::StreamExt;
use tokio::runtime::Handle;
use url::Url;

use super::lines::{Files, Lines, Wanted};
use super::normal::Normalizer;
use super::storage::read_only;
use super::{LOG_BATCH_ROWS, LogFile, LogReading, refuse};

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
        // Most lines of a log are about files. A reader that asks for something else gets only the lines that may have it.
        let wanted = (schema.field("add").is_none() && schema.field("remove").is_none())
            .then(|| Wanted::new(schema.fields().map(|field| field.name().as_str())));
        let reader = Reader {
            files: super::lines::files(store, files.into()),
            wanted,
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

type Reorder = Vec<ReorderIndex>;

struct Reader {
    files: Files,
    wanted: Option<Wanted>,
    io: Handle,
    reading: Arc<LogReading>,
    arrow: ArrowSchemaRef,
    reorder: Reorder,
    open: Option<Open>,
    ended: bool,
}

/// The file that is being read.
struct Open {
    file: LogFile,
    location: String,
    lines: Lines,
    decoder: Decoder,
    normalizer: Normalizer,
    /// Fetched lines that are not decoded yet.
    ready: Bytes,
    /// Number of the first line that is decoded next, or of the one before it.
    line: u64,
    /// Lines fetched so far, with those that were filtered out.
    fetched: u64,
    exhausted: bool,
}

impl Iterator for Reader {
    type Item = KernelResult<Box<dyn EngineData>>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.ended {
            let step = match &mut self.open {
                Some(open) => open.batch(&self.io, self.wanted.as_ref(), &self.reorder, &self.reading),
                None => match self.io.block_on(self.files.next()) {
                    None => {
                        self.ended = true;
                        return None;
                    }
                    Some((file, lines)) => {
                        let log_file = LogFile::of(&file.location);
                        let opened = lines.and_then(|lines| {
                            Open::new(log_file.clone(), file.location.to_string(), lines, &self.arrow, &self.reading)
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
                    // The files after a broken one are of no use.
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
        lines: Lines,
        arrow: &ArrowSchemaRef,
        reading: &Arc<LogReading>,
    ) -> Result<Self, KernelError> {
        let builder = ReaderBuilder::new(arrow.clone()).with_batch_size(LOG_BATCH_ROWS.get());
        let decoder = builder.with_coerce_primitive(true).build_decoder().map_err(KernelError::from)?;
        let normalizer = Normalizer::new(reading.clone(), file.commit.is_some());
        let ready = Bytes::new();
        Ok(Self { file, location, lines, decoder, normalizer, ready, line: 1, fetched: 0, exhausted: false })
    }

    /// The next rows of this file; None at its end.
    fn batch(
        &mut self,
        io: &Handle,
        wanted: Option<&Wanted>,
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
            let found = match self.decode(io, wanted) {
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

    /// Decodes fetched lines, or fetches more. True when a batch is full.
    fn decode(&mut self, io: &Handle, wanted: Option<&Wanted>) -> Result<bool, KernelError> {
        if !self.ready.is_empty() {
            let read = self.decoder.decode(&self.ready).map_err(KernelError::from)?;
            self.ready = self.ready.slice(read..);
            return Ok(!self.ready.is_empty());
        }
        if self.exhausted {
            return Ok(false);
        }
        let Some(lines) = self.lines.next(io)? else {
            self.exhausted = true;
            return Ok(false);
        };
        let Some(wanted) = wanted else {
            self.ready = lines;
            return Ok(false);
        };
        self.ready = wanted.of(&lines);
        if !self.decoder.has_partial_record() && self.decoder.is_empty() {
            self.line = self.fetched + 1;
        }
        self.fetched += memchr::memchr_iter(b'\n', &lines).count() as u64;
        Ok(false)
    }
}
