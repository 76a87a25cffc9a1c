//! The request that carries one block. It starts with the first piece and streams the others as they arrive; nothing is
//! collected. A partial block must never look like a complete one, so a request that is not ended explicitly is aborted.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::stream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::Instrument;

use crate::error::MaxComputeError;
use crate::transport::{Call, Transport};

/// Maximum number of pieces that wait for the socket.
const QUEUE: usize = 2;
/// Maximum number of bytes that are read of the server's answer.
const ANSWER_LIMIT: usize = 64 * 1024;

enum Piece {
    Data(Bytes),
    /// Ends the request. Without this mark it is aborted, so that a partial block never looks complete.
    End,
}

struct Sending {
    pieces: mpsc::Sender<Piece>,
    answer: Answer,
}

/// The running request; aborted when this is dropped, since nobody waits for the answer any more.
struct Answer(JoinHandle<Result<Vec<u8>, MaxComputeError>>);

impl Drop for Answer {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Answer {
    async fn wait(mut self, what: String) -> Result<Vec<u8>, MaxComputeError> {
        let why = |error: tokio::task::JoinError| MaxComputeError::Answer {
            what,
            why: format!("the sending task ended: {error}"),
            request_id: None,
        };
        (&mut self.0).await.map_err(why)?
    }
}

/// The request of a block.
pub(super) struct Line {
    transport: Arc<Transport>,
    call: Call,
    sending: Option<Sending>,
    wire_bytes: u64,
    /// Time during which a piece was ready and the queue was full, or the answer was waited for.
    waiting: Duration,
}

/// The result of a block that was sent to its end.
pub(super) struct Sent {
    /// The server's answer, up to the limit that is read.
    pub answer: Vec<u8>,
    /// Bytes sent over the wire.
    pub wire_bytes: u64,
    /// Time during which data was ready and the target had not accepted it, up to its answer.
    pub waiting: Duration,
}

impl Line {
    /// A request that starts with its first piece.
    pub fn new(transport: Arc<Transport>, call: Call) -> Self {
        Self { transport, call, sending: None, wire_bytes: 0, waiting: Duration::ZERO }
    }

    /// The name of this request in errors.
    pub fn what(&self) -> String {
        self.call.what()
    }

    /// Queues a piece for sending; waits while the queue is full.
    pub async fn send(&mut self, piece: Bytes) -> Result<(), MaxComputeError> {
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

    /// Sends the last piece and waits for the answer.
    pub async fn finish(mut self, rest: Bytes) -> Result<Sent, MaxComputeError> {
        self.send(rest).await?;
        let mut told = Vec::new();
        if let Some(Sending { pieces, answer }) = self.sending.take() {
            // If nobody receives the mark, the request ended early, and its answer says why.
            let begun = Instant::now();
            let _ended_early = pieces.send(Piece::End).await;
            // Data that the kernel has buffered but not sent yet is waited for here; for a small block that is all of it.
            told = answer.wait(self.call.what()).await?;
            self.waiting += begun.elapsed();
        }
        Ok(Sent { answer: told, wire_bytes: self.wire_bytes, waiting: self.waiting })
    }
}

/// Starts the request. Its body is what arrives through the channel.
fn begin(transport: Arc<Transport>, call: Call) -> Sending {
    let (pieces, queue) = mpsc::channel(QUEUE);
    let body = stream::unfold(Some(queue), |queue| async move {
        let mut queue: mpsc::Receiver<Piece> = queue?;
        match queue.recv().await {
            Some(Piece::Data(bytes)) => Some((Ok(bytes), Some(queue))),
            Some(Piece::End) => None,
            None => Some((Err(io::Error::other("the block was aborted")), None)),
        }
    });
    let request = async move {
        let mut response = transport.stream(&call, body).await?;
        // Read to its end, so that the connection can be reused.
        let read = response.up_to(ANSWER_LIMIT).await;
        read.map(|(bytes, _)| bytes.to_vec()).map_err(|source| MaxComputeError::Http { what: call.what(), source })
    };
    Sending { pieces, answer: Answer(tokio::spawn(request.in_current_span())) }
}
