//! Whose a task is, and how that ends.

/// A fencing epoch: which life of the store gave the lease, and which lease of the task it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, prost::Message)]
pub struct Epoch {
    /// The store's incarnation when the lease was given.
    #[prost(uint64, tag = "1")]
    pub incarnation: u64,
    /// Grows with each lease of the task.
    #[prost(uint64, tag = "2")]
    pub counter: u64,
}

/// A worker, and which process of it.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Holder {
    /// Worker id.
    #[prost(string, tag = "1")]
    pub worker: String,
    /// Its process.
    #[prost(string, tag = "2")]
    pub instance: String,
}

/// Why a lease ends before its task does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseEnd {
    /// No heartbeat came in time.
    Expired,
    /// The worker gave it back.
    Released,
    /// The worker came back as another process.
    Restarted,
    /// The job was stopped.
    Stopped,
}

impl LeaseEnd {
    /// Whether the worker was lost with it.
    pub fn is_loss(self) -> bool {
        matches!(self, Self::Expired | Self::Restarted)
    }
}
