//! What an operator or a test can choose about a store. Owns the defaults.

use std::{sync::Arc, time::Duration};

use crate::backend::DiskSync;
use crate::observe::Observer;

/// Wraps a [`DiskSync`] in another one.
pub type WrapSync = Arc<dyn Fn(Box<dyn DiskSync>) -> Box<dyn DiskSync> + Send + Sync>;

/// What to do when the database is missing, cannot be read, or is not the one that the store left in this directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Recovery {
    /// Do not open; the error has the reason.
    #[default]
    Refuse,
    /// Build the database anew from the newest complete export: what was acknowledged after that export is lost, and
    /// the incarnation grows. Does nothing to a healthy store.
    NewestExport,
    /// Accept a database whose directory is not the one it was last opened in, or that has lost its manifest, as a new
    /// incarnation. A database that is behind an export or its manifest is still refused. Does nothing to a healthy
    /// store.
    AcceptCopy,
}

/// How a store is opened.
#[derive(Clone)]
pub struct Options {
    /// Size of sled's page cache in bytes. Its real memory use can be several times this.
    pub cache_bytes: u64,
    /// Most commits that wait for the committer; further callers wait for a place in the queue.
    pub queue: usize,
    /// Most commits that share one flush.
    pub group: usize,
    /// How often the whole store is exported while it changes. Commits wait while an export is written.
    pub export_every: Duration,
    /// How many exports are kept.
    pub exports_kept: usize,
    /// In bytes: above this size, and above eight times its live data, a store is rebuilt when it is opened.
    pub rebuild_above: u64,
    /// In bytes: commits are refused while the disk has less free space than this; reads go on.
    pub min_free_bytes: u64,
    /// What to do when the database is missing or cannot be read.
    pub recovery: Recovery,
    /// Wraps the call that makes a group durable; see [`around_disk_sync`](Options::around_disk_sync).
    pub disk_sync: Option<WrapSync>,
    /// Called after every flush.
    pub observer: Option<Arc<dyn Observer>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cache_bytes: 32 << 20,
            queue: 1024,
            group: 256,
            export_every: Duration::from_secs(600),
            exports_kept: 3,
            rebuild_above: 64 << 20,
            min_free_bytes: 32 << 20,
            recovery: Recovery::Refuse,
            disk_sync: None,
            observer: None,
        }
    }
}

impl Options {
    /// Chooses what to do with a database that is not as the store left it.
    #[must_use]
    pub fn recovering(mut self, recovery: Recovery) -> Self {
        self.recovery = recovery;
        self
    }

    /// Sets who is called after every flush.
    #[must_use]
    pub fn observed_by(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Wraps the real call that makes a group durable: to measure it, to check its order against the acknowledgements,
    /// or to make it fail.
    #[must_use]
    pub fn around_disk_sync(
        mut self,
        wrap: impl Fn(Box<dyn DiskSync>) -> Box<dyn DiskSync> + Send + Sync + 'static,
    ) -> Self {
        self.disk_sync = Some(Arc::new(wrap));
        self
    }
}
