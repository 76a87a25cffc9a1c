//! Owns the scans that run in this process: limits how many run at once, and lets each be cancelled.

use std::collections::HashMap;

use mms_server::CancellationToken;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::store::ScanKey;

/// The running scans.
pub struct Runner {
    turns: Semaphore,
    running: Mutex<HashMap<ScanKey, CancellationToken>>,
}

impl Runner {
    /// Runs at most `at_once` scans at a time, and at least one.
    pub fn new(at_once: usize) -> Self {
        Self { turns: Semaphore::new(at_once.max(1)), running: Mutex::default() }
    }

    /// Cancels a running scan; does nothing if it does not run here.
    pub fn cancel(&self, key: &ScanKey) {
        if let Some(token) = self.running.lock().get(key) {
            token.cancel();
        }
    }

    /// Registers a scan that `token` cancels.
    pub fn began(&self, key: ScanKey, token: CancellationToken) {
        self.running.lock().insert(key, token);
    }

    /// Removes a scan that has ended.
    pub fn ended(&self, key: &ScanKey) {
        self.running.lock().remove(key);
    }

    /// Waits for this scan's turn, which lasts until the permit is dropped.
    pub async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.turns.acquire().await.ok()
    }
}
