//! Owns what all parts of this service share: the store, the clients, the running scans, and the clock.

use std::sync::Arc;

use mms_server::{CancellationToken, Supervisor};
use mms_store::Store;

use crate::peers::Peers;
use crate::scan::counted::Counted;
use crate::scan::runner::Runner;
use crate::source::Sources;
use crate::survey::Surveys;

/// The shared parts. Cheap to clone.
#[derive(Clone)]
pub struct Core {
    /// This service's durable tables.
    pub store: Store,
    /// The client of the registry.
    pub peers: Peers,
    /// The clients of the data sources in use.
    pub sources: Sources,
    /// The scans that run in this process.
    pub scans: Arc<Runner>,
    /// The metrics of what scans have read.
    pub scanned: Counted,
    /// Spawns background tasks.
    pub supervisor: Supervisor,
    /// Cancelled when the process is told to stop.
    pub shutdown: CancellationToken,
    /// Reads Delta logs, and keeps the results for a while.
    pub surveys: Arc<Surveys>,
    /// Limits of this process.
    pub bounds: Bounds,
    now_ms: fn() -> i64,
}

/// What this process may do at once.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Concurrent metadata calls of one scan, for data sources that set nothing.
    pub metadata_concurrency: usize,
    /// Bytes of memory that the files of one plan may take.
    pub plan_memory: usize,
    /// Bytes of memory for the results of reading logs that are kept for a while.
    pub kept_memory: usize,
}

impl Core {
    /// `now_ms` gives the wall clock in milliseconds since 1970; `scans` is the number of scans that may run at once.
    #[allow(clippy::too_many_arguments, reason = "each is another part")]
    pub fn new(
        store: Store,
        peers: Peers,
        scans: usize,
        bounds: Bounds,
        supervisor: Supervisor,
        shutdown: CancellationToken,
        scanned: Counted,
        now_ms: fn() -> i64,
    ) -> Self {
        let sources = Sources::new(peers.registry());
        let scans = Arc::new(Runner::new(scans));
        let surveys = Arc::new(Surveys::new(bounds.plan_memory, bounds.kept_memory));
        Self { store, peers, sources, scans, scanned, supervisor, shutdown, surveys, bounds, now_ms }
    }

    /// The wall clock, in milliseconds since 1970.
    pub fn now_ms(&self) -> i64 {
        (self.now_ms)()
    }
}
