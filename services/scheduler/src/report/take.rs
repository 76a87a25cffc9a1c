//! Taking a worker's reports, inside a commit: steps begun and done, attempts failed. What follows for the task is
//! [`crate::record`]'s; this says what is believed.

use mms_proto::ErrorReason;
use mms_proto::error::reason_text;
use mms_proto::scheduler::v1::LogLevel;
use mms_proto::types::v1::Verdict;
use mms_store::{Read, Scope, Tx};

use super::log::{self, Line};
use crate::error::{Result, SchedulerError};
use crate::job::rollup;
use crate::key::{CheckKey, TaskKey};
use crate::lease::held;
use crate::moment::Moment;
use crate::pages::clear_some;
use crate::record::{Check, Epoch, Holder, Reason, Step, Task, TaskEvent, TaskState, Verification};
use crate::scheduler::Scheduler;
use crate::store::{CHECKS, JOBS, TASKS};

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
pub enum Said {
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

/// Takes a report in a commit of its own, as [`take`] does, and takes the lease from the clock if it has ended with it.
pub async fn report(
    scheduler: &Scheduler,
    key: TaskKey,
    holder: Holder,
    epoch: Epoch,
    said: Option<Said>,
    lines: Vec<(LogLevel, String)>,
) -> Result<bool> {
    let (at, task) = (scheduler.moment(), key.clone());
    let taken = move |tx: &mut Tx<'_>| {
        let accepted = take(tx, &at, &task, &holder, epoch, said, &lines)?;
        let leased = tx.get(&TASKS, &task)?.is_some_and(|task| task.leased());
        Ok::<_, SchedulerError>((accepted, leased))
    };
    let (accepted, leased) = scheduler.store.commit(taken).await?;
    if !leased {
        scheduler.leases.end(&key, epoch);
    }
    Ok(accepted)
}

/// Takes a report; one that was taken before is taken again, and changes nothing. False: the lease is lost, or the step is
/// out of turn; nothing is written.
pub fn take(
    tx: &mut Tx<'_>,
    at: &Moment,
    key: &TaskKey,
    holder: &Holder,
    epoch: Epoch,
    said: Option<Said>,
    lines: &[(LogLevel, String)],
) -> Result<bool> {
    let before = match held::held(tx, at, key, holder, epoch) {
        Ok(task) => task,
        Err(SchedulerError::Fenced(_)) => return ended_by(tx, at, key, epoch, said),
        Err(error) => return Err(error),
    };
    if matches!(&said, Some(Said::Done { step, .. }) if before.has_done(*step)) {
        return Ok(true);
    }
    let said = match said {
        Some(said) if out_of_turn(at, &before, &said) => return Ok(false),
        said => said.map(|said| judged(&before, said)),
    };
    let line = |level, message: String| Line { level, worker: holder.worker.clone(), message };
    let mut task = before.clone();
    for (level, text) in lines {
        log::write(tx, at, key, &mut task, &line(*level, text.clone()))?;
    }
    match said {
        None => {}
        Some(Said::Begun(step)) => task.apply(at, TaskEvent::StepBegun(step))?,
        Some(Said::Done { step, rows, bytes, verification }) => {
            let verification = verification.map(|found| keep_checks(tx, key, found)).transpose()?;
            task.apply(at, TaskEvent::StepDone { step, rows, bytes, verification })?;
        }
        Some(Said::Failed { step, permanent, reason, verification }) => {
            let compared = verification.is_some() || reason.reason == ErrorReason::VerificationFailed;
            let text = format!("{}: {}", reason_text(*reason.reason), reason.message);
            let verification = verification.map(|found| keep_checks(tx, key, found)).transpose()?;
            let max_attempts = tx.get(&JOBS, &key.job)?.map_or(1, |job| job.spec().max_attempts);
            task.apply(at, TaskEvent::StepFailed { step, permanent, compared, max_attempts, reason, verification })?;
            let level = if task.state.is_failed() { LogLevel::Error } else { LogLevel::Warning };
            log::write(tx, at, key, &mut task, &line(level, text))?;
        }
    }
    rollup::save(tx, at, key, &before, task)?;
    Ok(true)
}

/// Whether a task does not take what is said where it stands.
fn out_of_turn(at: &Moment, task: &Task, said: &Said) -> bool {
    let event = match said {
        Said::Begun(step) => TaskEvent::StepBegun(*step),
        Said::Done { step, .. } => TaskEvent::StepDone { step: *step, rows: 0, bytes: 0, verification: None },
        Said::Failed { .. } => return false,
    };
    task.clone().apply(at, event).is_err()
}

/// Stores what a verification compared in place of what the one before did.
pub(crate) fn keep_checks(tx: &mut Tx<'_>, key: &TaskKey, found: Found) -> Result<Verification> {
    while clear_some(tx, &CHECKS, &Scope::prefix(key))? {}
    let mut total = 0;
    for check in &found.checks {
        tx.put(&CHECKS, &CheckKey { task: key.clone(), number: total }, check)?;
        total += 1;
    }
    Ok(Verification { checks_total: total, ..found.summary })
}

/// Whether this very report ended the lease: its answer was lost, and the worker asks again. No other lease was given
/// since, so the epoch tells who asks.
fn ended_by(tx: &Tx<'_>, at: &Moment, key: &TaskKey, epoch: Epoch, said: Option<Said>) -> Result<bool> {
    let Some(task) = tx.get(&TASKS, key)? else { return Ok(false) };
    if task.leased() || task.epoch != epoch || !held::is_of(at, epoch) {
        return Ok(false);
    }
    let is_done = task.state == TaskState::Done;
    Ok(match said.map(|said| judged(&task, said)) {
        Some(Said::Done { step, .. }) => is_done && task.steps().last() == Some(&step),
        Some(Said::Failed { reason, .. }) => !is_done && task.reason == Some(reason),
        Some(Said::Begun(_)) | None => false,
    })
}

/// What a report comes to: a step that is said to be done and cannot be is a failure of it.
fn judged(task: &Task, said: Said) -> Said {
    let failed = |step, reason: Reason, verification| Said::Failed { step, permanent: false, reason, verification };
    match said {
        Said::Done { step: Step::Data, .. } if task.state != TaskState::Done => {
            let left = task.units.iter().filter(|unit| !unit.published).count();
            if left == 0 {
                return said;
            }
            let message = format!("the worker says that DATA is done, but {left} units were not published by a commit");
            failed(Step::Data, Reason::new(ErrorReason::Internal, message), None)
        }
        Said::Done { step: Step::Verification, verification, .. }
            if verification.as_ref().is_none_or(|found| found.summary.verdict != Verdict::Equal) =>
        {
            let message = match &verification {
                Some(_) => "both sides were not found equal: the checks of the task say what differs",
                None => "the worker says that VERIFICATION is done, but not what it found",
            };
            failed(Step::Verification, Reason::new(ErrorReason::VerificationFailed, message), verification)
        }
        said => said,
    }
}
