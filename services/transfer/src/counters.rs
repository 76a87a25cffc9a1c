//! The metrics of this worker's attempts. Decides nothing.

use mms_maxcompute::tunnel::BlockReceipt;
use mms_server::metrics::Counter;
use mms_server::{Label, Metric, Metrics};

use crate::transfers::Ending;

/// The counters of all attempts of this process.
#[derive(Debug, Clone)]
pub struct Counters {
    done: Counter,
    failed: Counter,
    given_up: Counter,
    rows: Counter,
    source_bytes: Counter,
    arrow_bytes: Counter,
    wire_bytes: Counter,
    arrived: Counter,
    lost: Counter,
    units: Counter,
}

impl Counters {
    pub fn of(metrics: &Metrics) -> Self {
        let plain = |metric| metrics.counter(metric, &[]);
        let ended = |metric, outcome| metrics.counter(metric, &[(Label::Outcome, outcome)]);
        Self {
            done: ended(Metric::TransferAttempts, "done"),
            failed: ended(Metric::TransferAttempts, "failed"),
            given_up: ended(Metric::TransferAttempts, "given_up"),
            rows: plain(Metric::TransferRows),
            source_bytes: plain(Metric::TransferSource),
            arrow_bytes: plain(Metric::TransferArrow),
            wire_bytes: plain(Metric::TransferWire),
            arrived: ended(Metric::TransferBlocks, "arrived"),
            lost: ended(Metric::TransferBlocks, "lost"),
            units: plain(Metric::TransferUnits),
        }
    }

    /// Counts an attempt that ended.
    pub fn ended(&self, ending: &Ending) {
        let counter = match ending {
            Ending::Done => &self.done,
            Ending::Failed(_) => &self.failed,
            Ending::GivenUp(_) => &self.given_up,
        };
        counter.add(1);
    }

    /// Counts a block that arrived, with its rows and the bytes of source files that they took.
    pub fn arrived(&self, block: &BlockReceipt, source_bytes: i64) {
        self.arrived.add(1);
        self.rows.add(block.rows);
        self.source_bytes.add(source_bytes.max(0).unsigned_abs());
        self.arrow_bytes.add(block.arrow_bytes);
        self.wire_bytes.add(block.wire_bytes);
    }

    /// Counts an attempt at a block that failed.
    pub fn lost(&self) {
        self.lost.add(1);
    }

    /// Counts published units.
    pub fn published(&self, units: usize) {
        self.units.add(units as u64);
    }
}
