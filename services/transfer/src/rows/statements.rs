//! Reads a unit's rows by SQL: one statement for each of its source partitions, in the manifest's order. No statement runs twice,
//! because a second run may give its rows in another order. An earlier place is therefore read again from the same statement; if
//! that is not open any more, the attempt fails and a new one begins the unit again. Holds the current batch, its page, and the
//! pages of the last statements.
//!
//! The rows of a statement must never be taken for complete unchecked: their number is compared with the Delta log's or, where
//! the log has none, with the server's COUNT(*).

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

/// Statements that stay open, so that a block that began in an earlier one can be sent again.
const KEPT: usize = 4;

/// The rows of a unit's statements.
pub struct Statements<'a> {
    run: &'a Run,
    query: &'a Query,
    unit: i32,
    files: Option<BoxStream<'static, Result<SourceFile>>>,
    /// None until the manifest is read.
    parts: Option<Vec<Asked>>,
    at: Place,
    /// The part and the row in it that the next batch begins with.
    next: (usize, u64),
    opening: Option<BoxFuture<'static, Result<Statement, DatabricksError>>>,
    open: VecDeque<Open>,
    ahead: Option<Ahead>,
    end: Option<Place>,
    /// After the last row the table was checked to be still the planned one.
    looked: bool,
}

/// A part, and the state of its statement.
struct Asked {
    part: Part,
    begun: bool,
    /// The number of rows that the statement returned; None until it has ended.
    found: Option<u64>,
}

struct Open {
    part: usize,
    /// The row that the statement returns next.
    at: u64,
    statement: Statement,
}

struct Ahead {
    part: usize,
    first: u64,
    batch: arrow::array::RecordBatch,
}

impl<'a> Statements<'a> {
    /// Reads from the unit's first row on.
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

    /// Passes the unit's files from its first on, some of which were examined, so that the manifest is not read twice.
    pub fn looked_at(&mut self, files: BoxStream<'static, Result<SourceFile>>) {
        self.files = Some(files);
    }

    /// Remarks about what was read, for the task's log.
    pub fn notes(&self) -> Vec<String> {
        let parts = self.parts.as_deref().unwrap_or_default();
        let uncounted = parts.iter().filter(|asked| asked.part.rows.is_none()).count();
        let counted = match uncounted {
            0 => String::new(),
            some => format!(", and the rows of {some} counted by COUNT(*), as the log counts none"),
        };
        vec![format!("read by {} statements{counted}", parts.len())]
    }

    /// The place before the batch that [`Statements::take`] returns next.
    pub fn place(&self) -> Place {
        self.at
    }

    /// Continues at an earlier place. If `end` is given, a batch ends there.
    pub fn go_back(&mut self, to: Place, end: Option<Place>) {
        self.ahead = None;
        (self.at, self.end) = (to, end);
        self.next = (to.part, to.row);
    }

    /// All rows up to this place have arrived: closes the statements of earlier parts.
    pub fn arrived(&mut self) {
        self.end = None;
        self.open.retain(|open| open.part >= self.at.part);
    }

    /// Waits for the next batch, and returns false at the end of the unit. Cancel-safe: dropped while it waits, it loses no rows.
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
        // When rows are read again, the server may cut its pages at other rows than before.
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

    /// The statement of a part, positioned at a row.
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

    /// Runs the statement of a part, which is an error if it ran before. Returns its index in `open`.
    async fn begin(&mut self, part: usize) -> Result<usize> {
        let query = self.query;
        let asked = self.parts.as_mut().and_then(|parts| parts.get_mut(part));
        let asked = asked.ok_or_else(|| TransferError::Plan(format!("the unit has no part {part}")))?;
        if asked.begun {
            let what = "its rows were read before, and a statement that runs again may give them in another order";
            return Err(DatabricksError::Lost { what: what.to_owned() }.into());
        }
        // Kept while it runs, because the caller may be dropped while it waits. Parts begin in order, so that a kept one is of
        // this part.
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

    /// Compares the number of rows that a statement returned with the number at the pinned version.
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
