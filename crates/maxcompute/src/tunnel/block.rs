//! Writes one block: [`BlockEncoder`] encodes batches, and what it returns is sent while further batches arrive. A block is never
//! collected in memory: at any time there is one batch, one piece in the encoder and a few pieces that wait for the socket.

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

/// A block that arrived.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlockReceipt {
    /// The number of the block in the session.
    pub block_id: u32,
    /// Number of rows. A [`BlockWriter`] without rows sends nothing, so the session does not have that block.
    pub rows: u64,
    /// Bytes of Arrow data, before framing and compression.
    pub arrow_bytes: u64,
    /// Bytes sent over the wire.
    pub wire_bytes: u64,
    /// CRC-32C of the Arrow data; zero on the Storage API, which has none.
    pub crc: u32,
    /// How the block was compressed.
    pub codec: Codec,
    /// Time spent compressing the block.
    pub packing: Duration,
    /// Time during which data was ready and the target had not accepted it, up to its answer.
    pub waiting: Duration,
}

impl BlockReceipt {
    /// Whether the session has this block.
    pub(super) fn was_sent(&self) -> bool {
        self.wire_bytes > 0
    }
}

/// What to do about a block that did not arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockAdvice {
    /// Read the same rows again and send the block again.
    Resend,
    /// Ask for the session's state: it has ended, or is committed.
    AskSession,
    /// The table changed: create a new session.
    NewSession,
    /// A repetition will fail again.
    GiveUp,
}

/// A block that did not arrive, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("block {block_id}: {error}")]
pub struct BlockError {
    /// The number of the block.
    pub block_id: u32,
    /// Why the block did not arrive.
    #[source]
    pub error: MaxComputeError,
    /// What to do about it.
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

    /// Whether sending the block again may succeed.
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

/// Writes one block. If it is dropped before [`BlockWriter::finish`], the request is aborted, so that the server keeps nothing.
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

    /// A block that is a plain Arrow stream, whose buffers are compressed one by one.
    pub(crate) fn stream(
        block_id: u32,
        transport: Arc<Transport>,
        call: Call,
        schema: SchemaRef,
        codec: Codec,
    ) -> Result<Self, MaxComputeError> {
        // Arrow defines two compressions of buffers, and zlib is not one of them.
        let codec = if codec == Codec::Deflate { Codec::None } else { codec };
        let encoder = BlockEncoder::stream(&schema, codec)
            .map_err(|error| MaxComputeError::Encode { block_id, why: error.to_string() })?;
        Ok(Self { block_id, codec, schema, encoder, line: Line::new(transport, call), rows: 0 })
    }

    /// The name of the block's request in errors.
    pub(crate) fn what(&self) -> String {
        self.line.what()
    }

    /// The schema that batches must have.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Sends the rows of a batch; returns when the last of them is queued for sending. A batch without rows is skipped.
    ///
    /// # Errors
    /// The batch does not fit the table, or the block can no longer arrive: drop the writer and follow the error's advice.
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

    /// Ends the block and waits for the server's answer. A block without rows is not sent.
    ///
    /// # Errors
    /// The block did not arrive, or it is not known whether it did: follow the error's advice.
    pub async fn finish(self) -> Result<BlockReceipt, BlockError> {
        Ok(self.finish_told().await?.0)
    }

    /// Ends the block as [`BlockWriter::finish`] does, and returns the server's answer too.
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
