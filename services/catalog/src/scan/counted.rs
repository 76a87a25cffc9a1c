//! The metrics of what scans have read since this process started.

use mms_server::metrics::Counter;
use mms_server::{Label, Metric, Metrics};

use crate::record::Progress;

/// The counters of all scans together.
#[derive(Debug, Clone)]
pub struct Counted {
    read: Counter,
    failed: Counter,
    partitions: Counter,
}

impl Counted {
    /// Registers the counters.
    pub fn of(metrics: &Metrics) -> Self {
        let tables = |outcome| metrics.counter(Metric::CatalogTables, &[(Label::Outcome, outcome)]);
        Self {
            read: tables("ok"),
            failed: tables("failed"),
            partitions: metrics.counter(Metric::CatalogPartitions, &[]),
        }
    }

    /// Adds the difference between two states of a scan's progress.
    pub fn follow(&self, before: &Progress, after: &Progress) {
        let more = |before: i64, after: i64| (after - before).max(0).unsigned_abs();
        let failed = more(before.tables_failed, after.tables_failed);
        self.failed.add(failed);
        self.read.add(more(before.tables_read, after.tables_read).saturating_sub(failed));
        self.partitions.add(more(before.partitions_found, after.partitions_found));
    }
}
