//! The metrics of a service's store: what it made durable, what waits, and whether its disk is full.

use mms_store::{Flush, Observer, Store};
use opentelemetry::metrics::Histogram;

use super::{Counter, Metric, Metrics};

/// Bounds of the buckets, in seconds.
const SECONDS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];
/// Bounds of the buckets, in bytes.
const BYTES: [f64; 10] =
    [256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262_144.0, 1_048_576.0, 4_194_304.0, 16_777_216.0, 67_108_864.0];

/// Observes the store's committer.
pub(crate) struct Stored {
    commits: Counter,
    duration: Histogram<f64>,
    size: Histogram<f64>,
}

impl Stored {
    pub fn of(metrics: &Metrics) -> Self {
        Self {
            commits: metrics.counter(Metric::StoreCommits, &[]),
            duration: metrics.histogram(Metric::StoreFlushDuration, SECONDS.to_vec()),
            size: metrics.histogram(Metric::StoreFlushSize, BYTES.to_vec()),
        }
    }

    /// Follows the values that the open store is asked for.
    pub fn follow(metrics: &Metrics, store: &Store) {
        let queued = store.clone();
        metrics.follow(Metric::StoreQueue, move |tell| tell(super::real(queued.queued()), &[]));
        let full = store.full();
        metrics.follow(Metric::StoreFull, move |tell| tell(f64::from(u8::from(*full.borrow())), &[]));
    }
}

impl Observer for Stored {
    fn flushed(&self, flush: &Flush) {
        self.commits.add(flush.commits);
        self.duration.record(flush.took.as_secs_f64(), &[]);
        self.size.record(super::real(flush.bytes), &[]);
    }
}
