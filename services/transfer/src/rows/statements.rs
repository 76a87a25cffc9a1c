//! A unit's rows by SQL: one statement for each of its source partitions, in the manifest's order. A second run of a statement may
//! give its rows in another order, so that a place is met again in the same statement or not at all: then the unit is begun
//! again, by a new attempt. Holds the batch at hand, the page that it came in, and the last statements' own pages.
//!
//! What a statement gives is never believed to be all: rows are counted against the log, or the server, where the log counts none.

use std::collections::VecDeque;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, TryStreamExt};
use mms_databricks::DatabricksError;
use mms_databricks::sql::Statement;
use mms_delta::SourceFile;

use super::parts::{Part, Parts};
use super::place::{Place, Step};
use super::read::Read;
use super::typed::typed;
use crate::context::Run;
use crate::error::{Result, TransferError};
use crate::manifest;
use crate::query::Query;

/// Statements that are kept, so that a block can be sent again that began in one before.
const KEPT: usize = 4;

/// The rows of a unit's statements.
pub struct Statements<'a> {
    run: &'a Run,
    query: &'a Query,
    unit: i32,
    files: Option<BoxStream<'static, Result<SourceFile>>>,
    /// None: the manifest was not read yet.
    parts: Option<Vec<Asked>>,
    at: Place,
    /// The part and the row in it that the next batch begins with.
    next: (usize, u64),
    opening: Option<BoxFuture<'static, Result<Statement, DatabricksError>>>,
    open: VecDeque<Open>,
    ahead: Option<Ahead>,
    end: Option<Place>,
    /// The table was looked at after the last row.
    looked: bool,
}

/// A part, and what became of it.
struct Asked {
    part: Part,
    begun: bool,
    /// The rows that it had, when its statement has ended.
    found: Option<u64>,
}

struct Open {
    part: usize,
    /// The row that it gives next.
    at: u64,
    statement: Statement,
}

struct Ahead {
    part: usize,
    first: u64,
    batch: arrow::array::RecordBatch,
}

impl<'a> Statements<'a> {
    /// From the unit's first row on.
    pub fn new(run: &'a Run, query: &'a Query, unit: i32) -> Self {
        Self {
            run,
            query,
            unit,
            files: None,
            parts: None,
            at: Place::default(),
            next: (0, 0),
            opening: None,
            open: VecDeque::new(),
            ahead: None,
            end: None,
            looked: false,
        }
    }

    /// The unit's files from its first on, which were looked at.
    pub fn looked_at(&mut self, files: BoxStream<'static, Result<SourceFile>>) {
        self.files = Some(files);
    }

    /// What is worth knowing of what was read.
    pub fn notes(&self) -> Vec<String> {
        let parts = self.parts.as_deref().unwrap_or_default();
        let uncounted = parts.iter().filter(|asked| asked.part.rows.is_none()).count();
        let counted = match uncounted {
            0 => String::new(),
            some => format!(", and the rows of {some} counted by COUNT(*), as the log counts none"),
        };
        vec![format!("read by {} statements{counted}", parts.len())]
    }

    /// Before the batch that [`Statements::take`] gives.
    pub fn place(&self) -> Place {
        self.at
    }

    /// Goes on from a place that was met before; a batch ends at `end`.
    pub fn go_back(&mut self, to: Place, end: Option<Place>) {
        self.ahead = None;
        (self.at, self.end) = (to, end);
        self.next = (to.part, to.row);
    }

    /// All up to this place has arrived.
    pub fn arrived(&mut self) {
        self.end = None;
        self.open.retain(|open| open.part >= self.at.part);
    }

    /// Waits until there is a batch, and says whether there is one. Dropped while it waits, it loses nothing.
    pub async fn more(&mut self) -> Result<bool> {
        if self.ahead.is_some() {
            return Ok(true);
        }
        if self.parts.is_none() {
            self.parts = Some(self.read_parts().await?);
        }
        loop {
            let (part, row) = self.next;
            let Some(asked) = self.asked(part) else {
                if !self.looked {
                    self.query.still().await?;
                    self.looked = true;
                }
                return Ok(false);
            };
            if asked.found.is_some_and(|rows| row >= rows) {
                self.next = (part + 1, 0);
                continue;
            }
            let open = self.statement(part, row).await?;
            let Some(rows) = open.statement.next().await? else {
                self.check(part, row).await?;
                if let Some(asked) = self.parts.as_mut().and_then(|parts| parts.get_mut(part)) {
                    asked.found = Some(row);
                }
                continue;
            };
            open.at = rows.first_row + rows.batch.num_rows() as u64;
            let end = open.at;
            if rows.first_row != row {
                let what = format!("it gave row {} where row {row} was due", rows.first_row);
                return Err(DatabricksError::Lost { what }.into());
            }
            let batch = typed(&rows.batch, self.query.columns()).map_err(TransferError::NotBySql)?;
            self.next = (part, end);
            self.ahead = Some(Ahead { part, first: row, batch });
            return Ok(true);
        }
    }

    /// The batch that [`Statements::more`] announced.
    pub fn take(&mut self) -> Option<Read> {
        let Ahead { part, first, mut batch } = self.ahead.take()?;
        let mut end = first + batch.num_rows() as u64;
        // Sent again, a page may be cut elsewhere than it was.
        if let Some(cut) = self.end.filter(|cut| cut.part == part && first < cut.row && cut.row < end) {
            let keep = usize::try_from(cut.row - first).unwrap_or(usize::MAX);
            self.ahead = Some(Ahead { part, first: cut.row, batch: batch.slice(keep, batch.num_rows() - keep) });
            batch = batch.slice(0, keep);
            end = cut.row;
        }
        let asked = &self.asked(part)?.part;
        let step = Step { part, size: asked.bytes, of: asked.rows.unwrap_or(end), end, rows: batch.num_rows() };
        let shown = self.query.shown(asked.condition.as_deref());
        self.at = self.at.after(step);
        Some(Read::of_result(batch, first, shown))
    }

    fn asked(&self, part: usize) -> Option<&Asked> {
        self.parts.as_ref()?.get(part)
    }

    async fn read_parts(&mut self) -> Result<Vec<Asked>> {
        let mut files = match self.files.take() {
            Some(files) => files,
            None => manifest::files(self.run, self.unit, 0),
        };
        let mut parts = Parts::new(self.query.partition_columns());
        while let Some(file) = files.try_next().await? {
            parts.add(&file)?;
        }
        Ok(parts.all().into_iter().map(|part| Asked { part, begun: false, found: None }).collect())
    }

    /// The statement of a part, at a row.
    async fn statement(&mut self, part: usize, row: u64) -> Result<&mut Open> {
        let at = match self.open.iter().position(|open| open.part == part) {
            Some(at) => at,
            None => self.begin(part).await?,
        };
        let open = self.open.get_mut(at).ok_or_else(|| TransferError::Plan(format!("no statement of part {part}")))?;
        if open.at != row {
            open.statement.seek(row)?;
            open.at = row;
        }
        Ok(open)
    }

    /// Runs the statement of a part, once.
    async fn begin(&mut self, part: usize) -> Result<usize> {
        let query = self.query;
        let asked = self.parts.as_mut().and_then(|parts| parts.get_mut(part));
        let asked = asked.ok_or_else(|| TransferError::Plan(format!("the unit has no part {part}")))?;
        if asked.begun {
            let what = "its rows were read before, and a statement that runs again may give them in another order";
            return Err(DatabricksError::Lost { what: what.to_owned() }.into());
        }
        // Kept while it runs: whoever waits for it may stop waiting. Parts are begun in their order, so that it is of this one.
        let opening = self.opening.get_or_insert_with(|| {
            let (session, sql) = (query.session(), query.select(asked.part.condition.as_deref()));
            async move { session.query(&sql).await }.boxed()
        });
        let begun = opening.await;
        self.opening = None;
        let statement = begun?;
        asked.begun = true;
        self.open.push_back(Open { part, at: 0, statement });
        if self.open.len() > KEPT {
            self.open.pop_front();
        }
        Ok(self.open.len() - 1)
    }

    /// Compares the rows that a statement gave with those that there are.
    async fn check(&mut self, part: usize, found: u64) -> Result<()> {
        let Some(Part { condition, rows, .. }) = self.asked(part).map(|asked| asked.part.clone()) else {
            return Ok(());
        };
        let query = self.query;
        let (expected, who) = match rows {
            Some(rows) => (rows, "the log has"),
            None => (query.count(condition.as_deref()).await?, "COUNT(*) says"),
        };
        if found == expected {
            return Ok(());
        }
        let shown = query.shown(condition.as_deref());
        Err(TransferError::Unlike(format!("{found} rows came of {shown}, and {who} {expected} at the pinned version")))
    }
}
