//! A unit's rows from its files, in the manifest's order. Holds the batch at hand and what the reader has ahead, never more; and,
//! until it is read, the list of the unit's first files.

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
    /// Where the stream began, which counts files from there.
    base: usize,
    notes: ReadNotes,
    /// A block that is sent again is read of the same files.
    pins: FilePins,
    /// The unit's files from its first on, if they were looked at.
    files: Option<BoxStream<'static, Result<SourceFile>>>,
}

impl<'a> Files<'a> {
    /// From the unit's first row on.
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

    /// The unit's files from its first on, which were looked at.
    pub fn looked_at(&mut self, files: BoxStream<'static, Result<SourceFile>>) {
        self.files = Some(files);
    }

    /// What is worth knowing of the files that were read.
    pub fn notes(&self) -> Vec<String> {
        self.notes.take()
    }

    /// Before the batch that [`Files::take`] gives.
    pub fn place(&self) -> Place {
        self.at
    }

    /// Goes on from a place that was met before.
    pub fn go_back(&mut self, to: Place) {
        (self.stream, self.ahead) = (None, None);
        self.at = to;
    }

    /// Waits until there is a batch, and says whether there is one. Dropped while it waits, it loses nothing.
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
