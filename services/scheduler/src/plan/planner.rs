//! Which jobs are planned when: each beside the others, so many tables of a source at once, and again after a pause when an end
//! did not answer. A plan that was interrupted goes on with the first table that is not planned. What a table's plan is, is
//! the business of [`super::table`].

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

/// Jobs that are planned at once.
const JOBS_AT_ONCE: usize = 32;
/// Tables that are read together, so that commits come in between.
const TABLES_READ_AT_ONCE: usize = 500;
/// Tables of one source that are planned at once.
const TABLES_AT_A_TIME: usize = 4;

/// Plans every job that is to be planned, each beside the others, until the token is cancelled.
pub async fn run(scheduler: Scheduler, stop: CancellationToken) {
    let mut changes = scheduler.store.subscribe();
    // Over all jobs of a source: each table has its log read by the catalog.
    let lanes = Turns::new(TABLES_AT_A_TIME);
    let mut plans = JoinSet::new();
    let mut busy: HashSet<JobKey> = HashSet::new();
    let mut resting: HashMap<JobKey, Rest> = HashMap::new();
    loop {
        changes.mark_unchanged();
        match scheduler.store.read(|read| tasks::planning(read)) {
            Err(error) => tracing::error!(%error, "the jobs that are to be planned could not be read"),
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
        // While there is no room, the end of a plan wakes this up.
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

/// A job whose plan was interrupted waits.
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
    tracing::warn!(%error, failures, job = name::job_name(&key), "planning is interrupted and tried again");
    let until = Instant::now() + backoff(failures.min(6), scheduler.random());
    resting.insert(key, Rest { failures, until });
}

/// Plans what is not planned of a job. An error is one to try again after.
async fn plan_once(
    scheduler: &Scheduler,
    lanes: &Turns<String>,
    stop: &CancellationToken,
    key: &JobKey,
    job: &Job,
) -> Result<()> {
    match plan_job(scheduler, lanes, stop, key, job).await {
        Ok(()) => Ok(()),
        // A job whose source was stopped by force is stopped too, by whoever holds the uses of sources.
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
    // As it is with its limits.
    let Some(job) = &scheduler.store.read(|read| read.get(&JOBS, key))?.filter(|now| now.uid() == job.uid()) else {
        return Ok(());
    };
    let storing = Mutex::new(());
    let (store, own) = (scheduler.store.clone(), key.clone());
    // Up to 100,000 tables: not on a thread that others wait for.
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
            // The tables beside it are not its fault.
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

/// Plans a table, or blocks it if its ends did not answer for long. False: the job is gone or stopped.
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
