//! Owns the timeout of streamed bodies. A limit that runs from the start of the request would abort a body that takes long
//! because it is large. This one runs only while the server is waited for: it accepted a piece and asks for no further one, or it
//! has the whole body and does not answer. It never looks at what is sent.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use parking_lot::Mutex;
use tokio::time::Instant;

/// Since when the server has been waited for; `None` while our own source has nothing to send.
#[derive(Clone)]
pub(crate) struct Watch(Arc<Mutex<Option<Instant>>>);

impl Watch {
    /// A watch, and the body that it watches.
    pub(crate) fn over<S>(stream: S) -> (Self, Watched<S>) {
        let watch = Self(Arc::new(Mutex::new(Some(Instant::now()))));
        (watch.clone(), Watched { stream: Box::pin(stream), watch })
    }

    /// Returns once the server has been waited for this long. After a pause of our own source it may take up to twice as long.
    pub(crate) async fn stalled(&self, limit: Duration) {
        loop {
            let since = *self.0.lock();
            let now = Instant::now();
            match since.map(|since| since + limit) {
                Some(end) if end <= now => return,
                Some(end) => tokio::time::sleep_until(end).await,
                None => tokio::time::sleep(limit).await,
            }
        }
    }
}

/// A stream that tells its watch which side is waited for.
pub(crate) struct Watched<S> {
    stream: Pin<Box<S>>,
    watch: Watch,
}

impl<S, E> Stream for Watched<S>
where
    S: Stream<Item = Result<Bytes, E>>,
{
    type Item = Result<Bytes, E>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self.stream.as_mut().poll_next(context);
        *self.watch.0.lock() = polled.is_ready().then(Instant::now);
        polled
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn only_the_far_ends_silence_counts() {
        let (send, queue) = tokio::sync::mpsc::channel::<Result<Bytes, std::io::Error>>(1);
        let queue = futures::stream::unfold(queue, |mut queue| async { Some((queue.recv().await?, queue)) });
        let (watch, mut body) = Watch::over(queue);
        let asked = tokio::spawn(async move {
            let first = body.next().await;
            (first.is_some(), body)
        });
        // The client asks for data and there is none: that silence is ours.
        let early = tokio::time::timeout(LIMIT * 20, watch.stalled(LIMIT)).await;
        assert!(early.is_err());
        send.send(Ok(Bytes::from_static(b"x"))).await.expect("it listens");
        let (got, mut body) = asked.await.expect("no panic");
        assert!(got);
        // The client took the piece and asks for no more.
        let start = Instant::now();
        watch.stalled(LIMIT).await;
        assert!(start.elapsed() >= LIMIT && start.elapsed() <= LIMIT * 2, "{:?}", start.elapsed());
        // When the client asks again, our source is waited for; at the end of the body, the server is.
        drop(send);
        assert!(body.next().await.is_none());
        let start = Instant::now();
        watch.stalled(LIMIT).await;
        assert_eq!(start.elapsed(), LIMIT);
    }
}
