//! Scans: their states, and running them in the background. What they read is in [`read`], what they write in [`apply`].
//!
//! A scan that a restart interrupted goes on: schemas and tables are listed again, and tables that it had read already
//! are passed over.

pub mod apply;
pub mod control;
pub mod facts;
mod read;

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use mms_server::{CancellationToken, Critical};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::core::Core;
use crate::error::{CatalogError, Result};
use crate::key;
use crate::record;
use crate::store::ScanKey;

/// The states of a scan; the numbers are those of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum ScanState {
    /// Waits for its turn.
    Pending = 1,
    /// Reads.
    Running = 2,
    /// Everything in scope was read.
    Done = 3,
    /// Some objects could not be read.
    Partial = 4,
    /// Could not be done at all.
    Failed = 5,
    /// Somebody cancelled it.
    Cancelled = 6,
}

impl ScanState {
    /// The state of a scan; a number of a newer release is taken for an end.
    pub fn of(scan: &record::Scan) -> Self {
        Self::try_from(scan.state).unwrap_or(Self::Failed)
    }

    /// Whether it has not ended.
    pub fn is_live(self) -> bool {
        matches!(self, Self::Pending | Self::Running)
    }
}

/// How often the use of a data source is prolonged while it is scanned.
const PROLONG: Duration = Duration::from_secs(20);
/// Waits between attempts while the registry or the storage does not answer, growing up to the second figure.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));
/// After so many attempts in a row that failed so, a scan fails.
const RETRIES: u32 = 40;

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
}

/// Starts every scan that a restart interrupted.
pub fn resume(core: &Core) -> Result<()> {
    for (key, scan) in core.store.read(|read| control::live(read))? {
        tracing::info!(scan = key::scan_name(&key), "the scan goes on");
        start(core, key, scan.number);
    }
    Ok(())
}

/// Runs a scan in the background.
pub fn start(core: &Core, key: ScanKey, number: u64) {
    let token = core.shutdown.child_token();
    core.scans.running.lock().insert(key.clone(), token.clone());
    let core = core.clone();
    let supervisor = core.supervisor.clone();
    supervisor.spawn("scan", Critical::No, async move {
        let outcome = tokio::select! {
            () = token.cancelled() => None,
            outcome = guarded(run(&core, &key, number)) => Some(outcome),
        };
        core.scans.running.lock().remove(&key);
        // Told to stop, by a caller who has ended it in the store or by the process, which goes on with it later.
        let Some(outcome) = outcome else { return Ok(()) };
        if let Err(error) = settle(&core, &key, number, outcome).await {
            tracing::error!(%error, scan = key::scan_name(&key), "the end of a scan could not be stored");
        }
        Ok(())
    });
}

/// A panic becomes an error, so that a scan always ends.
async fn guarded(scan: impl Future<Output = Result<()>>) -> Result<()> {
    let outcome = AssertUnwindSafe(Box::pin(scan)).catch_unwind().await;
    outcome.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(CatalogError::Panicked(text.unwrap_or_else(|| "a panic without a text".to_owned())))
    })
}

/// The whole of a scan. An error ends it as FAILED.
async fn run(core: &Core, key: &ScanKey, number: u64) -> Result<()> {
    let holder = key::scan_name(key);
    let Ok(_turn) = core.scans.turns.acquire().await else { return Ok(()) };
    drop(patiently(|| core.peers.acquire(&key.0, &holder)).await?);
    let (own, at) = (key.clone(), core.now_ms());
    let scan = core.store.commit(move |tx| apply::begin(tx, &own, number, at)).await?;
    let reading = async {
        let source = patiently(|| core.sources.get(&key.0)).await?;
        read::Reading::new(core, key, &scan, &source).run().await
    };
    tokio::select! {
        done = Box::pin(reading) => done,
        // Only an error ends it: the source was stopped under the scan.
        lost = prolong(core, &key.0, &holder) => lost,
    }
}

async fn prolong(core: &Core, source: &str, holder: &str) -> Result<()> {
    loop {
        tokio::time::sleep(PROLONG).await;
        drop(patiently(|| core.peers.acquire(source, holder)).await?);
    }
}

/// Tries again while the failure may pass by itself.
async fn patiently<T, F: Future<Output = Result<T>>>(mut call: impl FnMut() -> F) -> Result<T> {
    let mut wait = RETRY.0;
    for _ in 1..RETRIES {
        match call().await {
            Err(error) if error.is_transient() => {
                tracing::debug!(%error, "trying again");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(RETRY.1);
            }
            other => return other,
        }
    }
    call().await
}

async fn settle(core: &Core, key: &ScanKey, number: u64, outcome: Result<()>) -> Result<()> {
    let error = match outcome {
        Ok(()) => String::new(),
        // Cancelled, and so ended already.
        Err(CatalogError::ScanEnded(_)) => return release(core, key).await,
        Err(error) => {
            tracing::warn!(%error, scan = key::scan_name(key), "a scan failed");
            error.to_string()
        }
    };
    let (own, at) = (key.clone(), core.now_ms());
    match core.store.commit(move |tx| apply::end(tx, &own, number, at, error)).await {
        Ok(()) | Err(CatalogError::ScanEnded(_)) => release(core, key).await,
        Err(error) => Err(error),
    }
}

/// Gives the use of the source back; one that cannot be given back ends by itself.
pub async fn release(core: &Core, key: &ScanKey) -> Result<()> {
    if let Err(error) = core.peers.release(&key.0, &key::scan_name(key)).await {
        tracing::debug!(%error, "the use of a data source could not be given back");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_ends_a_scan_with_an_error() {
        let ended = guarded(async { panic!("no such {}", "thing") }).await;
        assert!(ended.unwrap_err().to_string().contains("no such thing"));
        assert!(guarded(async { Ok(()) }).await.is_ok());
    }
}
