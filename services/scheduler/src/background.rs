//! What goes on without being asked: leases that run out, notices to the catalog, uses of data sources, forgetting.

use std::collections::BTreeSet;
use std::time::Duration;

use mms_proto::catalog::v1::MigrationReport;
use mms_store::{Read, Scope};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::control;
use crate::convert::version_to;
use crate::core::Core;
use crate::error::Result;
use crate::key;
use crate::lease::{self, LeaseEnd};
use crate::store::{JOBS, JobKey, LIVE_JOBS, NOTICES};
use crate::task;

/// How often leases are looked at; well below any term.
const LEASE_TICK: Duration = Duration::from_millis(250);
/// How often uses are prolonged and old request ids forgotten.
const HOUSE_TICK: Duration = Duration::from_secs(20);
/// Notices told in one call.
const NOTICES_AT_ONCE: usize = 200;

/// Gives every lease that is in the store and not on the clock one full term: at start all of them, later those whose
/// worker went away before it heard of them.
pub fn adopt(core: &Core) -> Result<()> {
    for (key, epoch) in core.store.read(|read| lease::all(read, None))? {
        core.leases.adopt(key, epoch, Instant::now());
    }
    Ok(())
}

/// Ends leases whose holders were not heard of in time.
pub async fn expire(core: Core, stop: CancellationToken) {
    let mut tick = tokio::time::interval(LEASE_TICK);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        if let Err(error) = adopt(&core) {
            tracing::error!(%error, "the leases could not be read");
        }
        for (key, epoch) in core.leases.due(Instant::now()) {
            let at = core.moment();
            let task = key.clone();
            match core.store.commit(move |tx| lease::end(tx, &at, &task, epoch, LeaseEnd::Expired)).await {
                Ok(ended) => {
                    core.leases.end(&key, epoch);
                    if ended {
                        tracing::info!(task = key::task_name(&key), "the lease ran out");
                    }
                }
                Err(error) => tracing::error!(%error, task = key::task_name(&key), "a lease could not be ended"),
            }
        }
    }
}

/// Tells the catalog what became of tables, in order, until it has heard it.
pub async fn tell(core: Core, stop: CancellationToken) {
    let mut changes = core.store.subscribe();
    let mut failures = 0;
    loop {
        changes.mark_unchanged();
        let pause = match tell_all(&core).await {
            Ok(()) => {
                failures = 0;
                None
            }
            Err(error) => {
                failures += 1;
                tracing::warn!(%error, failures, "the catalog could not be told; trying again");
                Some(task::backoff(failures.min(6), core.random()))
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause.unwrap_or_default()), if pause.is_some() => {}
            changed = changes.changed(), if pause.is_none() => if changed.is_err() { return },
        }
    }
}

async fn tell_all(core: &Core) -> Result<()> {
    loop {
        let page = core.store.read(|read| read.page(&NOTICES, &Scope::all(), None, NOTICES_AT_ONCE))?;
        if page.items.is_empty() {
            return Ok(());
        }
        let reports = page.items.iter().map(|(sequence, notice)| MigrationReport {
            task: notice.task.clone(),
            sequence: i64::try_from(*sequence).unwrap_or(i64::MAX),
            table: notice.table.clone(),
            partitions: notice.partitions.clone(),
            state: notice.state,
            version: notice.version.as_ref().map(version_to),
            target: None,
        });
        core.peers.report(reports.collect()).await?;
        let told: Vec<u64> = page.items.into_iter().map(|(sequence, _)| sequence).collect();
        core.store
            .commit(move |tx| {
                for sequence in &told {
                    tx.delete(&NOTICES, sequence)?;
                }
                Ok::<_, crate::error::SchedulerError>(())
            })
            .await?;
    }
}

/// Prolongs the uses of data sources by live jobs, gives those of ended jobs back, and forgets old request ids.
pub async fn keep_house(core: Core, stop: CancellationToken) {
    let mut tick = tokio::time::interval(HOUSE_TICK);
    let mut held: BTreeSet<JobKey> = BTreeSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        if let Err(error) = uses(&core, &mut held).await {
            tracing::warn!(%error, "the uses of data sources could not be prolonged");
        }
        let at = core.moment();
        if let Err(error) = core.store.commit(move |tx| control::forget_requests(tx, &at)).await {
            tracing::error!(%error, "old request ids could not be forgotten");
        }
    }
}

async fn uses(core: &Core, held: &mut BTreeSet<JobKey>) -> Result<()> {
    let live = core.store.read(|read| read.index_keys(&JOBS, &LIVE_JOBS, &Scope::all(), None, 1000))?;
    let live: BTreeSet<JobKey> = live.items.into_iter().collect();
    for ended in held.difference(&live) {
        core.leases.forget(ended);
        core.peers.release(&ended.0, &key::job_name(ended)).await?;
    }
    for job in &live {
        core.peers.acquire(&job.0, &key::job_name(job)).await?;
    }
    *held = live;
    Ok(())
}
