//! The interface between typed tables and the storage of their bytes. Owns the contract of a backend; both
//! implementations pass one conformance suite (`tests/it/conformance.rs`).

mod disk_sync;
mod memory;
mod sled;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};

pub use self::disk_sync::{DiskSync, Fdatasync};
pub use self::memory::MemoryBackend;
pub use self::sled::SledBackend;
pub(crate) use self::sled::{OpenFailure, open_database, panic_message};
use crate::error::{Result, StoreError};

/// The writes of one commit: `None` deletes.
pub type Batch = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// The callback of [`View::visit`], called with each key and value.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>> + 'a;

/// Ordered bytes that can be read.
pub trait View {
    /// The value under a key.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>>;
    /// Calls `each` for the keys from `from` (inclusive) to `to` (exclusive), in order, until it breaks or fails.
    fn visit(&self, from: &[u8], to: &[u8], descending: bool, each: &mut Visit<'_>) -> Result<()>;
}

/// Ordered bytes that can be written. Only the committer writes; the store blocks readers while a batch is applied.
pub trait Backend: View + Send + Sync + 'static {
    /// Applies a batch atomically: after a crash all of it is there, or nothing.
    fn apply(&self, batch: Batch) -> Result<()>;
    /// Returns once everything applied before is on the disk.
    fn flush(&self) -> Result<()>;
}

/// Runs a call of the database and turns a panic into an error: sled panics where other databases return one.
pub(crate) fn guarded<T>(call: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(call))
        .unwrap_or_else(|panic| Err(StoreError::corrupt(format!("the database panicked: {}", panic_message(&*panic)))))
}
