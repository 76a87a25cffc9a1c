//! Taking a worker's reports, inside a commit: steps begun and done, attempts failed.

use mms_proto::ErrorReason;
use mms_proto::error::reason_text;
use mms_proto::scheduler::v1::LogLevel;
use mms_proto::types::v1::Verdict;
use mms_store::{Read, Scope, Tx};

use crate::change;
use crate::error::{Result, SchedulerError};
use crate::key;
use crate::lease::{self, Epoch, Holder};
use crate::record::{Check, Reason, Task, Verification};
use crate::rollup::{self, Line, Moment};
use crate::store::{CHECKS, TASKS, TaskKey};
use crate::task::{self, AfterFailure, Step, TaskState};

/// What a verification found.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// What it came to.
    pub summary: Verification,
    /// What was compared.
    pub checks: Vec<Check>,
}

/// What a worker says of a task it holds.
#[derive(Debug, Clone)]
pub enum Event {
    /// A step began.
    Begun(Step),
    /// A step is done.
    Done {
        /// Which.
        step: Step,
        /// Of DATA: rows read.
        rows: i64,
        /// Of DATA: bytes read.
        bytes: i64,
        /// Of VERIFICATION: what it found.
        verification: Option<Found>,
    },
    /// The attempt failed.
    Failed {
        /// Where: the step that is to be done again. One before the step at hand takes the task back to it.
        step: Step,
        /// It will not pass by itself.
        permanent: bool,
        /// Why.
        reason: Reason,
        /// Of VERIFICATION: what it found.
        verification: Option<Found>,
    },
}

/// Takes a report; one that was taken before is taken again, and changes nothing. False: the lease is lost, or the step is
/// out of turn; nothing is written.
pub fn take(
    tx: &mut Tx<'_>,
    at: &Moment,
    key: &TaskKey,
    holder: &Holder,
    epoch: Epoch,
    event: Option<Event>,
    lines: &[(LogLevel, String)],
) -> Result<bool> {
    let before = match lease::held(tx, at, key, holder, epoch) {
        Ok(task) => task,
        Err(SchedulerError::Fenced(_)) => return ended_by(tx, at, key, epoch, event),
        Err(error) => return Err(error),
    };
    let mut task = before.clone();
    let Some(state) = TaskState::of(&task) else { return Ok(false) };
    let steps = task.steps();
    let event = match event {
        Some(Event::Done { step, .. }) if task::is_done(state, step, &steps) => return Ok(true),
        Some(Event::Done { step, .. }) if task::finish(state, step, &steps).is_none() => return Ok(false),
        Some(Event::Begun(step)) if task::begin(state, step, &steps).is_none() => return Ok(false),
        event => event.map(|event| judged(&task, event)),
    };
    let line = |level, message: String| Line { level, worker: holder.worker.clone(), message };
    for (level, text) in lines {
        rollup::log(tx, at, key, &mut task, &line(*level, text.clone()))?;
    }
    match event {
        None => {}
        Some(Event::Begun(step)) => {
            let Some(next) = task::begin(state, step, &steps) else { return Ok(false) };
            task.state = next as i32;
        }
        Some(Event::Done { step, rows, bytes, verification }) => {
            let Some(next) = task::finish(state, step, &steps) else { return Ok(false) };
            let verification = verification.map(|found| keep_checks(tx, key, found)).transpose()?;
            done(&mut task, at, step, next, (rows, bytes), verification);
        }
        Some(Event::Failed { step, permanent, reason, verification }) => {
            let max_attempts = max_attempts(tx, key)?;
            // A step that was not reached is not what failed: those before it are still to be done.
            let step = state.next_step(&steps).map_or(step, |next| step.min(next));
            let compared = verification.is_some() || reason.reason == ErrorReason::VerificationFailed as i32;
            let text = format!("{}: {}", reason_name(reason.reason), reason.message);
            failed(&mut task, at, step, (permanent, compared), max_attempts, reason);
            if let Some(found) = verification {
                task.verification = Some(keep_checks(tx, key, found)?);
            }
            let given_up = TaskState::of(&task).is_some_and(TaskState::is_failed);
            let level = if given_up { LogLevel::Error } else { LogLevel::Warning };
            rollup::log(tx, at, key, &mut task, &line(level, text))?;
        }
    }
    rollup::save(tx, at, key, &before, task)?;
    Ok(true)
}

/// The reason's name, as errors have it.
fn reason_name(number: i32) -> &'static str {
    reason_text(ErrorReason::try_from(number).unwrap_or_default())
}

/// Stores what a verification compared in place of what the one before did.
pub(crate) fn keep_checks(tx: &mut Tx<'_>, key: &TaskKey, found: Found) -> Result<Verification> {
    while change::clear_some(tx, &CHECKS, &Scope::prefix(key))? {}
    let mut total = 0;
    for check in &found.checks {
        tx.put(&CHECKS, &(key.0.clone(), key.1.clone(), key.2, total), check)?;
        total += 1;
    }
    Ok(Verification { checks_kept: total, ..found.summary })
}

/// Whether this very report ended the lease: its answer was lost, and the worker asks again. No other lease was given
/// since, so the epoch tells who asks.
fn ended_by(tx: &Tx<'_>, at: &Moment, key: &TaskKey, epoch: Epoch, event: Option<Event>) -> Result<bool> {
    let Some(task) = tx.get(&TASKS, key)? else { return Ok(false) };
    if task.leased() || task.epoch() != epoch || epoch.incarnation != at.incarnation.number {
        return Ok(false);
    }
    let is_done = TaskState::of(&task) == Some(TaskState::Done);
    Ok(match event.map(|event| judged(&task, event)) {
        Some(Event::Done { step, .. }) => is_done && task.steps().last() == Some(&step),
        Some(Event::Failed { reason, .. }) => !is_done && task.reason == Some(reason),
        Some(Event::Begun(_)) | None => false,
    })
}

/// What a report comes to: a step that is said to be done and cannot be is a failure of it.
fn judged(task: &Task, event: Event) -> Event {
    let failed = |step, reason: ErrorReason, message: String, verification| Event::Failed {
        step,
        permanent: false,
        reason: Reason { reason: reason as i32, message },
        verification,
    };
    match event {
        Event::Done { step: Step::Data, .. } if TaskState::of(task) != Some(TaskState::Done) => {
            let left = task.units.iter().filter(|unit| !unit.published).count();
            if left == 0 {
                return event;
            }
            let message = format!("the worker says that DATA is done, but {left} units were not published by a commit");
            failed(Step::Data, ErrorReason::Internal, message, None)
        }
        Event::Done { step: Step::Verification, verification, .. }
            if verification.as_ref().is_none_or(|found| found.summary.verdict != Verdict::Equal as i32) =>
        {
            let message = match &verification {
                Some(_) => "both sides were not found equal: the checks of the task say what differs",
                None => "the worker says that VERIFICATION is done, but not what it found",
            };
            failed(Step::Verification, ErrorReason::VerificationFailed, message.to_owned(), verification)
        }
        event => event,
    }
}

fn done(
    task: &mut Task,
    at: &Moment,
    step: Step,
    next: TaskState,
    (rows, bytes): (i64, i64),
    verification: Option<Verification>,
) {
    task.state = next as i32;
    if step == Step::Data {
        task.rows_done = rows;
        task.bytes_done = bytes;
    }
    if verification.is_some() {
        task.verification = verification;
    }
    if next == TaskState::Done {
        task.worker.clear();
        task.instance.clear();
        task.reason = None;
        task.checkpoint.clear();
        task.end_time_ms = at.now_ms;
    }
}

fn max_attempts(tx: &Tx<'_>, key: &TaskKey) -> Result<i32> {
    Ok(tx.get(&crate::store::JOBS, &key::job_of(key))?.map_or(1, |job| job.spec.max_attempts))
}

fn failed(
    task: &mut Task,
    at: &Moment,
    step: Step,
    (permanent, compared): (bool, bool),
    max_attempts: i32,
    reason: Reason,
) {
    task.worker.clear();
    task.instance.clear();
    task.failures += 1;
    task.reason = Some(reason);
    // A count that could not be had says nothing against what was published.
    let undecided = step == Step::Verification && !compared;
    if step != Step::Data && !undecided {
        // What was published did not stand the comparison, or what it was written into is not there any more (a worker
        // that misses it in DATA says that SCHEMA failed): it is moved again.
        unpublish(task);
    }
    match task::after_failure(step, permanent, task.failures, max_attempts, at.spread) {
        AfterFailure::Again(state, pause) => {
            let state = if undecided { TaskState::DataDone } else { state };
            task.state = state as i32;
            task.retry_time_ms = at.now_ms.saturating_add(i64::try_from(pause.as_millis()).unwrap_or(i64::MAX));
        }
        AfterFailure::GivenUp(state) => {
            task.state = state as i32;
            task.end_time_ms = at.now_ms;
        }
    }
}

fn unpublish(task: &mut Task) {
    for unit in &mut task.units {
        unit.published = false;
    }
}
