//! Creates and cancels scans, inside a commit. A data source has at most one live scan.

use std::ops::ControlFlow;

use mms_store::{Read, Scope, Tx};

use crate::error::{CatalogError, Result};
use crate::key;
use crate::record::{Scan, ScanState};
use crate::store::{LIVE_SCANS, SCANS, SCANS_BY_AGE, SUMMARIES, ScanKey};

/// How many scans of a data source are kept.
pub const SCANS_KEPT: usize = 100;

/// The stored scan; NOT_FOUND if there is none.
pub fn scan(read: &impl Read, key: &ScanKey) -> Result<Scan> {
    read.get(&SCANS, key)?.ok_or_else(|| CatalogError::NotFound(key::scan_name(key)))
}

/// All scans that have not ended, at most one for each data source.
pub fn live(read: &impl Read) -> Result<Vec<(ScanKey, Scan)>> {
    let mut found = Vec::new();
    read.index_scan(&SCANS, &LIVE_SCANS, &Scope::all(), |key, scan| {
        found.push((key, scan));
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

/// Stores a new scan and deletes the oldest ones. Fails when another scan of the data source has not ended.
pub fn create(tx: &mut Tx<'_>, key: &ScanKey, mut scan: Scan) -> Result<Scan> {
    if tx.get(&SCANS, key)?.is_some() {
        return Err(CatalogError::AlreadyExists(key::scan_name(key)));
    }
    let live = tx.index_keys(&SCANS, &LIVE_SCANS, &Scope::exactly(&(key.0.clone(),)), None, 1)?;
    if let Some(running) = live.items.first() {
        return Err(CatalogError::ScanRunning(key::scan_name(running)));
    }
    scan.number = tx.revision();
    scan.revision = tx.revision();
    scan.state = ScanState::Pending as i32;
    tx.put(&SCANS, key, &scan)?;
    let newest_first = Scope::prefix(&(key.0.clone(),)).descending();
    let kept = tx.index_keys(&SCANS, &SCANS_BY_AGE, &newest_first, None, SCANS_KEPT + 1)?;
    for old in kept.items.iter().skip(SCANS_KEPT) {
        tx.delete(&SCANS, old)?;
    }
    let mut summary = tx.get(&SUMMARIES, &key.0)?.unwrap_or_default();
    summary.last_scan = key::scan_name(key);
    tx.put(&SUMMARIES, &key.0, &summary)?;
    Ok(scan)
}

/// Ends a scan as CANCELLED; one that has already ended stays as it is. True: this call ended it.
pub fn cancel(tx: &mut Tx<'_>, key: &ScanKey, now_ms: i64) -> Result<(Scan, bool)> {
    let mut scan = scan(tx, key)?;
    if !ScanState::of(&scan).is_live() {
        return Ok((scan, false));
    }
    scan.state = ScanState::Cancelled as i32;
    scan.end_time_ms = now_ms;
    scan.revision = tx.revision();
    tx.put(&SCANS, key, &scan)?;
    Ok((scan, true))
}
