//! Runs of timers, inside a commit. A run begins when its timer is due or a caller triggers it, and ends in the commit
//! that makes its job. So each run that says it made a job made exactly one, whenever the process dies.

use mms_proto::scheduler::v1::TimerRunState;
use mms_store::{Read, Tx};

use super::due::{self, Step};
use crate::error::{Result, SchedulerError};
use crate::job::calls;
use crate::key::{JobKey, RunKey, TimerKey};
use crate::moment::Moment;
use crate::name;
use crate::record::{Asked, Job, Reason, RunEvent, Timer, TimerEvent, TimerRun};
use crate::store::{JOBS, TIMER_RUNS, TIMERS};

/// Runs of a timer that are kept.
const RUNS_KEPT: u64 = 1_000;

/// Returns the timer.
pub fn find(read: &impl Read, key: &TimerKey) -> Result<Timer> {
    read.get(&TIMERS, key)?.ok_or_else(|| SchedulerError::NotFound(name::timer_name(key)))
}

/// Stores a changed timer, which gets a new etag.
pub fn keep(tx: &mut Tx<'_>, key: &TimerKey, mut timer: Timer) -> Result<Timer> {
    timer.stored_in(tx.revision());
    tx.put(&TIMERS, key, &timer)?;
    Ok(timer)
}

/// Returns the name of the job that a timer made last, if it is not at rest.
pub fn alive(read: &impl Read, key: &TimerKey, timer: &Timer) -> Result<Option<String>> {
    if timer.last_job.is_empty() {
        return Ok(None);
    }
    let job = JobKey { data_source: key.data_source.clone(), job: timer.last_job.clone() };
    let alive = read.get(&JOBS, &job)?.is_some_and(|job| !job.is_at_rest());
    Ok(alive.then(|| name::job_name(&job)))
}

/// Begins the run of a timer that is due. Returns whether it was. `uid` becomes the run's.
pub fn due(tx: &mut Tx<'_>, at: &Moment, key: &TimerKey, uid: String) -> Result<bool> {
    let Some(mut timer) = tx.get(&TIMERS, key)?.filter(|timer| timer.is_due(at.now_ms)) else { return Ok(false) };
    let first = timer.next_time_ms;
    let moment = timer.schedule().map_or(first, |schedule| due::last_moment(&schedule, first, at.now_ms));
    timer.apply(at, TimerEvent::Due)?;
    let alive = alive(tx, key, &timer)?;
    let step = due::at_moment(&timer, moment, at.now_ms, alive.as_deref());
    begin(tx, at, key, timer, TimerRun::new(uid, moment, at.now_ms), step)?;
    Ok(true)
}

/// Begins a run that a caller triggers. `uid` becomes the run's.
pub fn trigger(tx: &mut Tx<'_>, at: &Moment, key: &TimerKey, uid: String) -> Result<(RunKey, TimerRun)> {
    let timer = find(tx, key)?;
    let alive = alive(tx, key, &timer)?;
    let step = due::overlap(&timer, alive.as_deref());
    begin(tx, at, key, timer, TimerRun::new(uid, 0, at.now_ms), step)
}

fn begin(
    tx: &mut Tx<'_>,
    at: &Moment,
    key: &TimerKey,
    mut timer: Timer,
    mut run: TimerRun,
    step: Step,
) -> Result<(RunKey, TimerRun)> {
    timer.apply(at, TimerEvent::RunBegan { waits: step == Step::Run })?;
    if let Step::Skip(reason) = step {
        run.apply(RunEvent::Skipped(reason))?;
    }
    let run_key = RunKey { timer: key.clone(), number: timer.last_run };
    tx.put(&TIMER_RUNS, &run_key, &run)?;
    if let Some(old) = timer.last_run.checked_sub(RUNS_KEPT) {
        tx.delete(&TIMER_RUNS, &RunKey { timer: key.clone(), number: old })?;
    }
    keep(tx, key, timer)?;
    Ok((run_key, run))
}

/// Returns the run of a timer that waits, if there is one.
pub fn waiting(read: &impl Read, key: &TimerKey) -> Result<Option<(Timer, RunKey, TimerRun)>> {
    let Some(timer) = read.get(&TIMERS, key)? else { return Ok(None) };
    let Some(number) = timer.waiting else { return Ok(None) };
    let run_key = RunKey { timer: key.clone(), number };
    let run = read.get(&TIMER_RUNS, &run_key)?.filter(|run| run.state() == TimerRunState::Waiting);
    Ok(run.map(|run| (timer, run_key, run)))
}

/// Makes the job of the waiting run. Returns false, and changes nothing, if this run no longer waits or an earlier job
/// of the timer has not ended.
pub fn make(tx: &mut Tx<'_>, at: &Moment, key: &TimerKey, run_uid: &str, job_uid: &str) -> Result<bool> {
    let Some((mut timer, run_key, mut run)) = waiting(tx, key)?.filter(|(_, _, run)| run.uid() == run_uid) else {
        return Ok(false);
    };
    if alive(tx, key, &timer)?.is_some() {
        return Ok(false);
    }
    let job_key = JobKey { data_source: key.data_source.clone(), job: run.job_to_make() };
    let asked = Asked {
        uid: job_uid.to_owned(),
        display_name: job_key.job.clone(),
        spec: timer.told.spec.clone(),
        creator: timer.maker.clone(),
        create_time_ms: at.now_ms,
        timer: key.timer.clone(),
        ..Asked::default()
    };
    calls::create(tx, &job_key, Job::new(asked))?;
    run.apply(RunEvent::Made { job: job_key.job.clone() })?;
    timer.apply(at, TimerEvent::RunEnded { job: Some(job_key.job) })?;
    tx.put(&TIMER_RUNS, &run_key, &run)?;
    keep(tx, key, timer)?;
    Ok(true)
}

/// Ends the waiting run without a job. `stops`: the timer stops too, until a caller resumes it.
pub fn fail(tx: &mut Tx<'_>, at: &Moment, key: &TimerKey, run_uid: &str, reason: Reason, stops: bool) -> Result<()> {
    let Some((mut timer, run_key, mut run)) = waiting(tx, key)?.filter(|(_, _, run)| run.uid() == run_uid) else {
        return Ok(());
    };
    run.apply(RunEvent::Failed(reason.clone()))?;
    timer.apply(at, TimerEvent::RunEnded { job: None })?;
    if stops {
        timer.apply(at, TimerEvent::Stopped(reason))?;
    }
    tx.put(&TIMER_RUNS, &run_key, &run)?;
    keep(tx, key, timer)?;
    Ok(())
}

/// Notes that a scan has started for the waiting run.
pub fn scanning(tx: &mut Tx<'_>, key: &TimerKey, run_uid: &str, scan: String) -> Result<()> {
    let Some((_, run_key, mut run)) = waiting(tx, key)?.filter(|(_, _, run)| run.uid() == run_uid) else {
        return Ok(());
    };
    run.apply(RunEvent::Scanning { scan })?;
    Ok(tx.put(&TIMER_RUNS, &run_key, &run)?)
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
