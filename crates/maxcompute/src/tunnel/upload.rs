//! Upload sessions of the tunnel: creates or resumes them, opens blocks, and commits so that the outcome is always known. A
//! commit publishes whatever the session holds, so [`UploadSession::check_blocks`] belongs before it.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use mms_http::retry::Attempts;
use mms_http::{Method, Response};
use tokio::time::Instant;

use super::block::{BlockError, BlockReceipt, BlockWriter};
use super::codec::Codec;
use super::schema::arrow_schema;
use super::wire::SessionWire;
use super::{Tunnel, check_partition};
use crate::commit::{self, Commit, is_missing_session};
use crate::error::MaxComputeError;
use crate::session::SessionState;
use crate::table::{Column, PartitionSpec, TableRef};
use crate::transport::{Call, Transport, request_id, text};
use crate::types::DataType;

/// A record stream that ends at once: a count of zero and the checksum of an empty stream.
const NO_RECORDS: [u8; 10] = [0xf0, 0xff, 0xff, 0x7f, 0, 0xf8, 0xff, 0xff, 0x7f, 0];
/// The highest block number.
const BLOCK_ID_MAX: u32 = 19_999;

/// What a commit does with the rows that exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteMode {
    /// Replaces the rows of exactly this table or partition.
    Overwrite,
    /// Adds rows to the existing ones. Not for migration: repeating it would duplicate rows.
    Append,
}

/// Whether the session may create its partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartitionMode {
    /// The partition must exist.
    MustExist,
    /// The partition is created if it does not exist.
    Create,
}

/// A session, as the server describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionInfo {
    /// The session's state.
    pub state: SessionState,
    /// Number of rows by block number; zero if the server does not count them.
    pub blocks: BTreeMap<u32, u64>,
}

/// An upload session of a table, or of one of its partitions. Clones refer to the same session.
#[derive(Debug, Clone)]
pub struct UploadSession {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    tunnel: Tunnel,
    table: TableRef,
    partition: Option<PartitionSpec>,
    id: String,
    /// The table's columns at the time of the session; learned from the first answer.
    schema: OnceLock<(Vec<Column>, SchemaRef)>,
}

impl Tunnel {
    /// Creates a session. If the answer is lost, an unused session is left behind; it does no harm and expires by itself.
    ///
    /// # Errors
    /// The service's refusal (no such table or partition, no permission); columns or partition values that the tunnel cannot
    /// carry.
    pub async fn create_upload(
        &self,
        table: &TableRef,
        partition: Option<&PartitionSpec>,
        write: WriteMode,
        partition_mode: PartitionMode,
    ) -> Result<UploadSession, MaxComputeError> {
        check_partition(table, partition)?;
        let overwrite = (write == WriteMode::Overwrite).then_some("true");
        let create = (partition_mode == PartitionMode::Create && partition.is_some()).then_some("true");
        let call = self
            .call(Method::POST, table, partition)
            .param("uploads", "")
            .param_if("overwrite", overwrite)
            .param_if("create_partition", create);
        let response = self.transport.call(&call).await?;
        let local_time = response.header("odps-tunnel-date-transform").is_some_and(|word| word == "true");
        let wire = read(&call, response).await?;
        let (Some(id), Some(columns)) = (wire.id, wire.columns) else {
            let why = "it has no session id or no schema".to_owned();
            return Err(MaxComputeError::Answer { what: call.what(), why, request_id: None });
        };
        if local_time && columns.iter().any(|column| column.data_type == DataType::Datetime) {
            let why = "the server keeps DATETIME in local time, which would shift values".to_owned();
            return Err(MaxComputeError::Unsupported { table: table.to_string(), why });
        }
        let session = self.upload_session(table, partition, id);
        session.learn(&columns);
        Ok(session)
    }

    /// Resumes a session that was created before, perhaps by another process. Nothing is sent; ask for its
    /// [`UploadSession::status`].
    #[must_use]
    pub fn upload_session(
        &self,
        table: &TableRef,
        partition: Option<&PartitionSpec>,
        id: impl Into<String>,
    ) -> UploadSession {
        let (tunnel, table, partition) = (self.clone(), table.clone(), partition.cloned());
        UploadSession { shared: Arc::new(Shared { tunnel, table, partition, id: id.into(), schema: OnceLock::new() }) }
    }
}

impl UploadSession {
    /// The id that the server gave the session. Another process can resume the session by it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.shared.id
    }

    /// What the session holds; `None` if the server does not know the session.
    ///
    /// # Errors
    /// The service's refusal, also of a missing table.
    pub async fn info(&self) -> Result<Option<SessionInfo>, MaxComputeError> {
        self.ask(None).await
    }

    async fn ask(&self, deadline: Option<Instant>) -> Result<Option<SessionInfo>, MaxComputeError> {
        let call = Call { deadline, ..self.call(Method::GET) };
        let wire = match self.shared.tunnel.transport.call(&call).await {
            Ok(response) => read(&call, response).await?,
            Err(error) if is_missing_session(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        if let Some(columns) = &wire.columns {
            self.learn(columns);
        }
        let Some(state) = wire.state else {
            let why = "it has no Status".to_owned();
            return Err(MaxComputeError::Answer { what: call.what(), why, request_id: None });
        };
        Ok(Some(SessionInfo { state, blocks: wire.blocks }))
    }

    /// Asks for the current state of the session.
    ///
    /// # Errors
    /// As [`UploadSession::info`].
    pub async fn status(&self) -> Result<SessionState, MaxComputeError> {
        Ok(self.info().await?.map_or(SessionState::Missing, |info| info.state))
    }

    /// The schema that batches must have.
    ///
    /// # Errors
    /// As [`UploadSession::info`]; [`MaxComputeError::SessionLost`] if the session has ended.
    pub async fn schema(&self) -> Result<SchemaRef, MaxComputeError> {
        Ok(self.learned().await?.1.clone())
    }

    /// The data columns of the table at the time of the session. Blocks are read with these columns, whatever was planned.
    ///
    /// # Errors
    /// As [`UploadSession::schema`].
    pub async fn columns(&self) -> Result<&[Column], MaxComputeError> {
        Ok(&self.learned().await?.0)
    }

    async fn learned(&self) -> Result<&(Vec<Column>, SchemaRef), MaxComputeError> {
        let mut state = SessionState::Unknown;
        if self.shared.schema.get().is_none() {
            state = self.status().await?;
        }
        let lost = || MaxComputeError::SessionLost { session: self.id().to_owned(), state };
        self.shared.schema.get().ok_or_else(lost)
    }

    /// Begins a block, 0 to 19999. A block with the same number is replaced: the writer that ends last wins, so two must never
    /// write the same number at the same time.
    ///
    /// # Errors
    /// A number out of range; a session that has ended.
    pub async fn open_block(&self, block_id: u32, codec: Codec) -> Result<BlockWriter, BlockError> {
        let error = |error| BlockError::new(block_id, error);
        let call = self.put(block_id).map_err(error)?.param("arrow", "");
        let schema = self.schema().await.map_err(error)?;
        BlockWriter::new(block_id, self.shared.tunnel.transport.clone(), call, schema, codec).map_err(error)
    }

    /// The retry state of one block, by the project's one retry policy: waits that the server asks for are not counted, failures
    /// are, as for any request. Ask the [`BlockError`] whether to send the same rows again.
    #[must_use]
    pub fn attempts(&self) -> Attempts {
        self.shared.tunnel.transport.block_attempts()
    }

    /// Writes the one block of a session whose commit leaves no rows. It is a record stream without a record, since an Arrow
    /// block without a batch cannot be expressed on the wire. Sending it again replaces it. The session must hold no other block.
    ///
    /// # Errors
    /// The service's refusal; [`MaxComputeError::BlockList`] if the session holds anything else.
    pub async fn write_no_rows(&self) -> Result<BlockReceipt, MaxComputeError> {
        let mut call = self.put(0)?;
        call.body = NO_RECORDS.to_vec();
        self.shared.tunnel.transport.call(&call).await?;
        let session = self.id().to_owned();
        let Some(info) = self.info().await? else {
            return Err(MaxComputeError::SessionLost { session, state: SessionState::Missing });
        };
        // Some servers list a block without rows, some do not; neither is an error.
        let (differing, unexpected): (Vec<u32>, Vec<u32>) =
            info.blocks.into_iter().filter(|block| *block != (0, 0)).map(|(id, _)| id).partition(|id| *id == 0);
        if !differing.is_empty() || !unexpected.is_empty() {
            return Err(MaxComputeError::BlockList { session, missing: Vec::new(), unexpected, differing });
        }
        Ok(BlockReceipt { wire_bytes: NO_RECORDS.len() as u64, ..BlockReceipt::default() })
    }

    /// Checks that the session holds exactly these blocks, since a commit publishes whatever it holds.
    ///
    /// # Errors
    /// [`MaxComputeError::BlockList`] names the blocks that differ; [`MaxComputeError::EmptyCommit`] if there is none.
    pub async fn check_blocks(&self, written: &[BlockReceipt]) -> Result<(), MaxComputeError> {
        let expected: BTreeMap<u32, u64> =
            written.iter().filter(|block| block.was_sent()).map(|block| (block.block_id, block.rows)).collect();
        let session = self.id().to_owned();
        if expected.is_empty() {
            return Err(MaxComputeError::EmptyCommit { session });
        }
        let Some(info) = self.info().await? else {
            return Err(MaxComputeError::SessionLost { session, state: SessionState::Missing });
        };
        let (missing, unexpected, differing) = compare(&expected, &info.blocks);
        if missing.is_empty() && unexpected.is_empty() && differing.is_empty() {
            return Ok(());
        }
        Err(MaxComputeError::BlockList { session, missing, unexpected, differing })
    }

    /// Publishes what the session holds. When the answer is in doubt, the session is asked before anything is repeated.
    ///
    /// # Errors
    /// A refusal: nothing was published. [`MaxComputeError::SessionLost`]: this session will never publish from now on; whether
    /// it did must be found out from the target's rows. [`MaxComputeError::OutcomeUnknown`] after `limit`: ask for the state
    /// again later.
    pub async fn commit(&self, limit: Duration) -> Result<(), MaxComputeError> {
        commit::settle(self, limit).await
    }

    fn call(&self, method: Method) -> Call {
        let Shared { tunnel, table, partition, id, .. } = &*self.shared;
        tunnel.call(method, table, partition.as_ref()).param("uploadid", id)
    }

    fn put(&self, block_id: u32) -> Result<Call, MaxComputeError> {
        if block_id > BLOCK_ID_MAX {
            return Err(MaxComputeError::BlockId { block_id, most: BLOCK_ID_MAX });
        }
        let call = self.call(Method::PUT).param("blockid", block_id.to_string());
        Ok(call.header("Content-Type", "application/octet-stream"))
    }

    fn learn(&self, columns: &[Column]) {
        self.shared.schema.get_or_init(|| (columns.to_vec(), Arc::new(arrow_schema(columns))));
    }
}

impl Commit for UploadSession {
    fn id(&self) -> &str {
        self.id()
    }

    fn transport(&self) -> &Transport {
        &self.shared.tunnel.transport
    }

    async fn send(&self) -> Result<Option<SessionState>, MaxComputeError> {
        let call = self.call(Method::POST);
        let response = self.shared.tunnel.transport.once(&call).await?;
        Ok(read(&call, response).await.map_or_else(|error| commit::unreadable(&error), |wire| wire.state))
    }

    async fn state(&self, until: Instant) -> Result<SessionState, MaxComputeError> {
        Ok(self.ask(Some(until)).await?.map_or(SessionState::Missing, |info| info.state))
    }
}

async fn read(call: &Call, response: Response) -> Result<SessionWire, MaxComputeError> {
    let request_id = request_id(&response);
    let body = text(call, response).await?;
    SessionWire::parse(&body).map_err(|why| MaxComputeError::Answer { what: call.what(), why, request_id })
}

/// The blocks that are missing, those that were not written by us, and those with another row count (if the server counts).
fn compare(expected: &BTreeMap<u32, u64>, found: &BTreeMap<u32, u64>) -> (Vec<u32>, Vec<u32>, Vec<u32>) {
    let missing = expected.keys().filter(|id| !found.contains_key(id)).copied().collect();
    let unexpected = found.keys().filter(|id| !expected.contains_key(id)).copied().collect();
    let differs = |(id, rows): &(&u32, &u64)| found.get(id).is_some_and(|found| *found != 0 && found != *rows);
    let differing = expected.iter().filter(differs).map(|(id, _)| *id).collect();
    (missing, unexpected, differing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_lists_are_compared_by_number_and_rows() {
        let expected = BTreeMap::from([(0, 5), (1, 6), (2, 7)]);
        assert_eq!(compare(&expected, &expected), (vec![], vec![], vec![]));
        let found = BTreeMap::from([(0, 0), (2, 8), (9, 1)]);
        assert_eq!(compare(&expected, &found), (vec![1], vec![9], vec![2]));
    }
}
