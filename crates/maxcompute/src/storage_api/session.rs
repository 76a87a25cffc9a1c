//! Write sessions: made, taken up again, filled with attempts at blocks, and committed so that the outcome is always known.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::{SchemaRef, TimeUnit};
use md5::{Digest, Md5};
use mms_http::retry::Attempts;
use mms_http::{Method, Response};
use tokio::time::Instant;

use super::StorageApi;
use super::wire::{CommitRequest, SessionWire, WriteRequest, commit_message};
use crate::commit::{self, Commit, is_missing_session};
use crate::error::MaxComputeError;
use crate::session::SessionState;
use crate::table::{Column, PartitionSpec, TableRef};
use crate::transport::{Call, Transport, request_id, text};
use crate::tunnel::block::BlockWriter;
use crate::tunnel::schema::schema_with;
use crate::tunnel::{BlockError, BlockReceipt, Codec, check_partition};

/// Blocks that a session takes which does not say how many.
const BLOCKS: u32 = 20_000;
/// The kind of session, by which a session is asked for.
const KIND: &str = "batch_write";

/// A handle on a session that replaces the rows of a table, or of one partition of it. Clones are the same session.
#[derive(Debug, Clone)]
pub struct WriteSession {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    api: StorageApi,
    table: TableRef,
    id: String,
    /// What is learned from the first answer.
    told: OnceLock<Told>,
}

#[derive(Debug)]
struct Told {
    columns: Vec<Column>,
    schema: SchemaRef,
    /// Blocks that it takes.
    blocks: u32,
}

/// Which try at which block: of one block, the one that the commit names counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// The block, from 0.
    pub block_id: u32,
    /// The try, from 0. No number is used twice for a block.
    pub number: u32,
}

impl StorageApi {
    /// Makes a session that replaces the rows of this table, or of this partition, which must be there. If its answer is lost, an
    /// unused session is left, which does no harm and ends by itself.
    ///
    /// # Errors
    /// Refusals (no such table or partition, no permission); columns or values that this path cannot carry.
    pub async fn create_write(
        &self,
        table: &TableRef,
        partition: Option<&PartitionSpec>,
    ) -> Result<WriteSession, MaxComputeError> {
        check_partition(table, partition)?;
        let call = self.call(Method::POST, table, &["sessions"]).param("session_type", KIND);
        let call = json(call, &WriteRequest::overwrite(partition))?;
        let wire = read(&call, self.transport.call(&call).await?).await?;
        let Some(id) = wire.id.clone() else {
            let why = "it has no SessionId".to_owned();
            return Err(MaxComputeError::Answer { what: call.what(), why, request_id: None });
        };
        let session = self.write_session(table, id);
        session.learn(wire);
        Ok(session)
    }

    /// Takes up a session that was made before, perhaps by another process. Nothing is sent; ask for its
    /// [`WriteSession::status`].
    #[must_use]
    pub fn write_session(&self, table: &TableRef, id: impl Into<String>) -> WriteSession {
        let (api, table) = (self.clone(), table.clone());
        WriteSession { shared: Arc::new(Shared { api, table, id: id.into(), told: OnceLock::new() }) }
    }
}

impl WriteSession {
    /// The server's id, by which a successor takes the session up again.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.shared.id
    }

    /// Where the session stands now.
    ///
    /// # Errors
    /// Refusals, a missing table among them.
    pub async fn status(&self) -> Result<SessionState, MaxComputeError> {
        self.ask(None).await
    }

    async fn ask(&self, deadline: Option<Instant>) -> Result<SessionState, MaxComputeError> {
        let call = Call { deadline, ..self.call(Method::GET, &["sessions", self.id()]).param("session_type", KIND) };
        let wire = match self.transport().call(&call).await {
            Ok(response) => read(&call, response).await?,
            Err(error) if is_missing_session(&error) => return Ok(SessionState::Missing),
            Err(error) => return Err(error),
        };
        let state = wire.state.ok_or_else(|| {
            let why = "it has no SessionStatus".to_owned();
            MaxComputeError::Answer { what: call.what(), why, request_id: None }
        })?;
        self.learn(wire);
        Ok(state)
    }

    /// The schema that batches must have: timestamps in microseconds.
    ///
    /// # Errors
    /// As [`WriteSession::status`]; a session that is gone.
    pub async fn schema(&self) -> Result<SchemaRef, MaxComputeError> {
        Ok(self.told().await?.schema.clone())
    }

    /// The data columns of the table as the session has them: blocks are read with these, whatever was planned.
    ///
    /// # Errors
    /// As [`WriteSession::schema`].
    pub async fn columns(&self) -> Result<&[Column], MaxComputeError> {
        Ok(&self.told().await?.columns)
    }

    async fn told(&self) -> Result<&Told, MaxComputeError> {
        let mut state = SessionState::Unknown;
        if self.shared.told.get().is_none() {
            state = self.status().await?;
        }
        let lost = || MaxComputeError::SessionLost { session: self.id().to_owned(), state };
        self.shared.told.get().ok_or_else(lost)
    }

    /// Begins a try at a block. Tries do not know of each other: only those whose messages are committed are published.
    ///
    /// # Errors
    /// A block beyond those that the session takes; the session is gone.
    pub async fn open_block(&self, attempt: Attempt, codec: Codec) -> Result<StreamWriter, BlockError> {
        let Attempt { block_id, number } = attempt;
        let error = |error| BlockError::new(block_id, error);
        let Told { schema, blocks, .. } = self.told().await.map_err(error)?;
        if block_id >= *blocks {
            return Err(error(MaxComputeError::BlockId { block_id, most: blocks - 1 }));
        }
        let call = self
            .call(Method::POST, &["sessions", self.id(), "data"])
            .param("block_number", block_id.to_string())
            .param("attempt_number", number.to_string())
            .param("data_format_type", "ARROW")
            .param("data_format_version", "V5")
            .header("Content-Type", "application/octet-stream");
        let transport = self.shared.api.transport.clone();
        Ok(StreamWriter {
            block: BlockWriter::stream(block_id, transport, call, schema.clone(), codec).map_err(error)?,
        })
    }

    /// The attempts at one block, by the one retry policy of the project, as
    /// [`UploadSession::attempts`](crate::tunnel::UploadSession::attempts).
    #[must_use]
    pub fn attempts(&self) -> Attempts {
        self.shared.api.transport.block_attempts()
    }

    /// Publishes the attempts that these messages are of, and no others. Whenever the answer is in doubt the session is asked
    /// before anything is repeated.
    ///
    /// # Errors
    /// [`MaxComputeError::EmptyCommit`] without a message. A refusal: nothing was published. [`MaxComputeError::SessionLost`]: this
    /// session will never publish, whether it did is to be told from the rows. [`MaxComputeError::OutcomeUnknown`] after
    /// `limit`: ask again later.
    pub async fn commit(&self, messages: &[String], limit: Duration) -> Result<(), MaxComputeError> {
        if messages.is_empty() {
            return Err(MaxComputeError::EmptyCommit { session: self.id().to_owned() });
        }
        let call = self.call(Method::POST, &["commit"]).param("session_id", self.id());
        let call = json(call, &CommitRequest { commit_messages: messages })?;
        commit::settle(&Committing { session: self, call }, limit).await
    }

    fn call(&self, method: Method, below: &[&str]) -> Call {
        self.shared.api.call(method, &self.shared.table, below)
    }

    fn transport(&self) -> &Transport {
        &self.shared.api.transport
    }

    fn learn(&self, wire: SessionWire) {
        if let Some(columns) = wire.columns {
            self.shared.told.get_or_init(|| Told {
                schema: Arc::new(schema_with(&columns, TimeUnit::Microsecond)),
                columns,
                blocks: wire.blocks.unwrap_or(BLOCKS),
            });
        }
    }
}

/// A session, and the request that commits it.
struct Committing<'a> {
    session: &'a WriteSession,
    call: Call,
}

impl Commit for Committing<'_> {
    fn id(&self) -> &str {
        self.session.id()
    }

    fn transport(&self) -> &Transport {
        self.session.transport()
    }

    async fn send(&self) -> Result<Option<SessionState>, MaxComputeError> {
        let response = self.transport().once(&self.call).await?;
        // 201 says that it is done; any other yes, only that it is under way.
        let done = response.status().as_u16() == 201;
        let told = read(&self.call, response).await.map_or_else(|error| commit::unreadable(&error), |wire| wire.state);
        Ok(told.or((!done).then_some(SessionState::Unknown)))
    }

    async fn state(&self, until: Instant) -> Result<SessionState, MaxComputeError> {
        self.session.ask(Some(until)).await
    }
}

/// Writes one try at a block. Dropped before [`StreamWriter::finish`], it breaks the request off, so that the server keeps
/// nothing.
pub struct StreamWriter {
    block: BlockWriter,
}

/// What a try that arrived is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamReceipt {
    /// Its figures.
    pub block: BlockReceipt,
    /// By which the commit names it. None without a row: nothing was sent.
    pub commit_message: Option<String>,
}

impl StreamWriter {
    /// Sends the rows of a batch; comes back when the last of them is on its way. A batch without rows is nothing.
    ///
    /// # Errors
    /// The batch does not fit the table, or the block cannot arrive any more: drop the writer and follow the advice.
    pub async fn write(&mut self, batch: &RecordBatch) -> Result<(), BlockError> {
        self.block.write(batch).await
    }

    /// Ends the block and waits for the server's word. Without a single row nothing is sent.
    ///
    /// # Errors
    /// The block did not arrive, or whether it did is not known: follow the advice, with another attempt.
    pub async fn finish(self) -> Result<StreamReceipt, BlockError> {
        let what = self.block.what();
        let (block, answer) = self.block.finish_told().await?;
        if block.rows == 0 {
            return Ok(StreamReceipt { block, commit_message: None });
        }
        let message = commit_message(&answer)
            .map_err(|why| BlockError::new(block.block_id, MaxComputeError::Answer { what, why, request_id: None }))?;
        Ok(StreamReceipt { block, commit_message: Some(message) })
    }
}

/// A request with a JSON body, whose digest is signed with it.
fn json(call: Call, body: &impl serde::Serialize) -> Result<Call, MaxComputeError> {
    let answer = |error: serde_json::Error| MaxComputeError::Config { what: error.to_string() };
    let body = serde_json::to_vec(body).map_err(answer)?;
    // Clients send it as hex, whatever RFC 1864 says.
    let digest: String = Md5::digest(&body).iter().map(|byte| format!("{byte:02x}")).collect();
    let call = call.header("Content-Type", "application/json").header("Content-MD5", digest);
    Ok(Call { body, ..call })
}

async fn read(call: &Call, response: Response) -> Result<SessionWire, MaxComputeError> {
    let request_id = request_id(&response);
    let body = text(call, response).await?;
    SessionWire::parse(&body).map_err(|why| MaxComputeError::Answer { what: call.what(), why, request_id })
}
