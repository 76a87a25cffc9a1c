//! The request of one block, which begins with its first piece and takes what comes: nothing is collected. Half a block must
//! never look like a whole one, so a request that nobody ends is broken off.

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

/// Pieces that may wait for the socket.
const QUEUE: usize = 2;
/// The most bytes of the server's answer that are read.
const ANSWER_LIMIT: usize = 64 * 1024;

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
    /// Time in which there was a piece to be sent and no room for it, or the answer was waited for.
    waiting: Duration,
}

/// What became of a block that was sent to its end.
pub(super) struct Sent {
    /// What the server answered, as far as it is read.
    pub answer: Vec<u8>,
    /// Bytes that went over the wire.
    pub wire_bytes: u64,
    /// Time in which something of it was ready and the far end had not taken it, up to its answer.
    pub waiting: Duration,
}

impl Line {
    /// A request that is begun with its first piece.
    pub fn new(transport: Arc<Transport>, call: Call) -> Self {
        Self { transport, call, sending: None, wire_bytes: 0, waiting: Duration::ZERO }
    }

    /// How errors name it.
    pub fn what(&self) -> String {
        self.call.what()
    }

    /// Puts a piece on its way.
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

    /// Sends the last piece, and waits for the answer.
    pub async fn finish(mut self, rest: Bytes) -> Result<Sent, MaxComputeError> {
        self.send(rest).await?;
        let mut told = Vec::new();
        if let Some(Sending { pieces, answer }) = self.sending.take() {
            // If nobody takes the mark, the request ended early: its answer says why.
            let begun = Instant::now();
            let _ended_early = pieces.send(Piece::End).await;
            // What the kernel took of the block and has not sent yet is waited for here: of a small one, that is all.
            told = answer.wait(self.call.what()).await?;
            self.waiting += begun.elapsed();
        }
        Ok(Sent { answer: told, wire_bytes: self.wire_bytes, waiting: self.waiting })
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
        read.map(|(bytes, _)| bytes.to_vec()).map_err(|source| MaxComputeError::Http { what: call.what(), source })
    };
    Sending { pieces, answer: Answer(tokio::spawn(request.in_current_span())) }
}
