//! What goes on without being asked: leases that run out, and notices to the catalog. What keeps the house in order is in
//! [`crate::house`].

use std::time::Duration;

use mms_proto::catalog::v1::MigrationReport;
use mms_store::{Read, Scope};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::convert::{target_name_to, version_to};
use crate::core::Core;
use crate::error::{Result, SchedulerError};
use crate::key;
use crate::lease::{self, LeaseEnd};
use crate::record::Notice;
use crate::store::{LEASED_TASKS, NOTICES, TASKS, TaskKey};
use crate::task;

/// How often leases are looked at; well below any term.
const LEASE_TICK: Duration = Duration::from_millis(250);
/// Notices told in one call, and the partitions that they name together: the catalog takes a call in one commit.
const NOTICES_AT_ONCE: usize = 200;
const PARTITIONS_AT_ONCE: usize = 20_000;

/// Gives every lease that is in the store and not on the clock one full term: at start all of them, later those whose
/// worker went away before it heard of them. Reads no task that is on the clock: this is done often.
pub fn adopt(core: &Core) -> Result<()> {
    let mut next = None;
    loop {
        let found = core.store.read(|read| {
            let page = read.index_keys(&TASKS, &LEASED_TASKS, &Scope::all(), next.as_ref(), 1000)?;
            let unknown = page.items.iter().filter(|key| !core.leases.knows(key));
            let read_one =
                |key: &TaskKey| Ok::<_, SchedulerError>(read.get(&TASKS, key)?.map(|task| (key.clone(), task)));
            let unknown = unknown.map(read_one).collect::<Result<Vec<_>>>()?;
            Ok::<_, SchedulerError>((unknown, page.next))
        })?;
        for (key, task) in found.0.into_iter().flatten() {
            core.leases.adopt(key, task.epoch(), Instant::now());
        }
        next = found.1;
        if next.is_none() {
            return Ok(());
        }
    }
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
        // The store bounds a page's bytes, and a notice is small beside that.
        let mut notices = core.store.read(|read| read.page(&NOTICES, &Scope::all(), None, NOTICES_AT_ONCE))?.items;
        let mut partitions = 0;
        let fits = notices.iter().take_while(|(_, notice)| {
            partitions += notice.partitions.len();
            partitions <= PARTITIONS_AT_ONCE
        });
        let fits = fits.count().max(1);
        notices.truncate(fits);
        if notices.is_empty() {
            return Ok(());
        }
        match core.peers.report(notices.iter().map(report_of).collect()).await {
            Ok(()) => {}
            Err(error) if !error.is_refused_for_good() => return Err(error),
            // One that is refused will be refused again, and must not keep the others from being heard.
            Err(_) if notices.len() > 1 => {
                for one in &notices {
                    tell_one(core, one).await?;
                }
            }
            Err(error) => tracing::error!(%error, notice = ?notices, "the catalog refuses a report, which is dropped"),
        }
        let told: Vec<u64> = notices.into_iter().map(|(sequence, _)| sequence).collect();
        core.store.commit(move |tx| told.iter().try_for_each(|at| tx.delete(&NOTICES, at).map(drop))).await?;
    }
}

async fn tell_one(core: &Core, one: &(u64, Notice)) -> Result<()> {
    match core.peers.report(vec![report_of(one)]).await {
        Err(error) if error.is_refused_for_good() => {
            tracing::error!(%error, notice = ?one, "the catalog refuses a report, which is dropped");
            Ok(())
        }
        other => other,
    }
}

fn report_of((sequence, notice): &(u64, Notice)) -> MigrationReport {
    MigrationReport {
        task: notice.task.clone(),
        sequence: i64::try_from(*sequence).unwrap_or(i64::MAX),
        table: notice.table.clone(),
        partitions: notice.partitions.clone(),
        state: notice.state,
        version: notice.version.as_ref().map(version_to),
        target: notice.target.as_ref().map(target_name_to),
    }
}
