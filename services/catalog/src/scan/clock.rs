//! Scans that begin by themselves, at the times that a data source's settings say ("Meta Timer"). The registry is watched for those
//! settings, and what comes next is kept, so that no restart misses a moment or has it twice: it moves on in the commit that makes
//! the scan. What passed while the catalog was down is one scan. A moment at which the source is scanned already, or not
//! started, is passed by.

use std::collections::HashMap;
use std::time::Duration;

use mms_http::retry::{Classify, RetryClass};
use mms_proto::ErrorReason;
use mms_proto::registry::v1::{DataSource, WatchDataSourcesRequest};
use mms_schedule::Schedule;
use mms_store::{Read, Scope, Tx};
use parking_lot::Mutex;

use super::control;
use crate::core::Core;
use crate::error::{CatalogError, Result};
use crate::record::{Scan, ScanClock};
use crate::store::{SCAN_CLOCKS, ScanKey};
use crate::{forget, key};

/// How often it is looked whether a scan is due.
const TICK: Duration = Duration::from_secs(1);
/// Pause before the registry is watched again after it went away.
const PAUSE: Duration = Duration::from_secs(3);
/// Sources whose next scans are looked at together.
const AT_ONCE: usize = 1_000;

/// What each data source's settings say, as the registry has told it.
type Told = Mutex<HashMap<String, Option<Schedule>>>;

/// Goes on until the process is told to stop.
pub async fn run(core: Core) {
    let told = Told::default();
    tokio::select! {
        () = core.shutdown.cancelled() => {}
        () = watch(&core, &told) => {}
        () = tick(&core, &told) => {}
    }
}

async fn watch(core: &Core, told: &Told) {
    let mut position = String::new();
    loop {
        if let Err(error) = listen(core, told, &mut position).await {
            tracing::debug!(%error, "data sources are watched again");
            // A position of an earlier life of the registry is none.
            position.clear();
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn listen(core: &Core, told: &Told, position: &mut String) -> Result<()> {
    let request = WatchDataSourcesRequest { position: position.clone(), name: String::new() };
    let mut changes = core.peers.watch(request).await?;
    while let Some(change) = changes.next().await? {
        *position = change.position;
        if let Some(source) = change.data_source {
            let (id, schedule) = schedule_of(&source);
            told.lock().insert(id, schedule);
        }
    }
    Ok(())
}

/// The id of a data source, and when it is scanned. A schedule that this machine cannot read, as its zone is unknown here, is said.
fn schedule_of(source: &DataSource) -> (String, Option<Schedule>) {
    let id = source.name.rsplit('/').next().unwrap_or_default().to_owned();
    let settings = source.settings.as_ref().filter(|_| source.delete_time.is_none());
    let schedule = settings.and_then(|settings| settings.scan_schedule.as_ref()).and_then(|schedule| {
        let read = Schedule::read(schedule, "settings.scan_schedule");
        read.inspect_err(|wrong| tracing::error!(source = id, ?wrong, "its scan schedule cannot be read here")).ok()
    });
    (id, schedule)
}

async fn tick(core: &Core, told: &Told) {
    let mut tick = tokio::time::interval(TICK);
    loop {
        tick.tick().await;
        let news: Vec<(String, Option<Schedule>)> = told.lock().drain().collect();
        for (source, schedule) in news {
            let now_ms = core.now_ms();
            let (own, again) = (source.clone(), schedule.clone());
            if let Err(error) = core.store.commit(move |tx| set(tx, &own, schedule.as_ref(), now_ms)).await {
                tracing::error!(%error, source, "its scan schedule could not be stored, and is tried again");
                told.lock().entry(source).or_insert(again);
            }
        }
        match due(core) {
            Err(error) => tracing::error!(%error, "the scans that are due could not be read"),
            Ok(sources) => {
                for source in sources {
                    if let Err(error) = begin(core, &source).await {
                        tracing::warn!(%error, source, "its scan is due, and is tried again");
                    }
                }
            }
        }
    }
}

/// Keeps when a source is scanned next, if what its settings say has changed.
pub fn set(tx: &mut Tx<'_>, source: &str, schedule: Option<&Schedule>, now_ms: i64) -> Result<()> {
    let own = source.to_owned();
    let known = tx.get(&SCAN_CLOCKS, &own)?;
    match schedule {
        None if known.is_some() => tx.delete(&SCAN_CLOCKS, &own).map(drop)?,
        Some(schedule) if known.as_ref().is_none_or(|clock| clock.schedule != schedule.to_string()) => {
            let next_time_ms = schedule.next_after(now_ms).unwrap_or(i64::MAX);
            tx.put(&SCAN_CLOCKS, &own, &ScanClock { schedule: schedule.to_string(), next_time_ms })?;
        }
        _ => {}
    }
    Ok(())
}

fn due(core: &Core) -> Result<Vec<String>> {
    let now_ms = core.now_ms();
    let mut due = Vec::new();
    for page in core.store.pages(&SCAN_CLOCKS, Scope::all(), AT_ONCE) {
        due.extend(page?.into_iter().filter(|(_, clock)| clock.next_time_ms <= now_ms).map(|(source, _)| source));
    }
    Ok(due)
}

/// What became of a moment.
#[derive(Debug, PartialEq)]
pub enum Moment {
    /// A scan was made.
    Scan(Box<Scan>),
    /// The source is being scanned already, by this scan.
    Busy(String),
    /// It was dealt with, or is not any more.
    Past,
}

/// Makes the scan of a source that is due, and moves its clock on. `scan` none: only the latter.
pub fn pass(tx: &mut Tx<'_>, key: &ScanKey, scan: Option<Scan>, now_ms: i64) -> Result<Moment> {
    let Some(mut clock) = tx.get(&SCAN_CLOCKS, &key.0)?.filter(|clock| clock.next_time_ms <= now_ms) else {
        return Ok(Moment::Past);
    };
    let next = clock.schedule.parse::<Schedule>().ok().and_then(|schedule| schedule.next_after(now_ms));
    clock.next_time_ms = next.unwrap_or(i64::MAX);
    tx.put(&SCAN_CLOCKS, &key.0, &clock)?;
    let Some(scan) = scan else { return Ok(Moment::Past) };
    match control::create(tx, key, scan) {
        Ok(scan) => Ok(Moment::Scan(Box::new(scan))),
        Err(CatalogError::ScanRunning(other)) => Ok(Moment::Busy(other)),
        Err(error) => Err(error),
    }
}

fn is_gone(error: &CatalogError) -> bool {
    matches!(error, CatalogError::Peer(peer) if peer.error.reason == ErrorReason::NotFound)
}

/// Begins the scan of a source that is due.
async fn begin(core: &Core, source: &str) -> Result<()> {
    let key: ScanKey = (source.to_owned(), format!("s{}", uuid::Uuid::now_v7().simple()));
    let held = match core.peers.acquire(source, &key::scan_name(&key)).await {
        Ok(uid) => {
            forget::adopt(&core.store, source, &uid).await?;
            true
        }
        Err(error) if error.retry_class() != RetryClass::Permanent => return Err(error),
        Err(error) if is_gone(&error) => {
            // The registry tells of one that comes back.
            let own = source.to_owned();
            return core.store.commit(move |tx| set(tx, &own, None, 0)).await;
        }
        Err(error) => {
            tracing::warn!(%error, source, "its scan was due, and is passed by");
            false
        }
    };
    let now_ms = core.now_ms();
    let scan = Scan { uid: uuid::Uuid::now_v7().to_string(), create_time_ms: now_ms, ..Scan::default() };
    let own = key.clone();
    let passed = core.store.commit(move |tx| pass(tx, &own, held.then_some(scan), now_ms)).await;
    match passed {
        Ok(Moment::Scan(scan)) => {
            tracing::info!(scan = key::scan_name(&key), "its time has come");
            super::start(core, key, scan.number);
            return Ok(());
        }
        Ok(Moment::Busy(other)) => {
            tracing::warn!(source, scan = other, "a scan is due while another runs, and is passed by")
        }
        Ok(Moment::Past) => {}
        Err(error) => {
            super::release(core, &key).await?;
            return Err(error);
        }
    }
    if held { super::release(core, &key).await } else { Ok(()) }
}

#[cfg(test)]
#[path = "clock_tests.rs"]
mod tests;
