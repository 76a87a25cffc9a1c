//! Runs the planning of all jobs in state PLANNING, in the background. At most [`JOBS_AT_ONCE`] jobs are planned at the
//! same time, and at most [`TABLES_AT_A_TIME`] tables of one data source. A plan that failed with a transient error is
//! retried after a backoff, and one that was interrupted continues with the tables that are not planned yet.
//! [`super::table`] plans a single table.

use std::collections::{HashMap, HashSet};

use futures::{StreamExt, stream};
use mms_server::Turns;
use mms_store::{Read, Scope, Store, StoreError};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::table::reason_of;
use super::{listing, table, tasks};
use crate::error::{Result, SchedulerError};
use crate::key::{JobKey, TableKey};
use crate::name;
use crate::record::{Job, backoff};
use crate::report::tell;
use crate::scheduler::Scheduler;
use crate::store::{JOB_TABLES, JOBS};

/// Jobs that are planned at the same time.
const JOBS_AT_ONCE: usize = 32;
/// Tables per page of a read, so that commits get a turn between the pages.
const TABLES_READ_AT_ONCE: usize = 500;
/// Tables of one data source that are planned at the same time, over all its jobs.
const TABLES_AT_A_TIME: usize = 4;

/// Plans all jobs that are in state PLANNING, concurrently, until the token is cancelled.
pub async fn run(scheduler: Scheduler, stop: CancellationToken) {
    let mut changes = scheduler.store.subscribe();
    // Shared by all jobs of a data source: for each table the catalog reads a whole log.
    let lanes = Turns::new(TABLES_AT_A_TIME);
    let mut plans = JoinSet::new();
    let mut busy: HashSet<JobKey> = HashSet::new();
    let mut resting: HashMap<JobKey, Rest> = HashMap::new();
    loop {
        changes.mark_unchanged();
        match scheduler.store.read(|read| tasks::planning(read)) {
            Err(error) => {
                tracing::error!(%error, "cannot read the jobs to be planned; next attempt at the next change")
            }
            Ok(jobs) => {
                resting.retain(|key, _| jobs.iter().any(|(job, _)| job == key));
                let now = Instant::now();
                for (key, job) in jobs {
                    let rests = resting.get(&key).is_some_and(|rest| rest.until > now);
                    if !rests && busy.len() < JOBS_AT_ONCE && busy.insert(key.clone()) {
                        let (scheduler, lanes, stop) = (scheduler.clone(), lanes.clone(), stop.clone());
                        plans.spawn(async move { (plan_once(&scheduler, &lanes, &stop, &key, &job).await, key) });
                    }
                }
            }
        }
        // Without room for another job no timer is needed: the end of a running plan wakes the loop.
        let room = busy.len() < JOBS_AT_ONCE;
        let wake = resting.iter().filter(|(key, _)| room && !busy.contains(*key)).map(|(_, rest)| rest.until).min();
        tokio::select! {
            () = stop.cancelled() => return,
            changed = changes.changed() => if changed.is_err() { return },
            () = tokio::time::sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
            Some(ended) = plans.join_next() => match ended {
                Ok((outcome, key)) => {
                    busy.remove(&key);
                    rest(&scheduler, &mut resting, key, outcome);
                }
                Err(broken) if broken.is_panic() => std::panic::resume_unwind(broken.into_panic()),
                Err(_) => {}
            },
        }
    }
}

/// How long a job waits before its plan is retried.
struct Rest {
    failures: i32,
    until: Instant,
}

fn rest(scheduler: &Scheduler, resting: &mut HashMap<JobKey, Rest>, key: JobKey, outcome: Result<()>) {
    let Err(error) = outcome else {
        resting.remove(&key);
        return;
    };
    let failures = resting.get(&key).map_or(0, |rest| rest.failures) + 1;
    tracing::warn!(%error, failures, job = name::job_name(&key), "planning failed; retrying after a backoff");
    let until = Instant::now() + backoff(failures.min(6), scheduler.random());
    resting.insert(key, Rest { failures, until });
}

/// Plans the tables of a job that are not planned yet. An error means that the plan is to be retried later; any other
/// failure has ended the job.
async fn plan_once(
    scheduler: &Scheduler,
    lanes: &Turns<String>,
    stop: &CancellationToken,
    key: &JobKey,
    job: &Job,
) -> Result<()> {
    match plan_job(scheduler, lanes, stop, key, job).await {
        Ok(()) => Ok(()),
        // A job whose data source was force-stopped is stopped by `source_uses`, not failed here.
        Err(error)
            if error.is_transient() || error.is_source_stopped() || matches!(error, SchedulerError::Store(_)) =>
        {
            scheduler.waits.job(key, reason_of(&error));
            Err(error)
        }
        Err(error) => {
            scheduler.waits.over(key);
            let (key, uid, at) = (key.clone(), job.uid().to_owned(), scheduler.moment());
            scheduler.store.commit(move |tx| tasks::fail(tx, &at, &key, &uid, reason_of(&error))).await
        }
    }
}

async fn plan_job(
    scheduler: &Scheduler,
    lanes: &Turns<String>,
    stop: &CancellationToken,
    key: &JobKey,
    job: &Job,
) -> Result<()> {
    tell::heard(scheduler).await?;
    if !job.scope_listed {
        let used = scheduler.peers.acquire(&key.data_source, &name::job_name(key)).await?;
        let settings = used.data_source.and_then(|source| source.settings).unwrap_or_default();
        listing::list(scheduler, key, job, settings).await?;
    }
    // Read again: listing the scope has stored the job's limits.
    let Some(job) = &scheduler.store.read(|read| read.get(&JOBS, key))?.filter(|now| now.uid() == job.uid()) else {
        return Ok(());
    };
    let storing = Mutex::new(());
    let (store, own) = (scheduler.store.clone(), key.clone());
    // Reads up to 100,000 tables, so not on an async worker thread.
    let tables = tokio::task::spawn_blocking(move || unplanned(&store, &own)).await;
    let tables = tables.map_err(|error| StoreError::ClosurePanicked { message: error.to_string() })??;
    let plan = |table| {
        let storing = &storing;
        async move {
            let _turn = lanes.of(&key.data_source).await;
            if stop.is_cancelled() { Ok(false) } else { plan_or_wait(scheduler, storing, &table, job).await }
        }
    };
    let mut plans = stream::iter(tables).map(plan).buffer_unordered(TABLES_AT_A_TIME);
    let mut first_error = None;
    while let Some(planned) = plans.next().await {
        match planned {
            Ok(true) => {}
            Ok(false) => {
                scheduler.waits.over(key);
                return Ok(());
            }
            // One table's error must not keep the other tables of the job from being planned.
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    if let Some(error) = first_error {
        return Err(error);
    }
    scheduler.waits.over(key);
    let (key, uid, at) = (key.clone(), job.uid().to_owned(), scheduler.moment());
    scheduler.store.commit(move |tx| tasks::finish(tx, &at, &key, &uid)).await
}

/// Plans a table, or blocks it once it has failed with a transient error too often. Returns false if the job was
/// deleted or is no longer PLANNING.
async fn plan_or_wait(scheduler: &Scheduler, storing: &Mutex<()>, key: &TableKey, job: &Job) -> Result<bool> {
    match table::plan(scheduler, storing, key, job).await {
        Err(error) if error.is_transient() && scheduler.waits.table(key, reason_of(&error)) => {
            table::block(scheduler, storing, key, job, &error).await
        }
        planned => planned,
    }
}

fn unplanned(store: &Store, key: &JobKey) -> Result<Vec<TableKey>> {
    let mut tables = Vec::new();
    for page in store.pages(&JOB_TABLES, Scope::prefix(key), TABLES_READ_AT_ONCE) {
        let unplanned = page?.into_iter().filter(|(_, table)| table.plan.moves() && !table.planned);
        tables.extend(unplanned.map(|(key, _)| key));
    }
    Ok(tables)
}
