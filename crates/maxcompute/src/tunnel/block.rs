//! A block on its way: what [`BlockEncoder`] makes of batches is sent while they come, never collected. What is held is
//! the batch at hand, one piece in the encoder and at most [`QUEUE`] pieces that wait for the socket.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use futures::stream;
use mms_http::retry::{Classify, RetryClass};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::Instrument;

use super::codec::Codec;
use super::encode::{BlockEncoder, Encoded};
use super::schema::check_batch;
use crate::error::{MaxComputeError, RefusalKind};
use crate::transport::{Call, Transport};

/// Pieces that may wait for the socket.
const QUEUE: usize = 2;
/// The most bytes of the server's answer that are read.
const ANSWER_LIMIT: usize = 64 * 1024;

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
    /// CRC-32C of the Arrow data.
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
    codec: Codec,
    schema: SchemaRef,
    encoder: BlockEncoder,
    line: Line,
    rows: u64,
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
        let encoder = BlockEncoder::new(&schema, codec)
            .map_err(|error| MaxComputeError::Encode { block_id, why: error.to_string() })?;
        let call = match codec.content_encoding() {
            Some(encoding) => call.header("Content-Encoding", encoding),
            None => call,
        };
        let line = Line { transport, call, sending: None, wire_bytes: 0, waiting: Duration::ZERO };
        Ok(Self { block_id, codec, schema, encoder, line, rows: 0 })
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
        let Self { block_id, codec, encoder, line, rows, .. } = self;
        if rows == 0 {
            return Ok(BlockReceipt { block_id, ..BlockReceipt::default() });
        }
        let Encoded { rest, crc, arrow_bytes, packing } =
            encoder.finish().map_err(|error| encode_error(block_id, &error))?;
        let (wire_bytes, waiting) = line.finish(rest).await.map_err(|error| BlockError::new(block_id, error))?;
        tracing::debug!(block_id, rows, arrow_bytes, wire_bytes, ?packing, ?waiting, "block sent");
        Ok(BlockReceipt { block_id, rows, arrow_bytes, wire_bytes, crc, codec, packing, waiting })
    }
}

fn encode_error(block_id: u32, error: &dyn std::error::Error) -> BlockError {
    BlockError::new(block_id, MaxComputeError::Encode { block_id, why: error.to_string() })
}

/// The block's request, which begins with its first piece.
struct Line {
    transport: Arc<Transport>,
    call: Call,
    sending: Option<Sending>,
    wire_bytes: u64,
    /// Time in which there was a piece to be sent and no room for it, or the answer was waited for.
    waiting: Duration,
}

impl Line {
    async fn send(&mut self, piece: Bytes) -> Result<(), MaxComputeError> {
        let Self { transport, call, sending, wire_bytes, waiting } = self;
        let open = sending.get_or_insert_with(|| begin(transport.clone(), call.clone()));
        *wire_bytes += piece.len() as u64;
        let begun = Instant::now();
        let taken = open.pieces.send(Piece::Data(piece)).await;
        *waiting += begun.elapsed();
        if taken.is_ok() {
            return Ok(());
        }
        let what = call.what();
        let error = match sending.take() {
            Some(sending) => sending.answer.wait(what.clone()).await.err(),
            None => None,
        };
        let why = "the block was accepted before it ended".to_owned();
        Err(error.unwrap_or(MaxComputeError::Answer { what, why, request_id: None }))
    }

    /// Sends the last piece, and waits for the answer. Gives the bytes that went over the wire, and the time that they had to
    /// wait for it.
    async fn finish(mut self, rest: Bytes) -> Result<(u64, Duration), MaxComputeError> {
        self.send(rest).await?;
        if let Some(Sending { pieces, answer }) = self.sending.take() {
            // If nobody takes the mark, the request ended early: its answer says why.
            let begun = Instant::now();
            let _ended_early = pieces.send(Piece::End).await;
            // What the kernel took of the block and has not sent yet is waited for here: of a small one, that is all.
            answer.wait(self.call.what()).await?;
            self.waiting += begun.elapsed();
        }
        Ok((self.wire_bytes, self.waiting))
    }
}

/// Starts the request; its body is what comes through the channel.
fn begin(transport: Arc<Transport>, call: Call) -> Sending {
    let (pieces, queue) = mpsc::channel(QUEUE);
    let body = stream::unfold(Some(queue), |queue| async move {
        let mut queue: mpsc::Receiver<Piece> = queue?;
        match queue.recv().await {
            Some(Piece::Data(bytes)) => Some((Ok(bytes), Some(queue))),
            Some(Piece::End) => None,
            None => Some((Err(io::Error::other("the block was given up")), None)),
        }
    });
    let request = async move {
        let mut response = transport.stream(&call, body).await?;
        // Read to its end, so that the connection can be used again.
        let read = response.up_to(ANSWER_LIMIT).await;
        read.map(|_| ()).map_err(|source| MaxComputeError::Http { what: call.what(), source })
    };
    Sending { pieces, answer: Answer(tokio::spawn(request.in_current_span())) }
}
