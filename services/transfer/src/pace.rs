//! Bounds how fast one task reads: by the share that the scheduler gave it, kept by waiting before each batch. What the
//! reader prefetches meanwhile is bounded by the slot's memory.

use std::time::Duration;

use mms_proto::types::v1::RateLimit;
use mms_server::pace::Bucket;
use parking_lot::Mutex;
use tokio::time::Instant;

/// The longest pause before it checks whether the bound has changed.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The rate bound of one attempt.
#[derive(Debug)]
pub struct Pace {
    since: Instant,
    buckets: Mutex<Buckets>,
}

#[derive(Debug, Default)]
struct Buckets {
    bytes: Bucket,
    rows: Bucket,
}

impl Pace {
    /// Bounded by the lease's limits; None: unbounded.
    pub fn new(limits: Option<&RateLimit>) -> Self {
        let pace = Self { since: Instant::now(), buckets: Mutex::default() };
        pace.bound(limits);
        pace
    }

    /// Replaces the bounds; None: unbounded from now on.
    pub fn bound(&self, limits: Option<&RateLimit>) {
        let (now, limits) = (self.since.elapsed(), limits.copied().unwrap_or_default());
        let number = |given: i64| u64::try_from(given).unwrap_or(0);
        let mut buckets = self.buckets.lock();
        buckets.bytes.bound(number(limits.bytes_per_second), now);
        buckets.rows.bound(number(limits.rows_per_second), now);
    }

    /// Counts what was read.
    pub fn took(&self, bytes: i64, rows: i64) {
        let (now, mut buckets) = (self.since.elapsed(), self.buckets.lock());
        buckets.bytes.take(u64::try_from(bytes).unwrap_or(0), now);
        buckets.rows.take(u64::try_from(rows).unwrap_or(0), now);
    }

    /// Waits until more may be read. Cancel safe: nothing is lost when it is dropped while it waits.
    pub async fn ready(&self) {
        loop {
            let wait = self.wait();
            if wait.is_zero() {
                return;
            }
            tokio::time::sleep(wait.min(LOOK_EVERY)).await;
        }
    }

    fn wait(&self) -> Duration {
        let (now, mut buckets) = (self.since.elapsed(), self.buckets.lock());
        let bytes = buckets.bytes.wait(now);
        bytes.max(buckets.rows.wait(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(bytes_per_second: i64, rows_per_second: i64) -> RateLimit {
        RateLimit { bytes_per_second, rows_per_second, ..RateLimit::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_read_is_waited_for_at_the_rate_that_holds_now() {
        let (pace, start) = (Pace::new(Some(&limits(100, 0))), Instant::now());
        pace.ready().await;
        pace.took(1_000, 7);
        tokio::time::sleep(Duration::from_secs(5)).await;
        pace.bound(Some(&limits(500, 0)));
        pace.ready().await;
        assert!(start.elapsed().abs_diff(Duration::from_secs(6)) <= LOOK_EVERY, "{:?}", start.elapsed());
        pace.bound(Some(&limits(0, 1)));
        pace.took(1 << 40, 3);
        pace.ready().await;
        assert!(start.elapsed().abs_diff(Duration::from_secs(9)) <= LOOK_EVERY, "rows are bounded too");
        pace.took(1 << 40, 1_000);
        pace.bound(None);
        pace.ready().await;
        assert!(start.elapsed() < Duration::from_secs(10), "no bound, no wait");
    }
}
