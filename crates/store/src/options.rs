//! What an operator or a test can choose about a store. Owns the defaults and their reasons.

use std::{sync::Arc, time::Duration};

use crate::backend::DiskSync;
use crate::observe::Observer;

/// Puts something around a [`DiskSync`].
pub type WrapSync = Arc<dyn Fn(Box<dyn DiskSync>) -> Box<dyn DiskSync> + Send + Sync>;

/// What to do when the database is missing, cannot be read, or is not the one that was left here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Recovery {
    /// Stop with the reason.
    #[default]
    Refuse,
    /// Build it anew from the newest complete export: what was acknowledged after that export is lost, and the
    /// incarnation grows. Does nothing to a healthy store.
    NewestExport,
    /// Take a database whose directory is not the one it was last opened in, or that has lost its manifest, as a new
    /// incarnation. One that has less than an export or its manifest knows is refused all the same. Does nothing to a
    /// healthy store.
    AcceptCopy,
}

/// How a store is opened.
#[derive(Clone)]
pub struct Options {
    /// sled's page cache. Its real memory use can be several times this.
    pub cache_bytes: u64,
    /// Commits that may wait for the committer; further callers wait for a place.
    pub queue: usize,
    /// Most commits that share one flush.
    pub group: usize,
    /// How often the whole store is exported while it changes. An export holds commits up while it is written.
    pub export_every: Duration,
    /// How many exports are kept.
    pub exports_kept: usize,
    /// Above this size, and above eight times its live data, a store is rebuilt when it is opened.
    pub rebuild_above: u64,
    /// Commits are refused while the disk has less free space than this; reading goes on.
    pub min_free_bytes: u64,
    /// What to do when the database is missing or cannot be read.
    pub recovery: Recovery,
    /// See [`around_disk_sync`](Options::around_disk_sync).
    pub disk_sync: Option<WrapSync>,
    /// Who is told of every flush.
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
    /// Chooses what to do about a database that is not as it was left.
    #[must_use]
    pub fn recovering(mut self, recovery: Recovery) -> Self {
        self.recovery = recovery;
        self
    }

    /// Has somebody told of every flush.
    #[must_use]
    pub fn observed_by(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Puts something around the real call that makes a group durable: to measure it, to watch its order against the
    /// acknowledgements, or to make it fail.
    #[must_use]
    pub fn around_disk_sync(
        mut self,
        wrap: impl Fn(Box<dyn DiskSync>) -> Box<dyn DiskSync> + Send + Sync + 'static,
    ) -> Self {
        self.disk_sync = Some(Arc::new(wrap));
        self
    }
}
