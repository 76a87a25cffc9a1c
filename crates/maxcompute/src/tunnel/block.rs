//! A block on its way: what [`BlockEncoder`] makes of batches is sent while they come, never collected. What is held is
//! the batch at hand, one piece in the encoder and a few pieces that wait for the socket.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use mms_http::retry::{Classify, RetryClass};

use super::codec::Codec;
use super::encode::{BlockEncoder, Encoded};
use super::line::{Line, Sent};
use super::schema::check_batch;
use crate::error::{MaxComputeError, RefusalKind};
use crate::transport::{Call, Transport};

/// What a block that arrived is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlockReceipt {
    /// Its number in the session.
    pub block_id: u32,
    /// Its rows. A [`BlockWriter`] without rows sends nothing: the session does not have that block.
    pub rows: u64,
    /// Bytes of Arrow data before framing and compression.
    pub arrow_bytes: u64,
    /// Bytes that went over the wire.
    pub wire_bytes: u64,
    /// CRC-32C of the Arrow data; zero where the way has none.
    pub crc: u32,
    /// How it was compressed.
    pub codec: Codec,
    /// Time that went into compressing it.
    pub packing: Duration,
    /// Time in which something of it was ready and the far end had not taken it, up to its answer.
    pub waiting: Duration,
}

impl BlockReceipt {
    /// Whether the session has it.
    pub(super) fn was_sent(&self) -> bool {
        self.wire_bytes > 0
    }
}

/// What to do about a block that did not arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockAdvice {
    /// Read the same rows again and send the block again.
    Resend,
    /// Ask for the session's state: it is over, or committed.
    AskSession,
    /// The table changed: make a new session.
    NewSession,
    /// It will fail again.
    GiveUp,
}

/// A block that did not arrive, and what may help.
#[derive(Debug, thiserror::Error)]
#[error("block {block_id}: {error}")]
pub struct BlockError {
    /// The block.
    pub block_id: u32,
    /// What went wrong.
    #[source]
    pub error: MaxComputeError,
    /// What to do.
    pub advice: BlockAdvice,
}

impl BlockError {
    pub(crate) fn new(block_id: u32, error: MaxComputeError) -> Self {
        let advice = match (error.refusal(), error.retry_class()) {
            (Some(RefusalKind::StatusConflict | RefusalKind::NotFound), _) => BlockAdvice::AskSession,
            (Some(RefusalKind::SchemaChanged), _) => BlockAdvice::NewSession,
            (_, RetryClass::Transient | RetryClass::Throttled { .. }) => BlockAdvice::Resend,
            (_, RetryClass::Permanent) => BlockAdvice::GiveUp,
        };
        Self { block_id, error, advice }
    }

    /// Whether sending the block again may help.
    #[must_use]
    pub fn may_retry(&self) -> bool {
        self.advice == BlockAdvice::Resend
    }
}

impl Classify for BlockError {
    fn retry_class(&self) -> RetryClass {
        if self.may_retry() { self.error.retry_class() } else { RetryClass::Permanent }
    }
}

/// Writes one block. Dropped before [`BlockWriter::finish`], it breaks the request off, so that the server keeps nothing.
pub struct BlockWriter {
    block_id: u32,
    codec: Codec,
    schema: SchemaRef,
    encoder: BlockEncoder,
    line: Line,
    rows: u64,
}

impl BlockWriter {
    pub(super) fn new(
        block_id: u32,
        transport: Arc<Transport>,
        call: Call,
        schema: SchemaRef,
        codec: Codec,
    ) -> Result<Self, MaxComputeError> {
        let encoder = BlockEncoder::new(&schema, codec)
            .map_err(|error| MaxComputeError::Encode { block_id, why: error.to_string() })?;
        let call = match codec.content_encoding() {
            Some(encoding) => call.header("Content-Encoding", encoding),
            None => call,
        };
        Ok(Self { block_id, codec, schema, encoder, line: Line::new(transport, call), rows: 0 })
    }

    /// A block that is an Arrow stream by itself, whose buffers are compressed one by one.
    pub(crate) fn stream(
        block_id: u32,
        transport: Arc<Transport>,
        call: Call,
        schema: SchemaRef,
        codec: Codec,
    ) -> Result<Self, MaxComputeError> {
        // Buffers have two compressions, and zlib is none of them.
        let codec = if codec == Codec::Deflate { Codec::None } else { codec };
        let encoder = BlockEncoder::stream(&schema, codec)
            .map_err(|error| MaxComputeError::Encode { block_id, why: error.to_string() })?;
        Ok(Self { block_id, codec, schema, encoder, line: Line::new(transport, call), rows: 0 })
    }

    /// How errors name its request.
    pub(crate) fn what(&self) -> String {
        self.line.what()
    }

    /// The schema that batches must have.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Sends the rows of a batch; comes back when the last of them is on its way. A batch without rows is nothing.
    ///
    /// # Errors
    /// The batch does not fit the table, or the block cannot arrive any more: drop the writer and follow the advice.
    pub async fn write(&mut self, batch: &RecordBatch) -> Result<(), BlockError> {
        let Self { block_id, schema, encoder, line, rows, .. } = self;
        let block_id = *block_id;
        check_batch(schema, batch).map_err(|mismatch| BlockError::new(block_id, mismatch.into()))?;
        if batch.num_rows() == 0 {
            return Ok(());
        }
        for piece in encoder.encode(batch).map_err(|error| encode_error(block_id, &error))? {
            let piece = piece.map_err(|error| encode_error(block_id, &error))?;
            line.send(piece).await.map_err(|error| BlockError::new(block_id, error))?;
        }
        *rows += batch.num_rows() as u64;
        Ok(())
    }

    /// Ends the block and waits for the server's word. Without a single row nothing is sent.
    ///
    /// # Errors
    /// The block did not arrive, or whether it did is not known: follow the advice.
    pub async fn finish(self) -> Result<BlockReceipt, BlockError> {
        Ok(self.finish_told().await?.0)
    }

    /// The same, with what the server answered.
    pub(crate) async fn finish_told(self) -> Result<(BlockReceipt, Vec<u8>), BlockError> {
        let Self { block_id, codec, encoder, line, rows, .. } = self;
        if rows == 0 {
            return Ok((BlockReceipt { block_id, ..BlockReceipt::default() }, Vec::new()));
        }
        let Encoded { rest, crc, arrow_bytes, packing } =
            encoder.finish().map_err(|error| encode_error(block_id, &error))?;
        let sent = line.finish(rest).await.map_err(|error| BlockError::new(block_id, error))?;
        let Sent { answer, wire_bytes, waiting } = sent;
        tracing::debug!(block_id, rows, arrow_bytes, wire_bytes, ?packing, ?waiting, "block sent");
        Ok((BlockReceipt { block_id, rows, arrow_bytes, wire_bytes, crc, codec, packing, waiting }, answer))
    }
}

fn encode_error(block_id: u32, error: &dyn std::error::Error) -> BlockError {
    BlockError::new(block_id, MaxComputeError::Encode { block_id, why: error.to_string() })
}
