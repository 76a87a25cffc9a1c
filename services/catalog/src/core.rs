//! What every part of this service shares: the store, the far ends, the running scans, time.

use std::sync::Arc;

use mms_server::{CancellationToken, Supervisor};
use mms_store::Store;

use crate::peers::Peers;
use crate::scan::counted::Counted;
use crate::scan::runner::Runner;
use crate::source::Sources;
use crate::survey::Surveys;

/// The shared parts; cheap to clone.
#[derive(Clone)]
pub struct Core {
    /// This service's tables.
    pub store: Store,
    /// The registry.
    pub peers: Peers,
    /// Both ends of each data source in use.
    pub sources: Sources,
    /// Scans that run in this process.
    pub scans: Arc<Runner>,
    /// What they have read.
    pub scanned: Counted,
    /// Runs background tasks.
    pub supervisor: Supervisor,
    /// Cancelled when the process is told to stop.
    pub shutdown: CancellationToken,
    /// Readings of logs.
    pub surveys: Arc<Surveys>,
    /// Bounds.
    pub bounds: Bounds,
    now_ms: fn() -> i64,
}

/// What this process may do at once.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Metadata calls of one scan, where its data source says nothing.
    pub metadata_concurrency: usize,
    /// Bytes that the files of one plan may take in memory.
    pub plan_memory: usize,
    /// Bytes that readings of logs may take that are kept for a while.
    pub kept_memory: usize,
}

impl Core {
    /// Parts that read the time from this function.
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

    /// Milliseconds since 1970, by the wall clock.
    pub fn now_ms(&self) -> i64 {
        (self.now_ms)()
    }
}
