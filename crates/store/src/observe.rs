//! What a store tells about itself: each flush to whoever watches, and how many records of each class a table has. Nothing
//! here is durable, and nothing here can hold up or fail a commit.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

/// A group of commits that is on the disk now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flush {
    /// Commits of the group that wrote something.
    pub commits: u64,
    /// Bytes of the keys and values that they wrote.
    pub bytes: u64,
    /// How long it took to make them durable.
    pub took: Duration,
}

/// Watches the committer. It is called on its thread: every commit waits for it.
pub trait Observer: Send + Sync {
    /// A group of commits is on the disk.
    fn flushed(&self, flush: &Flush);
}

/// By class: how many records a table has.
pub type Census = BTreeMap<u32, u64>;

/// How many records of each class a table has, as of the last commit. Clones are the same count.
#[derive(Debug, Clone, Default)]
pub struct Counted(Arc<Mutex<Census>>);

impl Counted {
    /// The counts now; a class without records may be missing.
    pub fn now(&self) -> Census {
        self.0.lock().clone()
    }

    /// How many records there are of all classes.
    pub fn total(&self) -> u64 {
        self.0.lock().values().sum()
    }

    pub(crate) fn set(&self, census: Census) {
        *self.0.lock() = census;
    }

    pub(crate) fn change(&self, class: u32, by: i64) {
        let mut census = self.0.lock();
        let count = census.entry(class).or_default();
        *count = count.saturating_add_signed(by);
    }
}
