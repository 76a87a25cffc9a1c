//! Expires leases, stops idle data sources, and deletes what has outlived its retention: request ids, changes kept for watchers,
//! and data sources deleted more than 30 days ago.

use std::ops::ControlFlow;
use std::time::Duration;

use mms_proto::defaults::IDLE_STOP_AFTER;
use mms_server::{BoxError, requests};
use mms_store::{Read, Scope, StoreError, Tx};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::core::Core;
use crate::error::{RegistryError, Result};
use crate::record::{DataSource, Trim};
use crate::source::{self, UNDELETE_MS};
use crate::state::{Event, State};
use crate::store::{CHANGES, SECRETS, SOURCES, STARTED_SOURCES, TRIM, USES};
use crate::{run, sealed};

/// How often leases and idle data sources are checked.
const TICK: Duration = Duration::from_millis(500);
/// Ticks between two rounds of deletion (5 minutes).
const FORGET_EVERY: u64 = 600;
/// Changes kept for watchers that reconnect. A watcher with an older position is sent everything again.
const CHANGES_KEPT: u64 = 1000;
/// Rows deleted in one commit.
const AT_ONCE: usize = 500;

/// Takes over after a restart: every stored use gets a full term, and starts and stops that the earlier process did not finish
/// are abandoned.
pub async fn adopt(core: &Core) -> Result<()> {
    let mut left = Vec::new();
    core.store.read(|read| {
        read.scan(&USES, &Scope::all(), |key, _| {
            core.leases.hold(key, Instant::now());
            ControlFlow::Continue(())
        })?;
        read.scan(&SOURCES, &Scope::all(), |id, source| {
            if matches!(State::of(source.state), State::Starting | State::Stopping) && source.delete_ms == 0 {
                left.push(id);
            }
            ControlFlow::Continue(())
        })?;
        Ok::<_, RegistryError>(())
    })?;
    for id in left {
        let message = "the registry ended while the data source was being started; start it again";
        match core.store.commit(move |tx| source::step(tx, &id, Event::Abandoned, message)).await {
            // Serving the existing data matters more; the next start repeats this.
            Err(RegistryError::Store(StoreError::DiskFull { .. })) => break,
            other => other?,
        };
    }
    Ok(())
}

/// Runs until the process is told to stop.
pub async fn keep_house(core: Core, stop: CancellationToken) -> Result<(), BoxError> {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for round in 0_u64.. {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = tick.tick() => {}
        }
        if let Err(error) = leases(&core).await {
            tracing::error!(%error, "expired leases could not be ended; retrying");
        }
        if round % FORGET_EVERY == 0
            && let Err(error) = forget(&core).await
        {
            tracing::error!(%error, "expired records could not be deleted; next attempt in 5 min");
        }
    }
    Ok(())
}

async fn leases(core: &Core) -> Result<()> {
    let ended = core.leases.expire(Instant::now());
    if !ended.is_empty() {
        let leases = core.leases.clone();
        core.store
            .commit(move |tx| {
                // Skip a use that its holder has acquired again meanwhile.
                for key in ended.iter().filter(|key| !leases.is_held(key)) {
                    tx.delete(&USES, key)?;
                    tracing::info!(data_source = key.0, holder = key.1, "a use has expired");
                }
                Ok::<_, RegistryError>(())
            })
            .await?;
    }
    for (id, source) in started(core)? {
        let Some(limit) = idle_limit(&source) else { continue };
        if core.leases.idle_for(&id, Instant::now()).is_some_and(|idle| idle >= limit) {
            match run::stop(core, &id, false).await {
                Ok(_) => tracing::info!(data_source = id, "the data source is stopped: nobody used it"),
                // Somebody used, stopped or deleted it first.
                Err(RegistryError::InUse { .. } | RegistryError::NotFound(_) | RegistryError::WrongState { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

fn started(core: &Core) -> Result<Vec<(String, DataSource)>> {
    let mut all = Vec::new();
    core.store.read(|read| {
        read.index_scan(&SOURCES, &STARTED_SOURCES, &Scope::all(), |id, source| {
            all.push((id, source));
            ControlFlow::Continue(())
        })
    })?;
    Ok(all)
}

fn idle_limit(source: &DataSource) -> Option<Duration> {
    match source.settings.as_ref().and_then(|settings| settings.idle_stop_after_ms) {
        None => Some(IDLE_STOP_AFTER),
        Some(0) => None,
        Some(ms) => Some(Duration::from_millis(u64::try_from(ms).unwrap_or(0))),
    }
}

async fn forget(core: &Core) -> Result<()> {
    let now_ms = core.now_ms();
    while core.store.commit(move |tx| requests::forget(tx, now_ms)).await? {}
    while core.store.commit(forget_changes).await? {}
    let gone = core.store.commit(move |tx| forget_deleted(tx, now_ms)).await?;
    gone.iter().for_each(|id| core.forget(id));
    Ok(())
}

/// Deletes changes beyond `CHANGES_KEPT`; true if there are more to delete.
fn forget_changes(tx: &mut Tx<'_>) -> Result<bool> {
    let mut kept = 0;
    let mut old = Vec::new();
    tx.scan(&CHANGES, &Scope::all().descending(), |revision, _| {
        kept += 1;
        if kept > CHANGES_KEPT {
            old.push(revision);
        }
        if old.len() < AT_ONCE { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    let Some(newest) = old.first().copied() else { return Ok(false) };
    for revision in &old {
        tx.delete(&CHANGES, revision)?;
    }
    // Several rounds delete the newest first, so keep the highest revision.
    let before = tx.get(&TRIM, &())?.unwrap_or_default().revision;
    tx.put(&TRIM, &(), &Trim { revision: newest.max(before) })?;
    Ok(old.len() == AT_ONCE)
}

fn forget_deleted(tx: &mut Tx<'_>, now_ms: i64) -> Result<Vec<String>> {
    let mut gone = Vec::new();
    tx.scan(&SOURCES, &Scope::all(), |id, source| {
        if source.delete_ms != 0 && now_ms - source.delete_ms > UNDELETE_MS {
            gone.push(id);
        }
        if gone.len() < AT_ONCE { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    for id in &gone {
        tx.delete(&SECRETS, &(sealed::SOURCE.to_owned(), id.clone()))?;
        tx.delete(&SOURCES, id)?;
    }
    Ok(gone)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mms_store::Store;

    #[tokio::test]
    async fn the_newest_changes_are_kept_and_the_trim_says_up_to_where() {
        let store = Store::in_memory(crate::store::schema()).unwrap();
        let old = 2 * AT_ONCE as u64 + 5;
        for _ in 0..CHANGES_KEPT + old {
            store
                .commit(|tx| {
                    let revision = tx.revision();
                    tx.put(&CHANGES, &revision, &crate::record::Change::default())
                })
                .await
                .unwrap();
        }
        let mut rounds = 1;
        while store.commit(forget_changes).await.unwrap() {
            rounds += 1;
        }
        assert_eq!(rounds, 3);
        let (trim, first) = store
            .read(|read| {
                let first = read.page(&CHANGES, &Scope::all(), None, 1)?.items[0].0;
                Ok::<_, RegistryError>((read.get(&TRIM, &())?.unwrap().revision, first))
            })
            .unwrap();
        assert_eq!((trim, first), (old, old + 1));
    }

    #[tokio::test]
    async fn a_deleted_source_goes_for_good_after_its_time() {
        let store = Store::in_memory(crate::store::schema()).unwrap();
        let record = DataSource { delete_ms: 1, ..DataSource::default() };
        store.commit(move |tx| tx.put(&SOURCES, &"a".to_owned(), &record)).await.unwrap();
        let gone = store.commit(|tx| forget_deleted(tx, UNDELETE_MS)).await.unwrap();
        assert!(gone.is_empty());
        let gone = store.commit(|tx| forget_deleted(tx, UNDELETE_MS + 2)).await.unwrap();
        assert_eq!(gone, ["a"]);
    }

    #[test]
    fn idle_limits() {
        let with = |ms| DataSource {
            settings: Some(crate::record::Settings { idle_stop_after_ms: ms, ..Default::default() }),
            ..DataSource::default()
        };
        assert_eq!(idle_limit(&DataSource::default()), Some(IDLE_STOP_AFTER));
        assert_eq!((idle_limit(&with(Some(0))), idle_limit(&with(Some(2)))), (None, Some(Duration::from_millis(2))));
    }
}
