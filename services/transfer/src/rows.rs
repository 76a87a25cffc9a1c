//! The rows of one unit, batch by batch, from any place on: the same place gives the same rows again, which is what lets a
//! block be sent a second time. It holds the batch at hand and what the reader has ahead, never more; and, until it is read, the
//! list of the unit's first files.

use futures::StreamExt;
use futures::stream::BoxStream;
use mms_delta::{DeltaError, Differences, FileBatch, FilePins, ReadNotes, ReadOptions, SourceFile, read_files};

use mms_proto::types::v1::StatisticsMismatch;

use crate::context::Run;
use crate::error::Result;
use crate::manifest;
use crate::source::Source;

/// Files of a unit that are looked at before any is read.
const FILES_AHEAD: usize = 64;

/// A place between two batches of a unit.
#[derive(Debug, Clone, Copy, Default)]
pub struct Place {
    /// The file in the unit's manifest, and the row in it (deleted ones counted) that comes next.
    file: usize,
    row: u64,
    /// Rows before this place.
    pub rows: i64,
    /// Bytes of the files before this one, and of the part of this one that was read, by its rows.
    before: u64,
    within: u64,
    size: u64,
}

impl Place {
    /// Bytes of source files before this place.
    pub fn bytes(&self) -> i64 {
        i64::try_from(self.before + self.within).unwrap_or(i64::MAX)
    }

    /// Whether this is the other place, or behind it.
    pub fn reaches(&self, other: &Self) -> bool {
        (self.file, self.row) >= (other.file, other.row)
    }

    #[cfg(test)]
    pub fn at(file: usize, row: u64) -> Self {
        Self { file, row, ..Self::default() }
    }

    fn after(self, read: &FileBatch) -> Self {
        let (size, all) = (read.file.size, read.file_rows.max(1));
        let within = u128::from(size) * u128::from(read.rows.end.min(all)) / u128::from(all);
        Self {
            file: read.index,
            row: read.rows.end,
            rows: self.rows + i64::try_from(read.batch.num_rows()).unwrap_or(i64::MAX),
            before: if read.index > self.file { self.before + self.size } else { self.before },
            within: u64::try_from(within).unwrap_or(size),
            size,
        }
    }
}

/// The rows of a unit.
pub struct Rows<'a> {
    run: &'a Run,
    source: &'a Source,
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

impl<'a> Rows<'a> {
    /// From the unit's first row on.
    pub fn new(run: &'a Run, source: &'a Source, unit: i32) -> Self {
        Self {
            run,
            source,
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

    /// The first that `found` makes of the unit's files, looking at a bounded number of them before any is read.
    pub async fn foresee<T>(&mut self, found: impl Fn(&SourceFile) -> Option<T>) -> Result<Option<T>> {
        let mut files = manifest::files(self.run, self.unit, 0).fuse();
        let (mut ahead, mut first) = (Vec::new(), None);
        while first.is_none() && ahead.len() < FILES_AHEAD {
            let Some(file) = files.next().await.transpose()? else { break };
            first = found(&file);
            ahead.push(Ok(file));
        }
        self.files = Some(futures::stream::iter(ahead).chain(files).boxed());
        Ok(first)
    }

    /// What is worth knowing of the files that were read, for the task's log.
    pub fn notes(&self) -> Vec<String> {
        self.notes.take()
    }

    /// Before the batch that [`Rows::take`] gives.
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
            self.run.pace.ready().await;
            let stream = match &mut self.stream {
                Some(stream) => stream,
                None => {
                    let files = match self.files.take().filter(|_| self.at.file == 0) {
                        Some(files) => files,
                        None => manifest::files(self.run, self.unit, self.at.file),
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
                    self.base = self.at.file;
                    self.stream.insert(read_files(&self.source.shape, self.source.store.clone(), files, options))
                }
            };
            self.ahead = stream.next().await.transpose()?;
            if let Some(read) = &mut self.ahead {
                read.index += self.base;
            }
        }
        Ok(self.ahead.is_some())
    }

    /// The batch that [`Rows::more`] announced.
    pub fn take(&mut self) -> Option<FileBatch> {
        let (read, before) = (self.ahead.take()?, self.at);
        self.at = before.after(&read);
        self.run.pace.took(self.at.bytes() - before.bytes(), self.at.rows - before.rows);
        Some(read)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, RecordBatch};
    use mms_delta::SourceFile;

    use super::*;

    fn read(index: usize, size: u64, rows: std::ops::Range<u64>, file_rows: u64) -> FileBatch {
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..(rows.end - rows.start).cast_signed()));
        let path = format!("{index}.parquet");
        let file = SourceFile {
            path,
            size,
            rows: None,
            partition_values: Vec::new(),
            deletion_vector: None,
            statistics: None,
        };
        let batch = RecordBatch::try_from_iter([("id", ids)]).expect("one column");
        FileBatch { index, file: Arc::new(file), rows, file_rows, kept: None, batch }
    }

    #[test]
    fn a_place_counts_rows_and_bytes_up_to_it() {
        let mut at = Place::default();
        let mut told = Vec::new();
        for read in [read(0, 1_000, 0..50, 100), read(0, 1_000, 50..100, 100), read(2, 300, 0..20, 30)] {
            let next = at.after(&read);
            assert!(next.reaches(&at) && next.reaches(&next) && !at.reaches(&next));
            at = next;
            told.push((at.rows, at.bytes()));
        }
        // A file without rows shows in no batch.
        assert_eq!(told, [(50, 500), (100, 1_000), (120, 1_200)]);
    }
}
