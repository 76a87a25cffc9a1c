//! Owns [`Session`]: a session with a server, and `Client`, through which all messages are exchanged.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use bytes::Bytes;
use mms_http::Method;
use mms_http::retry::{self, RetryPolicy};
use tokio::time::{Instant, sleep};

use super::message::{self, Failure, Handle, Progress};
use super::wire::{self, Struct};
use super::{HttpPath, Statement};
use crate::workspace::{FAULT_LIMIT, refused};
use crate::{DatabricksError, Fault, Workspace};

/// Most bytes of an answer: the page that was asked for, and as much as a batch may exceed its limit.
const BODY_LIMIT: usize = 128 << 20;
/// Longest single exchange. A server answers a statement that takes longer with its state.
const EXCHANGE_LIMIT: Duration = Duration::from_secs(300);
/// Longest wait for a cluster that is starting, as its server asks for.
const OPEN_WAIT: Duration = Duration::from_secs(900);
/// Pauses between checks of a running statement: the first, and the longest.
const LOOKS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// Longest that a statement may run.
const RUN_MAX: Duration = Duration::from_secs(24 * 3600);
/// Longest wait for the answer when something is closed that nobody uses any more.
const CLOSE_WAIT: Duration = Duration::from_secs(30);
/// Response headers in which servers say what went wrong.
const WORDS: &[&str] =
    &["x-thriftserver-error-message", "x-databricks-error-or-redirect-message", "x-databricks-reason-phrase"];

/// A session. Statements run in it one after the other or side by side. When it and all its statements are dropped, it is
/// closed at the server.
#[derive(Debug, Clone)]
pub struct Session {
    open: Arc<Open>,
}

#[derive(Debug)]
pub(super) struct Open {
    pub client: Client,
    session: Handle,
}

impl Session {
    /// Opens a session. Waits up to 15 minutes for a cluster that is starting.
    ///
    /// # Errors
    /// The server cannot be reached, or refuses.
    pub async fn open(workspace: &Workspace, path: &HttpPath) -> Result<Self, DatabricksError> {
        let client = Client { workspace: workspace.clone(), path: path.clone() };
        let policy = RetryPolicy { total: OPEN_WAIT, ..client.policy(Repeat::IfTold) };
        let answer = client.call_with("OpenSession", &message::open_session(), &policy).await?;
        let session = message::handle(&answer, 3).ok_or_else(|| client.lacks("OpenSession", "a session"))?;
        let open = Arc::new(Open { client, session });
        // Timestamps that are sent as text have no zone.
        let zone = open.start("SET TIME ZONE 'UTC'").await?;
        open.client.close(&zone.operation).await;
        Ok(Self { open })
    }

    /// Runs a query and returns when it has ended well; its rows are read from the [`Statement`].
    ///
    /// # Errors
    /// The server refuses, or the query fails.
    pub async fn query(&self, sql: &str) -> Result<Statement, DatabricksError> {
        Statement::of(Arc::clone(&self.open), self.open.start(sql).await?).await
    }

    /// All rows of a small query. At most `limit`.
    ///
    /// # Errors
    /// As [`Session::query`], or there are more than `limit` rows.
    pub async fn all(&self, sql: &str, limit: usize) -> Result<Vec<RecordBatch>, DatabricksError> {
        let mut statement = self.query(sql).await?;
        let (mut batches, mut rows) = (Vec::new(), 0);
        while let Some(read) = statement.next().await? {
            rows += read.batch.num_rows();
            if rows > limit {
                return Err(self.open.client.lacks("FetchResults", &format!("an end after {limit} rows")));
            }
            batches.push(read.batch);
        }
        Ok(batches)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let (client, body) = (self.client.clone(), message::close_session(&self.session));
        client.leave("CloseSession", body);
    }
}

/// An operation that has ended well, and the results that came with its first answer.
pub(super) struct Started {
    pub operation: Operation,
    pub direct: Option<Struct>,
}

/// An operation at the server. If it is dropped before it is closed, it is closed there, which ends it.
#[derive(Debug)]
pub(super) struct Operation {
    pub handle: Handle,
    pub closed: bool,
    client: Client,
}

impl Drop for Operation {
    fn drop(&mut self) {
        if !self.closed {
            // Closing also ends a statement that still runs.
            self.client.clone().leave("CloseOperation", message::of_operation("CloseOperation", &self.handle));
        }
    }
}

impl Open {
    /// Runs a statement and waits for its end.
    pub async fn start(&self, sql: &str) -> Result<Started, DatabricksError> {
        let client = &self.client;
        let body = message::execute(&self.session, sql);
        let answer = client.call_with("ExecuteStatement", &body, &client.policy(Repeat::IfTold)).await?;
        let handle = message::handle(&answer, 2).ok_or_else(|| client.lacks("ExecuteStatement", "an operation"))?;
        let direct = answer.object(1281).cloned();
        let closed = direct.as_ref().is_some_and(|direct| direct.object(4).is_some());
        let operation = Operation { handle, closed, client: client.clone() };
        let mut told = direct.as_ref().and_then(|direct| direct.object(1)).cloned();
        let (mut wait, until) = (LOOKS.0, Instant::now() + RUN_MAX);
        loop {
            let state = match told.take() {
                Some(state) => state,
                None => {
                    let body = message::of_operation("GetOperationStatus", &operation.handle);
                    client.call("GetOperationStatus", &body).await?
                }
            };
            match message::progress(&state) {
                Some(Progress::Finished) => return Ok(Started { operation, direct }),
                Some(Progress::Running) => {}
                Some(Progress::Failed(failure)) => return Err(client.failed(failure)),
                None => return Err(client.lacks("GetOperationStatus", "a state that is known")),
            }
            if Instant::now() + wait > until {
                let message = format!("it did not end within {} hours", RUN_MAX.as_secs() / 3600);
                return Err(client.failed(Failure { message, state: None, unknown_handle: false }));
            }
            sleep(wait).await;
            wait = (wait * 2).min(LOOKS.1);
        }
    }
}

/// When a call may be sent again.
#[derive(Debug, Clone, Copy)]
enum Repeat {
    Freely,
    /// Only when the server said that it did not accept the call.
    IfTold,
}

/// Exchanges messages with a server.
#[derive(Debug, Clone)]
pub(super) struct Client {
    pub workspace: Workspace,
    path: HttpPath,
}

impl Client {
    fn policy(&self, repeat: Repeat) -> RetryPolicy {
        let policy = self.workspace.policy().clone();
        match repeat {
            Repeat::Freely => policy,
            Repeat::IfTold => RetryPolicy { max_attempts: Some(1), ..policy },
        }
    }

    /// A call that may safely be sent again.
    pub async fn call(&self, method: &'static str, body: &[u8]) -> Result<Struct, DatabricksError> {
        self.call_with(method, body, &self.policy(Repeat::Freely)).await
    }

    async fn call_with(
        &self,
        method: &'static str,
        body: &[u8],
        policy: &RetryPolicy,
    ) -> Result<Struct, DatabricksError> {
        let call = format!("{method} {}", self.path);
        let budget = self.workspace.http().retry_budget();
        let body = Bytes::copy_from_slice(body);
        let answer = retry::run(policy, budget, None, |_| self.exchange(&call, body.clone())).await?;
        let answer = wire::reply(method, answer).map_err(|what| DatabricksError::Answer { call, what })?;
        message::status(&answer).map_err(|failure| self.failed(failure))?;
        Ok(answer)
    }

    async fn exchange(&self, call: &str, body: Bytes) -> Result<Bytes, DatabricksError> {
        let http = |source| DatabricksError::Http { call: call.to_owned(), source };
        let mut request = self.workspace.request(Method::POST, self.path.path()).await?.timeout(EXCHANGE_LIMIT);
        request = request.header("content-type", "application/x-thrift").header("accept", "application/x-thrift");
        if let Some(id) = self.path.workspace() {
            request = request.header("x-databricks-org-id", &id.to_string());
        }
        let mut response = request.body(body).send().await.map_err(http)?;
        if response.status().is_success() {
            let is_page = response.header("content-type").is_some_and(|kind| kind.starts_with("text/html"));
            if is_page {
                return Err(DatabricksError::NotAnApi { call: call.to_owned(), what: "an HTML page".to_owned() });
            }
            return response.bytes(BODY_LIMIT).await.map_err(http);
        }
        let words = WORDS.iter().find_map(|name| response.header(name)).map(str::to_owned);
        match words.filter(|_| !response.status().is_redirection()) {
            Some(words) => {
                let (status, retry_after) = (response.status().as_u16(), response.retry_after());
                // The connection is reused only if the body was read.
                drop(response.up_to(FAULT_LIMIT).await);
                let fault = Fault::parse(status, retry_after, words.as_bytes());
                Err(DatabricksError::Refused { call: call.to_owned(), fault: Box::new(fault) })
            }
            None => Err(refused(call, response).await),
        }
    }

    pub fn failed(&self, failure: Failure) -> DatabricksError {
        let message: String = mms_http::redact::redact_text(&failure.message).chars().take(1000).collect();
        if failure.unknown_handle {
            return DatabricksError::Lost {
                what: format!("the server no longer knows the session or operation ({message})"),
            };
        }
        DatabricksError::Statement { message, state: failure.state.map(|state| state.chars().take(10).collect()) }
    }

    pub fn lacks(&self, method: &str, what: &str) -> DatabricksError {
        DatabricksError::Answer { call: format!("{method} {}", self.path), what: format!("it lacks {what}") }
    }

    pub fn malformed(&self, method: &str, what: String) -> DatabricksError {
        DatabricksError::Answer { call: format!("{method} {}", self.path), what }
    }

    async fn close(&self, operation: &Operation) {
        if !operation.closed {
            let closed = self.call("CloseOperation", &message::of_operation("CloseOperation", &operation.handle)).await;
            drop(closed.inspect_err(|error| tracing::debug!(%error, "an operation could not be closed")));
        }
    }

    /// Sends what nobody waits for any more, once.
    fn leave(self, method: &'static str, body: Vec<u8>) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            let policy = self.policy(Repeat::IfTold);
            let sent = tokio::time::timeout(CLOSE_WAIT, self.call_with(method, &body, &policy)).await;
            if !matches!(sent, Ok(Ok(_))) {
                tracing::debug!(method, "the call failed; the server closes it by itself");
            }
        });
    }
}
