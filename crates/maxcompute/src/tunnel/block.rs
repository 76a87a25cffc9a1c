//! A block on its way: batches are encoded, framed, compressed and sent while they come, never collected. What is held is
//! the batch at hand, one frame in the compressor and at most [`QUEUE`] pieces that wait for the socket.

use std::io;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::MetadataVersion;
use arrow::ipc::writer::{IpcWriteOptions, StreamEncoder};
use bytes::Bytes;
use futures::stream;
use mms_http::retry::{Classify, RetryClass};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::Instrument;

use super::codec::{Codec, Compressor};
use super::frame::{CHUNK_BYTES, Framer};
use super::schema::check_batch;
use crate::error::{MaxComputeError, RefusalKind};
use crate::transport::{Call, Transport};

/// Pieces that may wait for the socket.
const QUEUE: usize = 2;
/// The least size of a piece but the last.
const PIECE_BYTES: usize = 64 * 1024;
/// The most bytes of the server's answer that are read.
const ANSWER_LIMIT: usize = 64 * 1024;

/// What a block that arrived is.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct BlockReceipt {
    /// Its number in the session.
    pub block_id: u32,
    /// Its rows. An Arrow block without rows is never sent: the session does not have it.
    pub rows: u64,
    /// Bytes of Arrow data before framing and compression.
    pub arrow_bytes: u64,
    /// Bytes that went over the wire.
    pub wire_bytes: u64,
    /// CRC-32C of the Arrow data.
    pub crc: u32,
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
    pub(super) fn new(block_id: u32, error: MaxComputeError) -> Self {
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
    transport: Arc<Transport>,
    call: Call,
    schema: SchemaRef,
    encoder: StreamEncoder,
    framer: Framer,
    compressor: Compressor,
    sending: Option<Sending>,
    rows: u64,
    arrow_bytes: u64,
    wire_bytes: u64,
}

enum Piece {
    Data(Bytes),
    /// Without this mark the request is broken off instead of ended: half a block must never look like a whole one.
    End,
}

struct Sending {
    pieces: mpsc::Sender<Piece>,
    answer: Answer,
}

/// The request, broken off when nobody waits for its answer any more.
struct Answer(JoinHandle<Result<(), MaxComputeError>>);

impl Drop for Answer {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Answer {
    async fn wait(mut self, what: String) -> Result<(), MaxComputeError> {
        let why = |error: tokio::task::JoinError| MaxComputeError::Answer {
            what,
            why: format!("the sending task ended: {error}"),
            request_id: None,
        };
        (&mut self.0).await.map_err(why)?
    }
}

impl BlockWriter {
    pub(super) fn new(
        block_id: u32,
        transport: Arc<Transport>,
        call: Call,
        schema: SchemaRef,
        codec: Codec,
    ) -> Result<Self, MaxComputeError> {
        let encode = |why: String| MaxComputeError::Encode { block_id, why };
        let options =
            IpcWriteOptions::try_new(8, false, MetadataVersion::V5).map_err(|error| encode(error.to_string()))?;
        let mut encoder =
            StreamEncoder::try_new_with_options(&schema, options).map_err(|error| encode(error.to_string()))?;
        // The first answer of the encoder begins with a Schema message, which must not be sent: an empty batch takes it.
        encoder.encode(&RecordBatch::new_empty(schema.clone())).map_err(|error| encode(error.to_string()))?;
        let compressor = Compressor::new(codec).map_err(|error| encode(error.to_string()))?;
        let call = match codec.content_encoding() {
            Some(encoding) => call.header("Content-Encoding", encoding),
            None => call,
        };
        Ok(Self {
            block_id,
            transport,
            call,
            schema,
            encoder,
            framer: Framer::new(CHUNK_BYTES),
            compressor,
            sending: None,
            rows: 0,
            arrow_bytes: 0,
            wire_bytes: 0,
        })
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
        check_batch(&self.schema, batch).map_err(|mismatch| self.error(mismatch.into()))?;
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let buffers = self.encoder.encode(batch).map_err(|error| self.encode_error(&error))?;
        for part in buffers.iter().flat_map(|buffer| buffer.as_slice().chunks(PIECE_BYTES)) {
            self.framer.push(part, &mut self.compressor).map_err(|error| self.encode_error(&error))?;
            self.arrow_bytes += part.len() as u64;
            if let Some(piece) = self.compressor.take(PIECE_BYTES) {
                self.send(piece).await?;
            }
        }
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    /// Ends the block and waits for the server's word. Without a single row nothing is sent.
    ///
    /// # Errors
    /// The block did not arrive, or whether it did is not known: follow the advice.
    pub async fn finish(mut self) -> Result<BlockReceipt, BlockError> {
        let block_id = self.block_id;
        if self.rows == 0 {
            return Ok(BlockReceipt { block_id, rows: 0, arrow_bytes: 0, wire_bytes: 0, crc: 0 });
        }
        let encode =
            |error: io::Error| BlockError::new(block_id, MaxComputeError::Encode { block_id, why: error.to_string() });
        let framer = std::mem::replace(&mut self.framer, Framer::new(CHUNK_BYTES));
        let crc = framer.finish(&mut self.compressor).map_err(encode)?;
        let compressor = std::mem::replace(&mut self.compressor, Compressor::None(Vec::new()));
        self.send(compressor.finish().map_err(encode)?).await?;
        if let Some(Sending { pieces, answer }) = self.sending.take() {
            // If nobody takes the mark, the request ended early: its answer says why.
            let _ended_early = pieces.send(Piece::End).await;
            answer.wait(self.call.what()).await.map_err(|error| self.error(error))?;
        }
        let Self { rows, arrow_bytes, wire_bytes, .. } = self;
        tracing::debug!(block_id, rows, arrow_bytes, wire_bytes, "block sent");
        Ok(BlockReceipt { block_id, rows, arrow_bytes, wire_bytes, crc })
    }

    async fn send(&mut self, piece: Vec<u8>) -> Result<(), BlockError> {
        let (transport, call) = (&self.transport, &self.call);
        let sending = self.sending.get_or_insert_with(|| begin(transport.clone(), call.clone()));
        self.wire_bytes += piece.len() as u64;
        if sending.pieces.send(Piece::Data(piece.into())).await.is_ok() {
            return Ok(());
        }
        let what = self.call.what();
        let error = match self.sending.take() {
            Some(sending) => sending.answer.wait(what.clone()).await.err(),
            None => None,
        };
        let why = "the block was accepted before it ended".to_owned();
        Err(self.error(error.unwrap_or(MaxComputeError::Answer { what, why, request_id: None })))
    }

    fn error(&self, error: MaxComputeError) -> BlockError {
        BlockError::new(self.block_id, error)
    }

    fn encode_error(&self, error: &dyn std::error::Error) -> BlockError {
        self.error(MaxComputeError::Encode { block_id: self.block_id, why: error.to_string() })
    }
}

/// Starts the request; its body is what comes through the channel.
fn begin(transport: Arc<Transport>, call: Call) -> Sending {
    let (pieces, queue) = mpsc::channel(QUEUE);
    let body = mms_http::Body::wrap_stream(stream::unfold(Some(queue), |queue| async move {
        let mut queue: mpsc::Receiver<Piece> = queue?;
        match queue.recv().await {
            Some(Piece::Data(bytes)) => Some((Ok(bytes), Some(queue))),
            Some(Piece::End) => None,
            None => Some((Err(io::Error::other("the block was given up")), None)),
        }
    }));
    let request = async move {
        let mut response = transport.stream(&call, body).await?;
        // Read to its end, so that the connection can be used again.
        let read = response.up_to(ANSWER_LIMIT).await;
        read.map(|_| ()).map_err(|source| MaxComputeError::Http { what: call.what(), source })
    };
    Sending { pieces, answer: Answer(tokio::spawn(request.in_current_span())) }
}
