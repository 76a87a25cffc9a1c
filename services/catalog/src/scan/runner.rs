//! The scans that run in this process: so many at once, and each can be told to stop.

use std::collections::HashMap;

use mms_server::CancellationToken;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::store::ScanKey;

/// The scans that run in this process.
pub struct Runner {
    turns: Semaphore,
    running: Mutex<HashMap<ScanKey, CancellationToken>>,
}

impl Runner {
    /// A runner of so many scans at once.
    pub fn new(at_once: usize) -> Self {
        Self { turns: Semaphore::new(at_once.max(1)), running: Mutex::default() }
    }

    /// Tells a running scan to stop.
    pub fn cancel(&self, key: &ScanKey) {
        if let Some(token) = self.running.lock().get(key) {
            token.cancel();
        }
    }

    /// A scan begins, which this token ends.
    pub fn began(&self, key: ScanKey, token: CancellationToken) {
        self.running.lock().insert(key, token);
    }

    /// A scan runs no more.
    pub fn ended(&self, key: &ScanKey) {
        self.running.lock().remove(key);
    }

    /// A scan's turn; none when the process ends.
    pub async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.turns.acquire().await.ok()
    }
}
