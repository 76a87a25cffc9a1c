//! Write sessions of the Storage API: creates or resumes them, opens attempts at blocks, and commits so that the outcome is
//! always known. A commit must publish exactly the attempts whose messages it is given.

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

/// Maximum number of blocks, for a session that does not name its own.
const BLOCKS: u32 = 20_000;
/// The kind of session, which requests about it must repeat.
const KIND: &str = "batch_write";

/// A session that replaces the rows of a table, or of one of its partitions. Clones refer to the same session.
#[derive(Debug, Clone)]
pub struct WriteSession {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    api: StorageApi,
    table: TableRef,
    id: String,
    /// What the first answer says about the session.
    told: OnceLock<Told>,
}

#[derive(Debug)]
struct Told {
    columns: Vec<Column>,
    schema: SchemaRef,
    /// Number of blocks that the session accepts.
    blocks: u32,
}

/// One attempt at a block. Of several attempts at a block, the one named in the commit is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// The number of the block, from 0.
    pub block_id: u32,
    /// The number of the attempt, from 0. Must not be used twice for a block.
    pub number: u32,
}

impl StorageApi {
    /// Creates a session that replaces the rows of this table, or of this partition, which must exist. If the answer is lost, an
    /// unused session is left behind; it does no harm and expires by itself.
    ///
    /// # Errors
    /// The service's refusal (no such table or partition, no permission); columns or partition values that the Storage API cannot
    /// carry.
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

    /// Resumes a session that was created before, perhaps by another process. Nothing is sent; ask for its
    /// [`WriteSession::status`].
    #[must_use]
    pub fn write_session(&self, table: &TableRef, id: impl Into<String>) -> WriteSession {
        let (api, table) = (self.clone(), table.clone());
        WriteSession { shared: Arc::new(Shared { api, table, id: id.into(), told: OnceLock::new() }) }
    }
}

impl WriteSession {
    /// The id that the server gave the session. Another process can resume the session by it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.shared.id
    }

    /// Asks for the current state of the session. A session that the server does not know is [`SessionState::Missing`], not an
    /// error.
    ///
    /// # Errors
    /// The service's refusal, also of a missing table.
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

    /// The schema that batches must have: timestamps are in microseconds.
    ///
    /// # Errors
    /// As [`WriteSession::status`]; [`MaxComputeError::SessionLost`] if the session has ended.
    pub async fn schema(&self) -> Result<SchemaRef, MaxComputeError> {
        Ok(self.told().await?.schema.clone())
    }

    /// The data columns of the table at the time of the session. Blocks are read with these columns, whatever was planned.
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

    /// Begins an attempt at a block. Attempts are independent of each other: only those whose messages are committed are
    /// published.
    ///
    /// # Errors
    /// A block number beyond those that the session accepts; a session that has ended.
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

    /// The retry state of one block, by the project's one retry policy, as
    /// [`UploadSession::attempts`](crate::tunnel::UploadSession::attempts).
    #[must_use]
    pub fn attempts(&self) -> Attempts {
        self.shared.api.transport.block_attempts()
    }

    /// Publishes the attempts of these commit messages, and no others. When the answer is in doubt, the session is asked before
    /// anything is repeated.
    ///
    /// # Errors
    /// [`MaxComputeError::EmptyCommit`] without a message. A refusal: nothing was published. [`MaxComputeError::SessionLost`]:
    /// this session will never publish from now on; whether it did must be found out from the target's rows.
    /// [`MaxComputeError::OutcomeUnknown`] after `limit`: ask for the state again later.
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

/// A session together with the request that commits it.
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
        // 201 means that the commit is done; any other success, only that it is running.
        let done = response.status().as_u16() == 201;
        let told = read(&self.call, response).await.map_or_else(|error| commit::unreadable(&error), |wire| wire.state);
        Ok(told.or((!done).then_some(SessionState::Unknown)))
    }

    async fn state(&self, until: Instant) -> Result<SessionState, MaxComputeError> {
        self.session.ask(Some(until)).await
    }
}

/// Writes one attempt at a block. If it is dropped before [`StreamWriter::finish`], the request is aborted, so that the server
/// keeps nothing.
pub struct StreamWriter {
    block: BlockWriter,
}

/// An attempt that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamReceipt {
    /// Rows, bytes and times of the attempt.
    pub block: BlockReceipt,
    /// The message by which the commit names the attempt. `None` if the attempt has no rows: then nothing was sent.
    pub commit_message: Option<String>,
}

impl StreamWriter {
    /// Sends the rows of a batch; returns when the last of them is queued for sending. A batch without rows is skipped.
    ///
    /// # Errors
    /// The batch does not fit the table, or the block can no longer arrive: drop the writer and follow the error's advice.
    pub async fn write(&mut self, batch: &RecordBatch) -> Result<(), BlockError> {
        self.block.write(batch).await
    }

    /// Ends the block and waits for the server's answer. A block without rows is not sent.
    ///
    /// # Errors
    /// The block did not arrive, or it is not known whether it did: follow the error's advice, with a new attempt.
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

/// Adds a JSON body and its digest, which is signed with the request.
fn json(call: Call, body: &impl serde::Serialize) -> Result<Call, MaxComputeError> {
    let answer = |error: serde_json::Error| MaxComputeError::Config { what: error.to_string() };
    let body = serde_json::to_vec(body).map_err(answer)?;
    // The digest is hexadecimal, as the service's clients send it, although RFC 1864 asks for Base64.
    let digest: String = Md5::digest(&body).iter().map(|byte| format!("{byte:02x}")).collect();
    let call = call.header("Content-Type", "application/json").header("Content-MD5", digest);
    Ok(Call { body, ..call })
}

async fn read(call: &Call, response: Response) -> Result<SessionWire, MaxComputeError> {
    let request_id = request_id(&response);
    let body = text(call, response).await?;
    SessionWire::parse(&body).map_err(|why| MaxComputeError::Answer { what: call.what(), why, request_id })
}
