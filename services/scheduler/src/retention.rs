//! Deletes logs, jobs, workers and request ids whose retention has ended, and takes up changes of jobs that were
//! interrupted. A failure is logged and retried with the next round; it never keeps the rest from being done.

use std::time::Duration;

use mms_server::requests;
use mms_store::{Read, Scope, Tx};
use tokio_util::sync::CancellationToken;

use crate::error::{Result, SchedulerError};
use crate::job::{calls, carry, stored};
use crate::key::{EndedKey, JobKey};
use crate::lease::register;
use crate::name;
use crate::pages::clear_some;
use crate::record::JobEvent;
use crate::scheduler::Scheduler;
use crate::store::{ENDED_JOBS, JOBS, LOGS, WORKERS};

/// Pause between two rounds.
const TICK: Duration = Duration::from_secs(20);
const DAY_MS: i64 = 24 * 3600 * 1000;
/// How long logs are kept after their job has ended.
const LOGS_TTL_MS: i64 = 30 * DAY_MS;
/// How long jobs are kept after they have ended.
const JOBS_TTL_MS: i64 = 90 * DAY_MS;
/// How long a silent worker is kept.
const WORKERS_TTL_MS: i64 = 3600 * 1000;
/// Most jobs, and most jobs' logs, that are deleted in one round.
const JOBS_AT_ONCE: usize = 100;

/// Runs until the token is cancelled.
pub async fn run(scheduler: Scheduler, stop: CancellationToken) {
    let started_ms = scheduler.moment().now_ms;
    let mut tick = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        for (what, done) in [
            ("cannot carry a change of a job through; next attempt in 20 s", carry::take_up(&scheduler).await),
            ("cannot delete old jobs; next attempt in 20 s", forget_jobs(&scheduler).await),
            ("cannot delete old logs; next attempt in 20 s", forget_logs(&scheduler).await),
            ("cannot delete silent workers; next attempt in 20 s", forget_workers(&scheduler, started_ms).await),
            ("cannot delete old request ids; next attempt in 20 s", forget_requests(&scheduler).await),
        ] {
            if let Err(error) = done {
                tracing::error!(%error, "{what}");
            }
        }
    }
}

fn ended_before(scheduler: &Scheduler, logs_dropped: bool, before_ms: i64) -> Result<Vec<JobKey>> {
    let at = |end_time_ms| EndedKey { logs_dropped, end_time_ms };
    let scope = Scope::range(at(1)..at(before_ms.max(1)));
    let page = scheduler.store.read(|read| read.index_keys(&JOBS, &ENDED_JOBS, &scope, None, JOBS_AT_ONCE))?;
    Ok(page.items)
}

async fn forget_jobs(scheduler: &Scheduler) -> Result<()> {
    let before = scheduler.moment().now_ms.saturating_sub(JOBS_TTL_MS);
    for key in ended_before(scheduler, true, before)? {
        let _turn = scheduler.turn(&key).await;
        let (own, at) = (key.clone(), scheduler.moment());
        let begin = move |tx: &mut Tx<'_>| match calls::delete(tx, &at, &own, "") {
            Ok(job) => Ok(job.goes_away()),
            // A caller has just started or deleted it.
            Err(SchedulerError::WrongState { .. } | SchedulerError::NotFound(_)) => Ok(false),
            Err(error) => Err(error),
        };
        if scheduler.store.commit(begin).await? {
            carry::carry_on(scheduler, &key).await?;
            tracing::info!(job = name::job_name(&key), "job deleted: its retention of 90 days has ended");
        }
    }
    Ok(())
}

async fn forget_logs(scheduler: &Scheduler) -> Result<()> {
    let before = scheduler.moment().now_ms.saturating_sub(LOGS_TTL_MS);
    for key in ended_before(scheduler, false, before)? {
        let _turn = scheduler.turn(&key).await;
        loop {
            let (own, at) = (key.clone(), scheduler.moment());
            let piece = move |tx: &mut Tx<'_>| {
                let Some(job) = tx.get(&JOBS, &own)? else { return Ok(false) };
                if job.change().is_some() || job.end_time_ms == 0 || job.end_time_ms >= before {
                    return Ok(false);
                }
                if clear_some(tx, &LOGS, &Scope::prefix(&own))? {
                    return Ok(true);
                }
                stored::change_unseen(tx, &at, &own, job, JobEvent::LogsDropped)?;
                Ok::<_, SchedulerError>(false)
            };
            if !scheduler.store.commit(piece).await? {
                break;
            }
        }
    }
    Ok(())
}

/// Deletes workers that were silent for an hour and hold no lease; they must register again. Since it is known only in
/// memory when a worker was last heard of, the hour begins at the earliest with this process.
async fn forget_workers(scheduler: &Scheduler, started_ms: i64) -> Result<()> {
    let now_ms = scheduler.moment().now_ms;
    for page in scheduler.store.pages(&WORKERS, Scope::all(), 1000) {
        for (id, worker) in page? {
            let heard_ms = scheduler.leases.seen(&id).unwrap_or(worker.seen_time_ms.max(started_ms));
            if now_ms.saturating_sub(heard_ms) < WORKERS_TTL_MS {
                continue;
            }
            let (own, instance) = (id.clone(), worker.instance);
            if scheduler.store.commit(move |tx| register::forget(tx, &own, &instance)).await? {
                scheduler.leases.unsee(&id);
            }
        }
    }
    Ok(())
}

async fn forget_requests(scheduler: &Scheduler) -> Result<()> {
    let now_ms = scheduler.moment().now_ms;
    while scheduler.store.commit(move |tx| requests::forget(tx, now_ms)).await? {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Fixture, job_key, scheduler, stopped};
    use crate::job::carry::open_jobs;

    fn has_logs(scheduler: &Scheduler) -> bool {
        let page = scheduler.store.read(|read| read.page(&LOGS, &Scope::all(), None, 1));
        !page.expect("readable").items.is_empty()
    }

    #[tokio::test]
    async fn logs_go_before_their_job_and_each_when_its_time_is_up() {
        let fixture = stopped(2).await;
        let early = scheduler(fixture.store.clone(), || 29 * DAY_MS);
        forget_logs(&early).await.expect("done");
        assert!(has_logs(&early));
        let later = scheduler(fixture.store.clone(), || 31 * DAY_MS);
        forget_logs(&later).await.expect("done");
        forget_jobs(&later).await.expect("done");
        assert!(!has_logs(&later) && fixture.job().logs_dropped);
        let last = scheduler(fixture.store.clone(), || 91 * DAY_MS);
        forget_jobs(&last).await.expect("done");
        assert!(last.store.read(|read| stored::find(read, &job_key())).is_err());
        assert!(open_jobs(&last).expect("readable").is_empty(), "nothing is left to be carried through");
    }

    #[tokio::test]
    async fn a_job_that_is_at_work_is_kept() {
        let fixture = Fixture::new(1).await;
        let scheduler = scheduler(fixture.store.clone(), || 1000 * DAY_MS);
        forget_logs(&scheduler).await.expect("done");
        forget_jobs(&scheduler).await.expect("done");
        assert!(has_logs(&scheduler));
        assert_eq!(open_jobs(&scheduler).expect("readable"), [job_key()]);
    }

    #[tokio::test]
    async fn workers_that_are_silent_and_idle_are_forgotten() {
        let fixture = Fixture::new(1).await;
        fixture.lease("a", 1).await;
        let scheduler = scheduler(fixture.store.clone(), || DAY_MS);
        scheduler.leases.saw("b", DAY_MS - 1);
        let known = || {
            let page = scheduler.store.read(|read| read.page(&WORKERS, &Scope::all(), None, 10)).expect("readable");
            page.items.into_iter().map(|(id, _)| id).collect::<Vec<_>>()
        };
        forget_workers(&scheduler, DAY_MS - 1).await.expect("done");
        assert_eq!(known(), ["a", "b", "ddl", "part"], "a process that has just started has heard of nobody");
        forget_workers(&scheduler, 0).await.expect("done");
        assert_eq!(known(), ["a", "b"], "one holds a lease, and one was heard of");
    }
}
