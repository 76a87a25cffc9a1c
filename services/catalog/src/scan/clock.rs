//! Starts scans at the times of each data source's schedule ("Meta Timer"). Watches the registry for the schedules and stores the
//! next time of each; it advances in the commit that creates the scan, so that a restart neither misses nor repeats one. All
//! times missed while the catalog was down become one scan. A time is skipped when the data source is being scanned already, or
//! is not started.

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

/// How often the clock looks for scans that are due.
const TICK: Duration = Duration::from_secs(1);
/// Pause before the registry is watched again after the stream ended.
const PAUSE: Duration = Duration::from_secs(3);
/// Schedules read from the store at a time.
const AT_ONCE: usize = 1_000;

/// The schedules that the registry has reported and that are not stored yet; None: no schedule.
type Told = Mutex<HashMap<String, Option<Schedule>>>;

/// Runs until the process is told to stop.
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
            tracing::debug!(%error, "the watch of data sources ended; it starts again in 3 s");
            // A position of a registry that was restored or replaced is invalid: watch from the beginning.
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

/// The id of a data source and its schedule. Logs a schedule that this machine cannot read because it does not know the time
/// zone.
fn schedule_of(source: &DataSource) -> (String, Option<Schedule>) {
    let id = source.name.rsplit('/').next().unwrap_or_default().to_owned();
    let settings = source.settings.as_ref().filter(|_| source.delete_time.is_none());
    let schedule = settings.and_then(|settings| settings.scan_schedule.as_ref()).and_then(|schedule| {
        let read = Schedule::read(schedule, "settings.scan_schedule");
        read.inspect_err(|wrong| {
            tracing::error!(
                source = id,
                ?wrong,
                "the data source's scan schedule cannot be read here: no scans start by it"
            )
        })
        .ok()
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
                tracing::error!(%error, source, "the data source's scan schedule could not be stored; retrying");
                told.lock().entry(source).or_insert(again);
            }
        }
        match due(core) {
            Err(error) => tracing::error!(%error, "the scans that are due could not be read"),
            Ok(sources) => {
                for source in sources {
                    if let Err(error) = begin(core, &source).await {
                        tracing::warn!(%error, source, "a scan is due and could not be started; retrying");
                    }
                }
            }
        }
    }
}

/// Stores the next time of a data source's scan, if its schedule has changed.
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

/// What happened to a time that was due.
#[derive(Debug, PartialEq)]
pub enum Moment {
    /// A scan was created.
    Scan(Box<Scan>),
    /// Skipped: this scan of the data source is still running.
    Busy(String),
    /// It was handled already or is no longer due, or no scan was to be created.
    Past,
}

/// Creates the scan of a data source that is due, and advances its clock in the same commit. `scan` None: only advances the
/// clock.
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

/// Starts the scan of a data source that is due.
async fn begin(core: &Core, source: &str) -> Result<()> {
    let key: ScanKey = (source.to_owned(), format!("s{}", uuid::Uuid::now_v7().simple()));
    let held = match core.peers.acquire(source, &key::scan_name(&key)).await {
        Ok(uid) => {
            forget::adopt(&core.store, source, &uid).await?;
            true
        }
        Err(error) if error.retry_class() != RetryClass::Permanent => return Err(error),
        Err(error) if is_gone(&error) => {
            // The registry reports a data source that is restored, which sets the schedule again.
            let own = source.to_owned();
            return core.store.commit(move |tx| set(tx, &own, None, 0)).await;
        }
        Err(error) => {
            tracing::warn!(%error, source, "a scan was due and is skipped: the data source cannot be used");
            false
        }
    };
    let now_ms = core.now_ms();
    let scan = Scan { uid: uuid::Uuid::now_v7().to_string(), create_time_ms: now_ms, ..Scan::default() };
    let own = key.clone();
    let passed = core.store.commit(move |tx| pass(tx, &own, held.then_some(scan), now_ms)).await;
    match passed {
        Ok(Moment::Scan(scan)) => {
            tracing::info!(scan = key::scan_name(&key), "a scan starts by its schedule");
            super::start(core, key, scan.number);
            return Ok(());
        }
        Ok(Moment::Busy(other)) => {
            tracing::warn!(source, scan = other, "a scan was due and is skipped: another scan of the data source runs")
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
