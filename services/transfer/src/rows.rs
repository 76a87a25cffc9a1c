//! Reads the rows of one unit, batch by batch, from any place on. The same place gives the same rows again, which is what
//! lets a block be sent a second time. Holds one batch and what the reader has prefetched, never more; before the first read
//! also the list of the unit's first files.

use futures::StreamExt;
use futures::stream::BoxStream;
use mms_delta::{DeltaError, Differences, FileBatch, FilePins, ReadNotes, ReadOptions, SourceFile, read_files};

use mms_proto::types::v1::StatisticsMismatch;

use crate::context::Run;
use crate::error::Result;
use crate::manifest;
use crate::source::Source;

/// Files of a unit that [`Rows::foresee`] looks at, at most.
const FILES_AHEAD: usize = 64;

/// A position between two batches of a unit.
#[derive(Debug, Clone, Copy, Default)]
pub struct Place {
    /// Index of the file in the unit's manifest, and the next row in it, deleted rows counted.
    file: usize,
    row: u64,
    /// Rows before this position.
    pub rows: i64,
    /// Bytes of the files before this one, and the read part of this one, in proportion to its rows.
    before: u64,
    within: u64,
    size: u64,
}

impl Place {
    /// Bytes of source files before this position.
    pub fn bytes(&self) -> i64 {
        i64::try_from(self.before + self.within).unwrap_or(i64::MAX)
    }

    /// Whether this is the other position or a later one.
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

pub struct Rows<'a> {
    run: &'a Run,
    source: &'a Source,
    unit: i32,
    at: Place,
    stream: Option<BoxStream<'static, Result<FileBatch, DeltaError>>>,
    ahead: Option<FileBatch>,
    /// Index of the file that the stream began with: the reader counts files from there.
    base: usize,
    notes: ReadNotes,
    /// Versions of the files, so that a block that is sent again is read from the same ones.
    pins: FilePins,
    /// The unit's files from the first one on, if [`Rows::foresee`] has listed them already.
    files: Option<BoxStream<'static, Result<SourceFile>>>,
}

impl<'a> Rows<'a> {
    /// Starts at the unit's first row.
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

    /// The first result that `found` gives for one of the unit's files, before any of them is read. Looks at 64 files at
    /// most.
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

    /// Remarks of the reader about the files, for the task's log.
    pub fn notes(&self) -> Vec<String> {
        self.notes.take()
    }

    /// The position before the batch that [`Rows::take`] returns next.
    pub fn place(&self) -> Place {
        self.at
    }

    /// Continues from a position that [`Rows::place`] returned earlier.
    pub fn go_back(&mut self, to: Place) {
        (self.stream, self.ahead) = (None, None);
        self.at = to;
    }

    /// Waits for the next batch; false at the unit's end. Cancel safe: nothing is lost when it is dropped while it waits.
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

    /// Takes the batch that [`Rows::more`] waited for.
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
        // A file without rows gives no batch.
        assert_eq!(told, [(50, 500), (100, 1_000), (120, 1_200)]);
    }
}
