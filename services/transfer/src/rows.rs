//! The rows of one unit, batch by batch, from any place on: the same place gives the same rows again, which is what lets a
//! block be sent a second time. Where they come from is told apart here: nobody above knows files from statements.

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

/// Files of a unit that are looked at before any is read.
const FILES_AHEAD: usize = 64;

/// The rows of a unit.
pub struct Rows<'a> {
    run: &'a Run,
    unit: i32,
    reader: Reader<'a>,
}

enum Reader<'a> {
    Files(Files<'a>),
    Statements(Box<Statements<'a>>),
}

impl<'a> Rows<'a> {
    /// From the unit's first row on.
    pub fn new(run: &'a Run, source: &'a Source, unit: i32) -> Self {
        let reader = match &source.origin {
            Origin::Files(reading) => Reader::Files(Files::new(run, &source.shape, reading.store.clone(), unit)),
            Origin::Sql(query) => Reader::Statements(Box::new(Statements::new(run, query, unit))),
        };
        Self { run, unit, reader }
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
        let files = futures::stream::iter(ahead).chain(files).boxed();
        match &mut self.reader {
            Reader::Files(reader) => reader.looked_at(files),
            Reader::Statements(reader) => reader.looked_at(files),
        }
        Ok(first)
    }

    /// What is worth knowing of what was read, for the task's log.
    pub fn notes(&self) -> Vec<String> {
        match &self.reader {
            Reader::Files(reader) => reader.notes(),
            Reader::Statements(reader) => reader.notes(),
        }
    }

    /// Before the batch that [`Rows::take`] gives.
    pub fn place(&self) -> Place {
        match &self.reader {
            Reader::Files(reader) => reader.place(),
            Reader::Statements(reader) => reader.place(),
        }
    }

    /// Goes on from a place that was met before, and not before what [`Rows::arrived`] was told of. A batch ends at `end`, if that
    /// was decided.
    pub fn go_back(&mut self, to: Place, end: Option<Place>) {
        match &mut self.reader {
            // Files give the same batches again.
            Reader::Files(reader) => reader.go_back(to),
            Reader::Statements(reader) => reader.go_back(to, end),
        }
    }

    /// All up to this place has arrived: nobody goes back before it.
    pub fn arrived(&mut self) {
        match &mut self.reader {
            Reader::Files(_) => {}
            Reader::Statements(reader) => reader.arrived(),
        }
    }

    /// Waits until there is a batch, and says whether there is one. Dropped while it waits, it loses nothing.
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
