//! Renews the uses of data sources that jobs hold at the registry, and releases them when their jobs come to rest. The
//! commit that ends a job stores what is to be released ([`crate::job::stored`]), so that no restart forgets it. Each
//! renewal returns the source's settings, which then hold for the job; if the source was stopped or deleted by force,
//! the job is stopped.

use std::collections::HashMap;
use std::time::Duration;

use mms_proto::ErrorReason;
use mms_proto::registry::v1::MigrationSettings;
use mms_store::{Read, Scope};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::error::{Result, SchedulerError};
use crate::job::request::Call;
use crate::job::{calls, carry};
use crate::key::{DataSourceKey, JobKey};
use crate::name;
use crate::plan::limits::limits;
use crate::record::{Job, Reason};
use crate::scheduler::Scheduler;
use crate::store::{DENIALS, JOBS, SOURCE_USES};

/// How often uses are renewed, and failed calls retried.
const TICK: Duration = Duration::from_secs(5);
/// Changes of the store within this time are handled together.
const PAUSE: Duration = Duration::from_millis(100);

/// Renews and releases uses until the token is cancelled.
pub async fn hold(scheduler: Scheduler, stop: CancellationToken) {
    let mut changes = scheduler.store.subscribe();
    let mut next: HashMap<JobKey, Next> = HashMap::new();
    loop {
        changes.mark_unchanged();
        if let Err(error) = look(&scheduler, &mut next).await
            && !stop.is_cancelled()
        {
            tracing::error!(%error, "cannot read the uses of data sources; next attempt in 5 s");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(TICK) => {}
            changed = changes.changed() => if changed.is_err() { return },
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// When a use is handled again, unless its job comes to rest or leaves it before.
struct Next {
    at_rest: bool,
    again: Instant,
}

/// Renews or releases every use that is due.
async fn look(scheduler: &Scheduler, next: &mut HashMap<JobKey, Next>) -> Result<()> {
    let mut known = HashMap::new();
    for (key, job) in uses(scheduler)? {
        let (now, at_rest) = (Instant::now(), job.as_ref().is_none_or(Job::is_at_rest));
        if let Some(seen) = next.remove(&key).filter(|seen| seen.at_rest == at_rest && now < seen.again) {
            known.insert(key, seen);
            continue;
        }
        let done = if at_rest { give_back(scheduler, &key).await } else { prolong(scheduler, &key).await };
        if let Err(error) = done {
            tracing::warn!(%error, job = name::job_name(&key), "cannot renew or release the use of the job's data source; next attempt in 5 s");
        }
        known.insert(key, Next { at_rest, again: now + TICK });
    }
    *next = known;
    Ok(())
}

fn uses(scheduler: &Scheduler) -> Result<Vec<(JobKey, Option<Job>)>> {
    let mut uses = Vec::new();
    for page in scheduler.store.pages(&SOURCE_USES, Scope::all(), 1000) {
        for (key, _) in page? {
            let job = scheduler.store.read(|read| read.get(&JOBS, &key))?;
            uses.push((key, job));
        }
    }
    Ok(uses)
}

async fn prolong(scheduler: &Scheduler, key: &JobKey) -> Result<()> {
    let refused = match scheduler.peers.acquire(&key.data_source, &name::job_name(key)).await {
        Ok(used) => {
            let settings = used.data_source.and_then(|source| source.settings).unwrap_or_default();
            return heed(scheduler, key, settings).await;
        }
        Err(error) => error,
    };
    if !refused.is_source_stopped() {
        return Err(refused);
    }
    let text = format!("{refused}: start the data source, then StartJob continues");
    let why = Reason::new(ErrorReason::SourceNotStarted, text);
    tracing::warn!(job = name::job_name(key), %refused, "the registry no longer lets the job use its data source; stopping the job");
    let own = key.clone();
    match carry::change(scheduler.clone(), Call::default(), key.clone(), move |tx, at| {
        calls::stop(tx, at, &own, Some(why))
    })
    .await
    {
        // The job has ended meanwhile, or is being deleted.
        Ok(_) | Err(SchedulerError::WrongState { .. } | SchedulerError::NotFound(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Applies the source's settings to the job. Reads before it writes, because a commit waits for the disk.
async fn heed(scheduler: &Scheduler, key: &JobKey, settings: MigrationSettings) -> Result<()> {
    let job = scheduler.store.read(|read| read.get(&JOBS, key))?;
    if job.is_none_or(|job| !job.scope_listed || limits(job.spec(), settings.clone()) == job.limits) {
        return Ok(());
    }
    let (own, at) = (key.clone(), scheduler.moment());
    if scheduler.store.commit(move |tx| calls::heed(tx, &at, &own, settings)).await? {
        tracing::info!(
            job = name::job_name(key),
            "the settings of the job's data source have changed and hold from now on"
        );
    }
    Ok(())
}

async fn give_back(scheduler: &Scheduler, key: &JobKey) -> Result<()> {
    let _turn = scheduler.turn(key).await;
    if !is_at_rest(scheduler, key)? {
        return Ok(());
    }
    scheduler.leases.forget(key);
    scheduler.peers.release(&key.data_source, &name::job_name(key)).await?;
    let own = key.clone();
    scheduler
        .store
        .commit(move |tx| {
            // The job may have been started meanwhile, and then keeps its use.
            if tx.get(&JOBS, &own)?.is_none_or(|job| job.is_at_rest()) {
                tx.delete(&SOURCE_USES, &own)?;
                let source = DataSourceKey { data_source: own.data_source.clone() };
                if tx.page(&SOURCE_USES, &Scope::prefix(&source), None, 1)?.items.is_empty() {
                    tx.delete(&DENIALS, &source)?;
                }
            }
            Ok(())
        })
        .await
}

fn is_at_rest(scheduler: &Scheduler, key: &JobKey) -> Result<bool> {
    Ok(scheduler.store.read(|read| read.get(&JOBS, key))?.is_none_or(|job| job.is_at_rest()))
}
