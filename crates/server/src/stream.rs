//! Streams whose messages are produced by a task. Handlers start such tasks here and nowhere else.
//!
//! The task belongs to its call: it has the call's request id, deadline and span. A slow caller slows it down, and a
//! caller that goes away shows as a closed channel. A stream never ends with OK unless its producer returned.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::Stream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tonic::Status;
use tracing::Instrument;

use crate::context::CallContext;
use crate::layer::panicked;

/// The messages of one answer, in the type that generated servers use.
pub type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The channel for a producer's messages. An error must be the last one.
pub type Sender<T> = mpsc::Sender<Result<T, Status>>;

/// Starts `producer` on behalf of the call that is being handled, and streams what it sends; at most `queue` messages
/// wait for a slow caller. When the producer returns the stream ends with OK, when it panics with INTERNAL.
pub fn stream<T, F, Fut>(queue: usize, producer: F) -> Answers<T>
where
    T: Send + 'static,
    F: FnOnce(Sender<T>) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    let (send, receive) = mpsc::channel(queue);
    let work = Box::pin(producer(send).in_current_span());
    let task = match CallContext::current() {
        Some(context) => tokio::spawn(context.scope(work)),
        None => tokio::spawn(work),
    };
    Box::pin(Produced { receive, task: Some(task) })
}

struct Produced<T> {
    receive: mpsc::Receiver<Result<T, Status>>,
    /// `None` once the producer's end was reported.
    task: Option<JoinHandle<()>>,
}

impl<T> Stream for Produced<T> {
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(message) = ready!(self.receive.poll_recv(cx)) {
            return Poll::Ready(Some(message));
        }
        // No sender is left: the producer has returned, or is about to.
        let Some(task) = &mut self.task else { return Poll::Ready(None) };
        let ended = ready!(Pin::new(task).poll(cx));
        self.task = None;
        Poll::Ready(ended.err().map(|_| Err(panicked().into())))
    }
}
