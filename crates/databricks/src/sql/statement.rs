//! Owns [`Statement`]: reads the rows of a finished query in order, from any row on.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arrow::array::RecordBatch;
use bytes::Bytes;
use mms_http::{Method, Url};

use super::decode;
use super::message::{self, Link, Metadata, PageRows};
use super::session::{Open, Operation, Started};
use crate::DatabricksError;
use crate::workspace::refused;

/// Most bytes of a file behind a link; the server is asked for 16 MiB.
const FILE_LIMIT: usize = 256 << 20;
/// A link that expires sooner than this is not used.
const LINK_LIFE: Duration = Duration::from_secs(60);
/// Longest download of a file.
const DOWNLOAD_LIMIT: Duration = Duration::from_secs(600);
/// How often in a row a link is asked for again.
const LINK_ATTEMPTS: usize = 3;
/// Pages without rows in a row after which the result is given up.
const EMPTY_MAX: usize = 100;

/// Consecutive rows of a result.
#[derive(Debug)]
pub struct Rows {
    /// Index of the first of them in the result, from 0.
    pub first_row: u64,
    /// The rows, at least one.
    pub batch: RecordBatch,
}

/// A part of a page, with its rows not decoded yet.
#[derive(Clone)]
enum Part {
    Arrow(Bytes, u64),
    Link(Link),
    Batch(RecordBatch),
}

/// A finished query whose rows are being read. The rows of one result can be read again from any row, where the server allows
/// it.
pub struct Statement {
    open: Arc<Open>,
    operation: Operation,
    form: Metadata,
    /// The next row to return.
    at: u64,
    ready: VecDeque<(u64, RecordBatch)>,
    parts: VecDeque<(u64, Part)>,
    /// The parts of a result that the server closed with its answer, kept so that they can be read again.
    kept: Vec<(u64, Part)>,
    more: bool,
}

impl Statement {
    pub(super) async fn of(open: Arc<Open>, started: Started) -> Result<Self, DatabricksError> {
        let Started { operation, direct } = started;
        let direct = direct.unwrap_or_default();
        let form = match direct.object(2) {
            Some(form) => form.clone(),
            None => {
                let body = message::of_operation("GetResultSetMetadata", &operation.handle);
                open.client.call("GetResultSetMetadata", &body).await?
            }
        };
        let form = message::metadata(&form).ok_or_else(|| open.client.lacks("GetResultSetMetadata", "its columns"))?;
        let (ready, parts, kept) = Default::default();
        let mut statement = Self { open, operation, form, at: 0, ready, parts, kept, more: true };
        if let Some(page) = direct.object(3) {
            statement.take(page)?;
            if statement.operation.closed {
                statement.more = false;
                statement.kept = statement.parts.iter().cloned().collect();
            }
        }
        Ok(statement)
    }

    /// Continues from a row. Rows in between that were not read yet are skipped without being sent, where the server can do
    /// that.
    ///
    /// # Errors
    /// The row was read already, and the server sends rows only once.
    pub fn seek(&mut self, row: u64) -> Result<(), DatabricksError> {
        if row < self.at && self.form.arrow_schema.is_none() && !self.operation.closed {
            return Err(DatabricksError::Lost {
                what: "this server sends the rows of a statement only once".to_owned(),
            });
        }
        self.ready.clear();
        self.parts = self.kept.iter().cloned().collect();
        self.more = !self.operation.closed;
        self.at = row;
        Ok(())
    }

    /// The next rows; None at the end. Cancel safe: nothing is lost when it is dropped while it waits.
    pub async fn next(&mut self) -> Result<Option<Rows>, DatabricksError> {
        let mut empty = 0;
        loop {
            if let Some((first, batch)) = self.ready.pop_front() {
                if let Some(rows) = self.cut(first, batch)? {
                    return Ok(Some(rows));
                }
            } else if let Some((first, part)) = self.parts.front().cloned() {
                let batches = self.unpack(first, part).await?;
                self.parts.pop_front();
                let mut at = first;
                self.ready.extend(batches.into_iter().map(|batch| {
                    let first = at;
                    at += batch.num_rows() as u64;
                    (first, batch)
                }));
            } else if !self.more {
                return Ok(None);
            } else {
                self.fetch().await?;
                empty = if self.parts.is_empty() { empty + 1 } else { 0 };
                if empty > EMPTY_MAX {
                    return Err(self.open.client.lacks("FetchResults", "rows, and says that there are more"));
                }
            }
        }
    }

    /// The rows of a batch that were not returned yet; None if there are none.
    fn cut(&mut self, first: u64, batch: RecordBatch) -> Result<Option<Rows>, DatabricksError> {
        let end = first + batch.num_rows() as u64;
        if first > self.at {
            let what = format!("the server sent row {first}, but row {} was requested", self.at);
            return Err(DatabricksError::Lost { what });
        }
        if end <= self.at {
            return Ok(None);
        }
        let skip = usize::try_from(self.at - first).unwrap_or(usize::MAX);
        let rows = Rows { first_row: self.at, batch: batch.slice(skip, batch.num_rows() - skip) };
        self.at = end;
        Ok(Some(rows))
    }

    async fn fetch(&mut self) -> Result<(), DatabricksError> {
        let body = message::fetch(&self.operation.handle, self.at);
        // If the same rows are requested twice, a server that counts by itself sends the next ones instead; the page's first
        // row shows it.
        let page = self.open.client.call("FetchResults", &body).await?;
        if let Some(form) = page.object(1281) {
            self.form = message::metadata(form).unwrap_or_else(|| self.form.clone());
        }
        self.take(&page)
    }

    /// Queues the parts of a page.
    fn take(&mut self, answer: &super::wire::Struct) -> Result<(), DatabricksError> {
        let client = &self.open.client;
        let page = message::page(answer).ok_or_else(|| client.lacks("FetchResults", "a page of rows"))?;
        self.more = page.more;
        match page.rows {
            PageRows::Arrow(batches) => {
                let mut at = page.first_row;
                for (bytes, rows) in batches {
                    self.parts.push_back((at, Part::Arrow(bytes, rows)));
                    at = at.saturating_add(rows);
                }
            }
            PageRows::Links(links) => {
                self.parts.extend(links.into_iter().map(|link| (link.first_row, Part::Link(link))))
            }
            PageRows::Columns(columns) => {
                let batch = decode::columns(&self.form.columns, &columns);
                let batch = batch.map_err(|what| client.malformed("FetchResults", what))?;
                if batch.num_rows() > 0 {
                    // These servers show the end of the result only by a page without rows.
                    self.more = true;
                    self.parts.push_back((page.first_row, Part::Batch(batch)));
                }
            }
        }
        Ok(())
    }

    async fn unpack(&mut self, first: u64, part: Part) -> Result<Vec<RecordBatch>, DatabricksError> {
        let (stream, rows, of_file) = match part {
            Part::Batch(batch) => return Ok(vec![batch]),
            Part::Arrow(bytes, rows) => (bytes, rows, false),
            Part::Link(link) => {
                let rows = link.rows;
                (self.download(first, link).await?, rows, true)
            }
        };
        let (lz4, schema) = (self.form.lz4, self.form.arrow_schema.clone());
        let client = &self.open.client;
        let broken = |what: String| client.malformed("FetchResults", format!("rows from {first} on: {what}"));
        if !of_file && schema.is_none() {
            return Err(broken("they are Arrow, and no schema came with them".to_owned()));
        }
        // Decoding megabytes blocks a thread, so it runs apart from the async workers.
        let unpacked = tokio::task::spawn_blocking(move || {
            let stream = if lz4 { decode::unpack(&stream)? } else { stream.to_vec() };
            decode::arrow(schema.as_ref().filter(|_| !of_file), stream, rows)
        });
        unpacked.await.map_err(|error| broken(error.to_string()))?.map_err(broken)
    }

    /// Downloads the file behind a link. A link that has expired, or that the store refuses, is asked for again.
    async fn download(&mut self, first: u64, link: Link) -> Result<Bytes, DatabricksError> {
        let mut link = link;
        for attempt in 1.. {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default() + LINK_LIFE;
            let ended = u128::try_from(link.expires_ms).unwrap_or(0) <= now.as_millis();
            let error = match ended {
                true => DatabricksError::Lost { what: format!("the link to the rows from {first} on has expired") },
                false => match self.get(&link).await {
                    Ok(file) => return Ok(file),
                    Err(error) => error,
                },
            };
            if attempt >= LINK_ATTEMPTS || self.operation.closed {
                return Err(error);
            }
            tracing::debug!(%error, "a link cannot be used; asking for a new one");
            link = self.link_again(first, link.rows).await?;
        }
        Err(DatabricksError::Lost { what: "no attempt was made".to_owned() })
    }

    async fn link_again(&mut self, first: u64, rows: u64) -> Result<Link, DatabricksError> {
        let client = &self.open.client;
        let answer = client.call("FetchResults", &message::fetch(&self.operation.handle, first)).await?;
        match message::page(&answer).map(|page| page.rows) {
            Some(PageRows::Links(links)) => links.into_iter().find(|link| link.first_row == first && link.rows == rows),
            _ => None,
        }
        .ok_or_else(|| client.lacks("FetchResults", &format!("the link to the rows from {first} on, asked for again")))
    }

    /// Sent without the workspace's token: the link itself is the permission.
    async fn get(&self, link: &Link) -> Result<Bytes, DatabricksError> {
        let call = "GET a file of the result";
        let http = |source| DatabricksError::Http { call: call.to_owned(), source };
        let url = Url::parse(&link.url)
            .map_err(|error| self.open.client.malformed("FetchResults", format!("a link: {error}")))?;
        let mut request = self.open.client.workspace.http().request(Method::GET, url).timeout(DOWNLOAD_LIMIT);
        for (name, value) in &link.headers {
            request = request.header(name, value);
        }
        let response = request.send().await.map_err(http)?;
        match response.status().is_success() {
            true => response.bytes(FILE_LIMIT).await.map_err(http),
            false => Err(refused(call, response).await),
        }
    }
}

impl std::fmt::Debug for Statement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Statement").field("at", &self.at).field("more", &self.more).finish_non_exhaustive()
    }
}
