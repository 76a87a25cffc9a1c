//! The two ways that rows take to the target, and which of them a task takes: the tunnel as long as its timestamps reach, and
//! from then on the Storage API, which is slower to check and cannot publish an empty unit. Both replace all rows of one
//! partition at once, by a session that is committed once.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use mms_delta::{SourceFile, TimeColumn};
use mms_http::retry::Attempts;
use mms_maxcompute::MaxComputeError;
use mms_maxcompute::session::SessionState;
use mms_maxcompute::storage_api::{Attempt, StreamWriter, WriteSession};
use mms_maxcompute::table::{Column, PartitionSpec, TableRef};
use mms_maxcompute::tunnel::{BlockError, BlockReceipt, BlockWriter, Codec, PartitionMode, UploadSession, WriteMode};
use mms_proto::scheduler::v1 as pb;
use pb::commit_intent::Commit;
use std::time::Duration;

use crate::source::Source;
use crate::target::Target;
use crate::values::{TUNNEL_MICROS, TUNNEL_YEARS};

/// The most bytes of all commit messages of a session: an intent holds no more.
const MESSAGES_BYTES_MAX: usize = 4 << 20;
/// What a commit message takes in an intent besides its text.
const MESSAGE_FRAME_BYTES: usize = 8;

/// The way of a task's units from here on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Way {
    /// By the tunnel.
    #[default]
    Tunnel,
    /// By the Storage API, for this reason.
    Storage(String),
}

impl Way {
    /// The way that a file needs by its statistics in the log. None if the tunnel reaches all its timestamps, or the log says
    /// nothing.
    pub fn by_log(times: &[TimeColumn], file: &SourceFile) -> Option<Self> {
        let told = file.statistics.as_ref()?;
        times.iter().find_map(|column| {
            let bound = column.may_reach_beyond(told, &TUNNEL_MICROS)?;
            let (name, file) = (&column.name, file.shown_path());
            Some(Self::Storage(format!(
                "by the log `{name}` reaches {bound} in file {file}, and the tunnel's timestamps {TUNNEL_YEARS}"
            )))
        })
    }

    /// Text for the task's log.
    pub fn told(&self) -> String {
        match self {
            Self::Tunnel => "through the tunnel".to_owned(),
            Self::Storage(why) => format!("by the Storage API: {why}"),
        }
    }
}

/// A session of the target, of one of the two ways.
pub enum Session {
    Tunnel(UploadSession),
    /// With the commit messages of its blocks.
    Storage(WriteSession, Vec<String>),
}

impl Session {
    /// Creates a session that replaces the rows of a table or of one partition.
    pub async fn create(
        way: &Way,
        source: &Source,
        table: &TableRef,
        partition: Option<&PartitionSpec>,
    ) -> Result<Self, MaxComputeError> {
        Ok(match way {
            Way::Tunnel => {
                let (write, partitions) = (WriteMode::Overwrite, PartitionMode::MustExist);
                Self::Tunnel(source.tunnel.create_upload(table, partition, write, partitions).await?)
            }
            Way::Storage(_) => Self::Storage(source.storage.create_write(table, partition).await?, Vec::new()),
        })
    }

    /// Reopens the session that an intent names, of this partition. None if the intent names no session.
    pub async fn of(
        commit: &Commit,
        target: &Target,
        partition: Option<&PartitionSpec>,
    ) -> Result<Option<Self>, MaxComputeError> {
        let table = &target.definition.target;
        Ok(match commit {
            Commit::Tunnel(tunnel) => {
                let client = target.project.tunnel().await?;
                Some(Self::Tunnel(client.upload_session(table, partition, &*tunnel.session_id)))
            }
            Commit::Storage(storage) => {
                let client = target.project.storage_api().await?;
                let session = client.write_session(table, &*storage.session_id);
                Some(Self::Storage(session, storage.commit_messages.clone()))
            }
            Commit::Sql(_) | Commit::Replace(_) => None,
        })
    }

    /// The server's id of the session.
    pub fn id(&self) -> &str {
        match self {
            Self::Tunnel(session) => session.id(),
            Self::Storage(session, _) => session.id(),
        }
    }

    pub async fn columns(&self) -> Result<&[Column], MaxComputeError> {
        match self {
            Self::Tunnel(session) => session.columns().await,
            Self::Storage(session, _) => session.columns().await,
        }
    }

    /// The Arrow schema that batches must have.
    pub async fn schema(&self) -> Result<SchemaRef, MaxComputeError> {
        match self {
            Self::Tunnel(session) => session.schema().await,
            Self::Storage(session, _) => session.schema().await,
        }
    }

    /// The attempts at one block, under the retry policy.
    pub fn attempts(&self) -> Attempts {
        match self {
            Self::Tunnel(session) => session.attempts(),
            Self::Storage(session, _) => session.attempts(),
        }
    }

    /// Starts an attempt at a block.
    pub async fn open(&self, attempt: Attempt, codec: Codec) -> Result<Block, BlockError> {
        Ok(match self {
            Self::Tunnel(session) => Block::Tunnel(session.open_block(attempt.block_id, codec).await?),
            Self::Storage(session, _) => Block::Storage(session.open_block(attempt, codec).await?),
        })
    }

    /// Stores a block's commit message, if it has one. An error if all messages together outgrow an intent.
    pub fn keep(&mut self, message: Option<String>, table: &TableRef) -> Result<(), MaxComputeError> {
        let Self::Storage(_, messages) = self else { return Ok(()) };
        messages.extend(message);
        let bytes: usize = messages.iter().map(|message| message.len() + MESSAGE_FRAME_BYTES).sum();
        if bytes <= MESSAGES_BYTES_MAX {
            return Ok(());
        }
        let why =
            format!("the commit messages of its blocks take more than {MESSAGES_BYTES_MAX} bytes: make blocks larger");
        Err(MaxComputeError::Unsupported { table: table.to_string(), why })
    }

    /// Checks that a tunnel session, which publishes whatever it holds, has exactly these blocks.
    pub async fn check(&self, blocks: &[BlockReceipt]) -> Result<(), MaxComputeError> {
        match self {
            Self::Tunnel(session) => session.check_blocks(blocks).await,
            Self::Storage(..) => Ok(()),
        }
    }

    /// Asks the server for the session's state.
    pub async fn status(&self) -> Result<SessionState, MaxComputeError> {
        match self {
            Self::Tunnel(session) => session.status().await,
            Self::Storage(session, _) => session.status().await,
        }
    }

    /// Publishes the session. Only [`crate::publish`] may call it.
    pub async fn commit(&self, limit: Duration) -> Result<(), MaxComputeError> {
        match self {
            Self::Tunnel(session) => session.commit(limit).await,
            Self::Storage(session, messages) => session.commit(messages, limit).await,
        }
    }

    /// What the commit intent has to name to commit this session again.
    pub fn intent(&self, blocks: &[BlockReceipt]) -> Commit {
        let session_id = self.id().to_owned();
        match self {
            Self::Tunnel(_) => {
                let block_ids = blocks.iter().map(|block| i64::from(block.block_id)).collect();
                Commit::Tunnel(pb::TunnelCommit { session_id, block_ids })
            }
            Self::Storage(_, messages) => {
                Commit::Storage(pb::StorageCommit { session_id, commit_messages: messages.clone() })
            }
        }
    }
}

/// A block that is being sent.
pub enum Block {
    Tunnel(BlockWriter),
    Storage(StreamWriter),
}

impl Block {
    pub async fn write(&mut self, batch: &RecordBatch) -> Result<(), BlockError> {
        match self {
            Self::Tunnel(block) => block.write(batch).await,
            Self::Storage(block) => block.write(batch).await,
        }
    }

    /// Ends the block; with its commit message, if the way has those.
    pub async fn finish(self) -> Result<(BlockReceipt, Option<String>), BlockError> {
        match self {
            Self::Tunnel(block) => Ok((block.finish().await?, None)),
            Self::Storage(block) => {
                let receipt = block.finish().await?;
                Ok((receipt.block, receipt.commit_message))
            }
        }
    }
}
