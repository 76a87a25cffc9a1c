//! Begins the runs of timers that are due, and carries on the runs that wait, in the background. Each step is one
//! commit that can be repeated after a restart. What a run needs of other services is requested before the commit, with
//! an id of the run, so that a repetition makes no second scan, use or job.

use std::collections::HashMap;
use std::time::Duration;

use mms_proto::ErrorReason;
use mms_proto::catalog::v1::{Scan, ScanState};
use mms_proto::types::v1 as types;
use mms_store::{Read, Scope};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{calls, run};
use crate::error::{Result, SchedulerError};
use crate::key::{DueKey, JobKey, TimerKey};
use crate::name;
use crate::plan::table::reason_of;
use crate::record::{Reason, SourceTable, Spec, Timer, TimerRun};
use crate::scheduler::Scheduler;
use crate::store::{DUE_TIMERS, TIMERS, WAITING_TIMERS};

/// How often timers are checked.
const TICK: Duration = Duration::from_secs(1);
/// Timers that are handled in one check.
const AT_ONCE: usize = 1_000;
/// Pause before a run whose step failed is retried.
const PAUSE: Duration = Duration::from_secs(5);

/// Checks timers until the token is cancelled.
pub async fn run(scheduler: Scheduler, stop: CancellationToken) {
    let mut tick = tokio::time::interval(TICK);
    let mut resting: HashMap<TimerKey, Instant> = HashMap::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        if let Err(error) = begin_due(&scheduler).await {
            tracing::error!(%error, "cannot begin the runs of timers that are due; next attempt in 1 s");
        }
        let now = Instant::now();
        resting.retain(|_, until| *until > now);
        match waiting(&scheduler) {
            Err(error) => tracing::error!(%error, "cannot read the timers whose runs wait; next attempt in 1 s"),
            Ok(waiting) => {
                for key in waiting.into_iter().filter(|key| !resting.contains_key(key)).collect::<Vec<_>>() {
                    if let Err(error) = carry_on(&scheduler, &key).await {
                        tracing::warn!(%error, timer = name::timer_name(&key), "a step of the timer's run failed; next attempt in 5 s");
                        resting.insert(key, Instant::now() + PAUSE);
                    }
                }
            }
        }
    }
}

/// Begins the runs of all timers that are due.
pub async fn begin_due(scheduler: &Scheduler) -> Result<()> {
    let at = scheduler.moment();
    let until = Scope::range(..DueKey { next_time_ms: at.now_ms.saturating_add(1) });
    let due = scheduler.store.read(|read| read.index_keys(&TIMERS, &DUE_TIMERS, &until, None, AT_ONCE))?;
    for key in due.items {
        let (own, uid) = (key.clone(), uuid::Uuid::now_v7().to_string());
        if scheduler.store.commit(move |tx| run::due(tx, &at, &own, uid)).await? {
            tracing::info!(timer = name::timer_name(&key), "the timer is due; its run begins");
        }
    }
    Ok(())
}

fn waiting(scheduler: &Scheduler) -> Result<Vec<TimerKey>> {
    let page = scheduler.store.read(|read| read.index_keys(&TIMERS, &WAITING_TIMERS, &Scope::all(), None, AT_ONCE))?;
    Ok(page.items)
}

/// Does the next step of a timer's waiting run, if it can be done now.
pub async fn carry_on(scheduler: &Scheduler, key: &TimerKey) -> Result<()> {
    let found = scheduler.store.read(|read| {
        let Some((timer, _, run)) = run::waiting(read, key)? else { return Ok(None) };
        let alive = run::alive(read, key, &timer)?;
        Ok::<_, SchedulerError>(alive.is_none().then_some((timer, run)))
    })?;
    let Some((timer, run)) = found else { return Ok(()) };
    let (at, own, uid) = (scheduler.moment(), key.clone(), run.uid().to_owned());
    if let Some(reason) = rights_gone(scheduler, &timer) {
        tracing::warn!(
            timer = name::timer_name(key),
            maker = timer.maker,
            "timer stopped: its maker no longer has the role that its job needs"
        );
        return scheduler.store.commit(move |tx| run::fail(tx, &at, &own, &uid, reason, true)).await;
    }
    let ready = match scan_first(scheduler, key, &timer, &run).await {
        Ok(false) => return Ok(()),
        Ok(true) => hold_source(scheduler, key, &run).await,
        Err(error) => Err(error),
    };
    match ready {
        Ok(()) => {
            let job_uid = uuid::Uuid::now_v7().to_string();
            scheduler.store.commit(move |tx| run::make(tx, &at, &own, &uid, &job_uid)).await.map(drop)
        }
        Err(error) if error.is_transient() || matches!(error, SchedulerError::Store(_)) => Err(error),
        Err(error) => {
            let reason = reason_of(&error);
            scheduler.store.commit(move |tx| run::fail(tx, &at, &own, &uid, reason, false)).await
        }
    }
}

/// Returns why a run must not make its job: the timer's maker no longer has the role for it. None if it may.
fn rights_gone(scheduler: &Scheduler, timer: &Timer) -> Option<Reason> {
    let caller = scheduler.caller(&timer.maker);
    let refused = calls::may(&caller, &timer.told.spec).err()?;
    let text = format!("{}: somebody with that role must set its job_spec again", refused.message);
    Some(Reason::new(ErrorReason::MakerRightsGone, text))
}

/// Whether the scan that precedes the job has ended well, or none does. Requests the scan if that was not done yet.
async fn scan_first(scheduler: &Scheduler, key: &TimerKey, timer: &Timer, run: &TimerRun) -> Result<bool> {
    if !timer.told.scan_first {
        return Ok(true);
    }
    if run.scan().is_empty() {
        let scope = scan_scope(&timer.told.spec);
        if let Some(scan) = scheduler.peers.request_scan(&key.data_source, scope, run.uid()).await? {
            let (own, uid) = (key.clone(), run.uid().to_owned());
            scheduler.store.commit(move |tx| run::scanning(tx, &own, &uid, scan)).await?;
        }
        return Ok(false);
    }
    let scan = scheduler.peers.scan(run.scan()).await?;
    match scan.state() {
        ScanState::Unspecified | ScanState::Pending | ScanState::Running => Ok(false),
        // Tables that could not be scanned have their error in the catalog, and the job's plan reports each of them.
        ScanState::Done | ScanState::Partial => Ok(true),
        ScanState::Failed | ScanState::Cancelled => Err(SchedulerError::ScanNotDone {
            scan: scan.name.clone(),
            state: scan.state().as_str_name(),
            error: scan.error,
        }),
    }
}

/// The scope of the scan: the schemas or tables of the job's scope. Tables that its lists exclude are scanned too.
fn scan_scope(spec: &Spec) -> Scan {
    let table = |table: &SourceTable| types::SourceTable { schema: table.schema.clone(), table: table.table.clone() };
    if spec.tables_scope {
        Scan { tables: spec.tables.iter().map(table).collect(), ..Scan::default() }
    } else {
        Scan { schemas: spec.schemas.clone(), ..Scan::default() }
    }
}

/// Acquires the data source for the job that is to be made. An error if it does not exist or is not started.
async fn hold_source(scheduler: &Scheduler, key: &TimerKey, run: &TimerRun) -> Result<()> {
    let job = JobKey { data_source: key.data_source.clone(), job: run.job_to_make() };
    scheduler.peers.acquire(&key.data_source, &name::job_name(&job)).await?;
    Ok(())
}
