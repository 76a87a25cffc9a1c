//! Runs scans in the background. [`read`] is what they read, [`apply`] what they write.
//!
//! A scan that a restart interrupted is resumed: schemas and tables are listed again, and tables that were already read are
//! skipped. A scan holds a use of its data source and always ends with a state, also after a panic.

pub mod apply;
pub mod clock;
pub mod control;
pub mod counted;
pub mod facts;
mod read;
pub mod runner;

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use mms_server::peer::TEN_MINUTES;
use mms_server::{Critical, patiently};

use crate::core::Core;
use crate::error::{CatalogError, Result};
use crate::key;
use crate::record::Scan;
use crate::store::ScanKey;

/// How often a scan renews its use of the data source.
const PROLONG: Duration = Duration::from_secs(20);
/// Resumes every scan that a restart interrupted.
pub fn resume(core: &Core) -> Result<()> {
    for (key, scan) in core.store.read(|read| control::live(read))? {
        tracing::info!(scan = key::scan_name(&key), "the scan is resumed after a restart");
        start(core, key, scan.number);
    }
    Ok(())
}

/// Runs a scan in the background.
pub fn start(core: &Core, key: ScanKey, number: u64) {
    let token = core.shutdown.child_token();
    core.scans.began(key.clone(), token.clone());
    let core = core.clone();
    let supervisor = core.supervisor.clone();
    supervisor.spawn("scan", Critical::No, async move {
        let outcome = tokio::select! {
            () = token.cancelled() => None,
            outcome = guarded(run(&core, &key, number)) => Some(outcome),
        };
        core.scans.ended(&key);
        // Cancelled: by a caller who has ended the scan in the store, or because the process stops and will resume it.
        let Some(outcome) = outcome else { return Ok(()) };
        if let Err(error) = settle(&core, &key, number, outcome).await {
            tracing::error!(%error, scan = key::scan_name(&key), "the end of the scan could not be stored; a restart resumes the scan");
        }
        Ok(())
    });
}

/// Turns a panic into an error, so that a scan always ends.
async fn guarded(scan: impl Future<Output = Result<()>>) -> Result<()> {
    let outcome = AssertUnwindSafe(Box::pin(scan)).catch_unwind().await;
    outcome.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(CatalogError::Panicked(text.unwrap_or_else(|| "a panic without a text".to_owned())))
    })
}

/// Runs a whole scan. An error ends it as FAILED.
async fn run(core: &Core, key: &ScanKey, number: u64) -> Result<()> {
    let holder = key::scan_name(key);
    let Some(_turn) = core.scans.turn().await else { return Ok(()) };
    drop(patiently(TEN_MINUTES, || core.peers.acquire(&key.0, &holder)).await?);
    let (own, at) = (key.clone(), core.now_ms());
    let scan = core.store.commit(move |tx| apply::begin(tx, &own, number, at)).await?;
    tracing::info!(scan = holder, schemas = ?scan.schemas, "the scan begins");
    let reading = async {
        let source = patiently(TEN_MINUTES, || core.sources.get(&key.0)).await?;
        read::Reading::new(core, key, &scan, &source).run().await
    };
    tokio::select! {
        done = Box::pin(reading) => done,
        // This branch returns only with an error: the data source was stopped under the scan.
        lost = prolong(core, &key.0, &holder) => lost,
    }
}

async fn prolong(core: &Core, source: &str, holder: &str) -> Result<()> {
    loop {
        tokio::time::sleep(PROLONG).await;
        drop(patiently(TEN_MINUTES, || core.peers.acquire(source, holder)).await?);
    }
}

async fn settle(core: &Core, key: &ScanKey, number: u64, outcome: Result<()>) -> Result<()> {
    let error = match outcome {
        Ok(()) => String::new(),
        // The scan was cancelled, so its end is stored already.
        Err(CatalogError::ScanEnded(_)) => return release(core, key).await,
        Err(error) => error.to_string(),
    };
    let (own, at) = (key.clone(), core.now_ms());
    match core.store.commit(move |tx| apply::end(tx, &own, number, at, error)).await {
        Ok(scan) => {
            say_end(key, &scan);
            release(core, key).await
        }
        Err(CatalogError::ScanEnded(_)) => release(core, key).await,
        Err(error) => Err(error),
    }
}

/// Logs how a scan ended.
fn say_end(key: &ScanKey, scan: &Scan) {
    let (scan_name, counts, error) = (key::scan_name(key), &scan.progress, &scan.error);
    let (tables, failed, schemas_failed) = (counts.tables_read, counts.tables_failed, counts.schemas_failed);
    let seconds = (scan.end_time_ms - scan.start_time_ms).max(0) / 1_000;
    if !error.is_empty() {
        tracing::warn!(scan = scan_name, tables, failed, schemas_failed, seconds, error, "the scan failed");
    } else if failed + schemas_failed > 0 {
        tracing::warn!(
            scan = scan_name,
            tables,
            failed,
            schemas_failed,
            seconds,
            "the scan is done, but some schemas or tables could not be read"
        );
    } else {
        tracing::info!(scan = scan_name, tables, seconds, "the scan is done");
    }
}

/// Releases the scan's use of the data source. If that fails, the use expires by itself.
pub async fn release(core: &Core, key: &ScanKey) -> Result<()> {
    if let Err(error) = core.peers.release(&key.0, &key::scan_name(key)).await {
        tracing::debug!(%error, "the use of a data source could not be released; it expires by itself");
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
