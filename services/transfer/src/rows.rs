//! Reads the rows of one unit, batch by batch, from any place on. The same place gives the same rows again, which is what allows
//! a block to be sent a second time. Callers do not see whether the rows come from files or from SQL statements.

mod files;
mod parts;
mod place;
mod read;
mod statements;
mod typed;

use futures::StreamExt;
use mms_delta::SourceFile;

use crate::context::Run;
use crate::error::Result;
use crate::manifest;
use crate::source::{Origin, Source};
use files::Files;
pub use place::Place;
pub use read::Read;
use statements::Statements;

/// The most files of a unit that are examined before any is read.
const FILES_AHEAD: usize = 64;

/// The rows of a unit.
pub struct Rows<'a> {
    run: &'a Run,
    unit: i32,
    reader: Reader<'a>,
}

enum Reader<'a> {
    Files(Box<Files<'a>>),
    Statements(Box<Statements<'a>>),
}

impl<'a> Rows<'a> {
    /// Reads from the unit's first row on.
    pub fn new(run: &'a Run, source: &'a Source, unit: i32) -> Self {
        let reader = match &source.origin {
            Origin::Files(reading) => {
                Reader::Files(Box::new(Files::new(run, &source.shape, reading.store.clone(), unit)))
            }
            Origin::Sql(query) => Reader::Statements(Box::new(Statements::new(run, query, unit))),
        };
        Self { run, unit, reader }
    }

    /// Applies `found` to the entries of the unit's first files, and returns its first result. Examines at most `FILES_AHEAD` of
    /// them, and must be called before any row is read.
    pub async fn foresee<T>(&mut self, found: impl Fn(&SourceFile) -> Option<T>) -> Result<Option<T>> {
        let mut files = manifest::files(self.run, self.unit, 0).fuse();
        let (mut ahead, mut first) = (Vec::new(), None);
        while first.is_none() && ahead.len() < FILES_AHEAD {
            let Some(file) = files.next().await.transpose()? else { break };
            first = found(&file);
            ahead.push(Ok(file));
        }
        let files = futures::stream::iter(ahead).chain(files).boxed();
        match &mut self.reader {
            Reader::Files(reader) => reader.looked_at(files),
            Reader::Statements(reader) => reader.looked_at(files),
        }
        Ok(first)
    }

    /// Remarks about what was read, for the task's log.
    pub fn notes(&self) -> Vec<String> {
        match &self.reader {
            Reader::Files(reader) => reader.notes(),
            Reader::Statements(reader) => reader.notes(),
        }
    }

    /// The place before the batch that [`Rows::take`] returns next.
    pub fn place(&self) -> Place {
        match &self.reader {
            Reader::Files(reader) => reader.place(),
            Reader::Statements(reader) => reader.place(),
        }
    }

    /// Continues at an earlier place, which must not lie before the last call of [`Rows::arrived`]. If `end` is given, a batch
    /// ends there, so that a block that is sent again has the same rows.
    pub fn go_back(&mut self, to: Place, end: Option<Place>) {
        match &mut self.reader {
            // Files give the same batches again, so that no end is needed.
            Reader::Files(reader) => reader.go_back(to),
            Reader::Statements(reader) => reader.go_back(to, end),
        }
    }

    /// All rows up to this place have arrived at the target: nobody goes back before it, so that what is kept for that can be
    /// dropped.
    pub fn arrived(&mut self) {
        match &mut self.reader {
            Reader::Files(_) => {}
            Reader::Statements(reader) => reader.arrived(),
        }
    }

    /// Waits for the next batch, and returns false at the end of the unit. Cancel-safe: dropped while it waits, it loses no rows.
    pub async fn more(&mut self) -> Result<bool> {
        self.run.pace.ready().await;
        match &mut self.reader {
            Reader::Files(reader) => reader.more().await,
            Reader::Statements(reader) => reader.more().await,
        }
    }

    /// The batch that [`Rows::more`] announced.
    pub fn take(&mut self) -> Option<Read> {
        let before = self.place();
        let read = match &mut self.reader {
            Reader::Files(reader) => reader.take().map(Read::from),
            Reader::Statements(reader) => reader.take(),
        }?;
        let at = self.place();
        self.run.pace.took(at.bytes() - before.bytes(), at.rows - before.rows);
        Some(read)
    }
}
