//! What a store reports about itself: each flush to an observer, and how many records of each class a table has.
//! Nothing here is durable, and nothing here can fail a commit.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

/// A group of commits that has reached the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flush {
    /// Commits of the group that wrote something.
    pub commits: u64,
    /// Bytes of the keys and values that those commits wrote.
    pub bytes: u64,
    /// How long it took to make the group durable.
    pub took: Duration,
}

/// Observes the committer. It is called on the committer's thread, so every commit waits for it.
pub trait Observer: Send + Sync {
    /// A group of commits has reached the disk.
    fn flushed(&self, flush: &Flush);
}

/// How many records a table has, by class.
pub type Census = BTreeMap<u32, u64>;

/// The number of records of each class that a table has, as of the last commit. Clones share the counts.
#[derive(Debug, Clone, Default)]
pub struct Counted(Arc<Mutex<Census>>);

impl Counted {
    /// The present counts; a class without records may be missing.
    pub fn now(&self) -> Census {
        self.0.lock().clone()
    }

    /// The number of records of all classes together.
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
