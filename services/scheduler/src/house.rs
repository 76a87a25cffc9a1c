//! Keeps the house in order: uses of data sources are prolonged, changes that broke off are carried through, and what
//! accumulates is let go when its time is up. Each failure is logged and tried again; none keeps the rest from being done.

use std::collections::BTreeSet;
use std::time::Duration;

use mms_store::{Read, Scope};
use tokio_util::sync::CancellationToken;

use crate::change::{self, Change};
use crate::control;
use crate::core::Core;
use crate::error::{Result, SchedulerError};
use crate::key;
use crate::lease;
use crate::rollup::Moment;
use crate::store::{ENDED_JOBS, JOBS, JobKey, LOGS, OPEN_JOBS, WORKERS};

/// How often uses are prolonged, and everything else is looked at.
const TICK: Duration = Duration::from_secs(20);
const DAY_MS: i64 = 24 * 3600 * 1000;
/// How long logs are kept after the end of their job.
const LOGS_TTL_MS: i64 = 30 * DAY_MS;
/// How long jobs are kept after their end.
const JOBS_TTL_MS: i64 = 90 * DAY_MS;
/// How long a worker is known that is not heard of.
const WORKERS_TTL_MS: i64 = 3600 * 1000;
/// Jobs that are let go in one round.
const JOBS_AT_ONCE: usize = 100;

/// Prolongs the uses of data sources by jobs that have not ended, and gives those of ended jobs back.
pub async fn hold_sources(core: Core, stop: CancellationToken) {
    let mut tick = tokio::time::interval(TICK);
    let mut held: BTreeSet<JobKey> = BTreeSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        match open_jobs(&core) {
            Ok(open) => hold(&core, &mut held, open.into_iter().collect()).await,
            Err(error) => tracing::error!(%error, "the jobs could not be read"),
        }
    }
}

fn open_jobs(core: &Core) -> Result<Vec<JobKey>> {
    let (mut keys, mut next) = (Vec::new(), None);
    loop {
        let page = core.store.read(|read| read.index_keys(&JOBS, &OPEN_JOBS, &Scope::all(), next.as_ref(), 1000))?;
        keys.extend(page.items);
        next = page.next;
        if next.is_none() {
            return Ok(keys);
        }
    }
}

async fn hold(core: &Core, held: &mut BTreeSet<JobKey>, open: BTreeSet<JobKey>) {
    for job in &open {
        match core.peers.acquire(&job.0, &key::job_name(job)).await {
            Ok(_) => drop(held.insert(job.clone())),
            Err(error) => tracing::warn!(%error, job = key::job_name(job), "the use of its source is not prolonged"),
        }
    }
    let ended: Vec<JobKey> = held.difference(&open).cloned().collect();
    for job in ended {
        core.leases.forget(&job);
        match core.peers.release(&job.0, &key::job_name(&job)).await {
            Ok(()) => drop(held.remove(&job)),
            Err(error) => tracing::warn!(%error, job = key::job_name(&job), "the use of its source is not given back"),
        }
    }
}

/// Carries changes through that broke off, and lets go what has been kept long enough.
pub async fn tidy(core: Core, stop: CancellationToken) {
    let started_ms = core.moment().now_ms;
    let mut tick = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        for (what, done) in [
            ("changes of jobs could not be carried through", carry_on(&core).await),
            ("old jobs could not be let go", forget_jobs(&core).await),
            ("old logs could not be let go", forget_logs(&core).await),
            ("old workers could not be let go", forget_workers(&core, started_ms).await),
            ("old request ids could not be forgotten", forget_requests(&core).await),
        ] {
            if let Err(error) = done {
                tracing::error!(%error, "{what}");
            }
        }
    }
}

/// A change whose caller's process died, or whose piece failed.
async fn carry_on(core: &Core) -> Result<()> {
    for key in open_jobs(core)? {
        let job = core.store.read(|read| read.get(&JOBS, &key))?;
        if job.as_ref().and_then(change::of).is_some() {
            let _turn = core.turn(&key).await;
            match core.carry(&key, |_: &mut mms_store::Tx<'_>, _: &Moment| Ok(())).await {
                Err(SchedulerError::TargetOwned { target, job }) => {
                    tracing::warn!(target_table = target, owner = job, "{} does not come back", key::job_name(&key));
                }
                other => drop(other?),
            }
        }
    }
    Ok(())
}

fn ended_before(core: &Core, logs_dropped: u32, before_ms: i64) -> Result<Vec<JobKey>> {
    let scope = Scope::range((logs_dropped, 1)..(logs_dropped, before_ms.max(1)));
    Ok(core.store.read(|read| read.index_keys(&JOBS, &ENDED_JOBS, &scope, None, JOBS_AT_ONCE))?.items)
}

async fn forget_jobs(core: &Core) -> Result<()> {
    let before = core.moment().now_ms.saturating_sub(JOBS_TTL_MS);
    for key in ended_before(core, 1, before)? {
        let _turn = core.turn(&key).await;
        let own = key.clone();
        let begin = move |tx: &mut mms_store::Tx<'_>| match control::delete(tx, &own, "") {
            Ok(job) => Ok(change::of(&job) == Some(Change::Delete)),
            // Somebody started or deleted it just now.
            Err(SchedulerError::WrongState { .. } | SchedulerError::NotFound(_)) => Ok(false),
            Err(error) => Err(error),
        };
        if core.store.commit(begin).await? {
            core.carry(&key, |_: &mut mms_store::Tx<'_>, _: &Moment| Ok(())).await?;
            tracing::info!(job = key::job_name(&key), "let go: its time was up");
        }
    }
    Ok(())
}

async fn forget_logs(core: &Core) -> Result<()> {
    let before = core.moment().now_ms.saturating_sub(LOGS_TTL_MS);
    for key in ended_before(core, 0, before)? {
        let _turn = core.turn(&key).await;
        loop {
            let own = key.clone();
            let piece = move |tx: &mut mms_store::Tx<'_>| {
                let Some(mut job) = tx.get(&JOBS, &own)? else { return Ok(false) };
                if change::of(&job).is_some() || job.end_time_ms == 0 || job.end_time_ms >= before {
                    return Ok(false);
                }
                if change::clear_some(tx, &LOGS, &Scope::prefix(&own))? {
                    return Ok(true);
                }
                job.logs_dropped = true;
                tx.put(&JOBS, &own, &job)?;
                Ok::<_, SchedulerError>(false)
            };
            if !core.store.commit(piece).await? {
                break;
            }
        }
    }
    Ok(())
}

/// A worker that was not heard of for an hour must register again. When it was heard of last is known only since this
/// process lives.
async fn forget_workers(core: &Core, started_ms: i64) -> Result<()> {
    let now_ms = core.moment().now_ms;
    let mut next: Option<String> = None;
    loop {
        let page = core.store.read(|read| read.page(&WORKERS, &Scope::all(), next.as_ref(), 1000))?;
        for (id, worker) in page.items {
            let heard_ms = core.leases.seen(&id).unwrap_or(worker.seen_time_ms.max(started_ms));
            if now_ms.saturating_sub(heard_ms) < WORKERS_TTL_MS {
                continue;
            }
            let (own, instance) = (id.clone(), worker.instance);
            let gone = move |tx: &mut mms_store::Tx<'_>| {
                let same = tx.get(&WORKERS, &own)?.is_some_and(|worker| worker.instance == instance);
                let idle = lease::all(tx, Some(&own))?.is_empty();
                if same && idle {
                    tx.delete(&WORKERS, &own)?;
                }
                Ok::<_, SchedulerError>(same && idle)
            };
            if core.store.commit(gone).await? {
                core.leases.unsee(&id);
            }
        }
        next = page.next;
        if next.is_none() {
            return Ok(());
        }
    }
}

async fn forget_requests(core: &Core) -> Result<()> {
    let at = core.moment();
    core.store.commit(move |tx| control::forget_requests(tx, &at)).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::Step;
    use crate::fixture::{Fixture, core, job_key};

    async fn stopped() -> Fixture {
        let fixture = Fixture::new(2).await;
        fixture.lease("a", 1).await;
        fixture.commit(|tx| control::stop(tx, &job_key())).await.expect("it can be stopped");
        assert!(matches!(fixture.carry(&job_key()).await, Step::Done(Some(_))));
        fixture
    }

    fn has_logs(core: &Core) -> bool {
        let page = core.store.read(|read| read.page(&LOGS, &Scope::all(), None, 1));
        !page.expect("readable").items.is_empty()
    }

    #[tokio::test]
    async fn logs_go_before_their_job_and_each_when_its_time_is_up() {
        let fixture = stopped().await;
        let early = core(fixture.store.clone(), || 29 * DAY_MS);
        forget_logs(&early).await.expect("done");
        assert!(has_logs(&early));
        let later = core(fixture.store.clone(), || 31 * DAY_MS);
        forget_logs(&later).await.expect("done");
        forget_jobs(&later).await.expect("done");
        assert!(!has_logs(&later) && fixture.job().logs_dropped);
        let last = core(fixture.store.clone(), || 91 * DAY_MS);
        forget_jobs(&last).await.expect("done");
        assert!(last.store.read(|read| control::job(read, &job_key())).is_err());
        assert!(open_jobs(&last).expect("readable").is_empty(), "nothing is left to be carried through");
    }

    #[tokio::test]
    async fn a_job_that_is_at_work_is_kept() {
        let fixture = Fixture::new(1).await;
        let core = core(fixture.store.clone(), || 1000 * DAY_MS);
        forget_logs(&core).await.expect("done");
        forget_jobs(&core).await.expect("done");
        assert!(has_logs(&core));
        assert_eq!(open_jobs(&core).expect("readable"), [job_key()]);
    }

    #[tokio::test]
    async fn a_change_that_broke_off_is_carried_through() {
        let fixture = stopped().await;
        fixture.commit(|tx| control::delete(tx, &job_key(), "")).await.expect("it has ended");
        let core = core(fixture.store.clone(), || DAY_MS);
        carry_on(&core).await.expect("done");
        assert!(core.store.read(|read| read.get(&JOBS, &job_key())).expect("readable").is_none());
    }

    #[tokio::test]
    async fn workers_that_are_silent_and_idle_are_forgotten() {
        let fixture = Fixture::new(1).await;
        fixture.lease("a", 1).await;
        let core = core(fixture.store.clone(), || DAY_MS);
        core.leases.saw("b", DAY_MS - 1);
        let known = || {
            let page = core.store.read(|read| read.page(&WORKERS, &Scope::all(), None, 10)).expect("readable");
            page.items.into_iter().map(|(id, _)| id).collect::<Vec<_>>()
        };
        forget_workers(&core, DAY_MS - 1).await.expect("done");
        assert_eq!(known(), ["a", "b", "ddl", "part"], "a process that has just started has heard of nobody");
        forget_workers(&core, 0).await.expect("done");
        assert_eq!(known(), ["a", "b"], "one holds a lease, and one was heard of");
    }
}
