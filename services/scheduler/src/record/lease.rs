//! Leases: who holds a task, under which epoch, and how a lease ends.

/// A fencing epoch. It identifies one lease of a task across restores of the store.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, prost::Message)]
pub struct Epoch {
    /// The store's incarnation when the lease was granted.
    #[prost(uint64, tag = "1")]
    pub incarnation: u64,
    /// Grows with each lease of the task.
    #[prost(uint64, tag = "2")]
    pub counter: u64,
}

/// A worker process.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Holder {
    /// Id of the worker.
    #[prost(string, tag = "1")]
    pub worker: String,
    /// Identifies the process: it changes at each restart of the worker.
    #[prost(string, tag = "2")]
    pub instance: String,
}

/// Why a lease ends before its task does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseEnd {
    /// No heartbeat came in time.
    Expired,
    /// The worker released it.
    Released,
    /// The worker registered as another process.
    Restarted,
    /// The job was stopped.
    Stopped,
    /// The task has only its LOOK step left, which waits for all other tasks of the job.
    Waits,
}

impl LeaseEnd {
    /// Whether the lease ended because its worker process was lost.
    pub fn is_loss(self) -> bool {
        matches!(self, Self::Expired | Self::Restarted)
    }
}
