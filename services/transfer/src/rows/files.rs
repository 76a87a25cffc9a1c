//! Reads a unit's rows from its files, in the manifest's order. Holds the current batch and what the reader has read ahead, never
//! more; and, until reading begins, the list of the unit's first files.

use std::sync::Arc;

use futures::StreamExt;
use futures::stream::BoxStream;
use mms_delta::{
    DeltaError, Differences, FileBatch, FilePins, ReadNotes, ReadOptions, SourceFile, TableShape, read_files,
};
use mms_proto::types::v1::StatisticsMismatch;
use mms_storage::ObjectStore;

use super::place::{Place, Step};
use crate::context::Run;
use crate::error::Result;
use crate::manifest;

/// The rows of a unit's files.
pub struct Files<'a> {
    run: &'a Run,
    shape: &'a TableShape,
    store: Arc<dyn ObjectStore>,
    unit: i32,
    at: Place,
    stream: Option<BoxStream<'static, Result<FileBatch, DeltaError>>>,
    ahead: Option<FileBatch>,
    /// The file at which the stream began; the stream numbers its files from there.
    base: usize,
    notes: ReadNotes,
    /// Makes sure that a block that is sent again is read from the same files.
    pins: FilePins,
    /// The unit's files from its first on, if some were examined before reading.
    files: Option<BoxStream<'static, Result<SourceFile>>>,
}

impl<'a> Files<'a> {
    /// Reads from the unit's first row on.
    pub fn new(run: &'a Run, shape: &'a TableShape, store: Arc<dyn ObjectStore>, unit: i32) -> Self {
        Self {
            run,
            shape,
            store,
            unit,
            at: Place::default(),
            stream: None,
            ahead: None,
            base: 0,
            notes: ReadNotes::default(),
            pins: FilePins::default(),
            files: None,
        }
    }

    /// Passes the unit's files from its first on, some of which were examined, so that the manifest is not read twice.
    pub fn looked_at(&mut self, files: BoxStream<'static, Result<SourceFile>>) {
        self.files = Some(files);
    }

    /// Remarks about the files that were read, for the task's log.
    pub fn notes(&self) -> Vec<String> {
        self.notes.take()
    }

    /// The place before the batch that [`Files::take`] returns next.
    pub fn place(&self) -> Place {
        self.at
    }

    /// Continues at an earlier place.
    pub fn go_back(&mut self, to: Place) {
        (self.stream, self.ahead) = (None, None);
        self.at = to;
    }

    /// Waits for the next batch, and returns false at the end of the unit. Cancel-safe: dropped while it waits, it loses no rows.
    pub async fn more(&mut self) -> Result<bool> {
        if self.ahead.is_none() {
            let stream = match &mut self.stream {
                Some(stream) => stream,
                None => {
                    let files = match self.files.take().filter(|_| self.at.part == 0) {
                        Some(files) => files,
                        None => manifest::files(self.run, self.unit, self.at.part),
                    };
                    let options = ReadOptions {
                        first_row: self.at.row,
                        memory_bytes: self.run.settings.slot_memory_bytes,
                        notes: self.notes.clone(),
                        pins: self.pins.clone(),
                        differences: match self.run.spec.statistics_mismatch() {
                            StatisticsMismatch::Note => Differences::Note,
                            StatisticsMismatch::Unspecified | StatisticsMismatch::Refuse => Differences::Refuse,
                        },
                        ..ReadOptions::default()
                    };
                    self.base = self.at.part;
                    self.stream.insert(read_files(self.shape, self.store.clone(), files, options))
                }
            };
            self.ahead = stream.next().await.transpose()?;
            if let Some(read) = &mut self.ahead {
                read.index += self.base;
            }
        }
        Ok(self.ahead.is_some())
    }

    /// The batch that [`Files::more`] announced.
    pub fn take(&mut self) -> Option<FileBatch> {
        let read = self.ahead.take()?;
        self.at = self.at.after(Step {
            part: read.index,
            size: read.file.size,
            of: read.file_rows,
            end: read.rows.end,
            rows: read.batch.num_rows(),
        });
        Some(read)
    }
}
