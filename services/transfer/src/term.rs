//! How long this process may act on a lease, by its own clock. The scheduler counts a lease from its answer; this counts from
//! before the request was sent, so a lease always ends here first. No part of an attempt may run after that.

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::error::TransferError;

/// The time until which the lease certainly holds.
#[derive(Debug)]
pub struct Term(Mutex<Instant>);

impl Term {
    /// A lease of this term that was requested at `sent`.
    pub fn new(sent: Instant, term: Duration) -> Self {
        Self(Mutex::new(sent + term))
    }

    /// Extends the lease by a request that was sent at `sent`. Never shortens it.
    pub fn prolong(&self, sent: Instant, term: Duration) {
        let mut until = self.0.lock();
        *until = (*until).max(sent + term);
    }

    fn until(&self) -> Instant {
        *self.0.lock()
    }

    /// Returns when the lease may have expired.
    async fn over(&self) {
        loop {
            let until = self.until();
            tokio::time::sleep_until(until).await;
            if self.until() <= until {
                return;
            }
        }
    }

    /// Runs an attempt as long as the lease holds, then drops it with whatever it has under way. The time is checked before
    /// each poll of the attempt, so that a process that stood still for long (a stopped container, a busy machine) sends
    /// nothing when it continues.
    pub async fn run<T>(&self, attempt: impl Future<Output = T>) -> Result<T, TransferError> {
        let mut attempt = pin!(attempt);
        let mut over = pin!(self.over());
        std::future::poll_fn(|cx| {
            if over.as_mut().poll(cx).is_ready() || Instant::now() >= self.until() {
                return Poll::Ready(Err(TransferError::GivenUp));
            }
            attempt.as_mut().poll(cx).map(Ok)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    const TERM: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn an_attempt_is_dropped_when_its_lease_may_have_run_out() {
        let held = Term::new(Instant::now(), TERM);
        let start = Instant::now();
        let ended = held.run(std::future::pending::<()>()).await;
        assert!(matches!(ended, Err(TransferError::GivenUp)));
        assert!(start.elapsed() >= TERM && start.elapsed() < TERM + Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_heartbeat_counts_from_when_it_was_sent() {
        let held = Arc::new(Term::new(Instant::now(), TERM));
        let (beats, start) = (held.clone(), Instant::now());
        tokio::spawn(async move {
            let sent = Instant::now() + Duration::from_secs(20);
            tokio::time::sleep_until(sent).await;
            tokio::time::sleep(Duration::from_secs(5)).await;
            beats.prolong(sent, TERM);
            // An answer that was overtaken by a later one shortens nothing.
            beats.prolong(sent - Duration::from_secs(10), TERM);
        });
        assert!(held.run(std::future::pending::<()>()).await.is_err());
        assert_eq!(start.elapsed().as_secs(), 50);
    }

    /// A process that stood still wakes with its next step ready to run: that step must not run.
    #[tokio::test(start_paused = true)]
    async fn nothing_is_sent_after_the_end() {
        let held = Term::new(Instant::now(), TERM);
        let sent = Arc::new(AtomicBool::new(false));
        let (ready, step) = tokio::sync::oneshot::channel::<()>();
        let done = sent.clone();
        let attempt = async move {
            assert!(step.await.is_ok());
            done.store(true, Ordering::Relaxed);
        };
        let mut running = pin!(held.run(attempt));
        assert!(futures::poll!(running.as_mut()).is_pending());
        tokio::time::advance(TERM).await;
        ready.send(()).expect("waited for");
        assert!(running.await.is_err());
        assert!(!sent.load(Ordering::Relaxed));
    }
}
