//! Takes workers' reports, inside a commit: steps begun and done, attempts failed. Decides which reports are accepted
//! and what they mean; [`crate::record`] decides what follows for the task.

use mms_proto::ErrorReason;
use mms_proto::error::reason_text;
use mms_proto::scheduler::v1::{CommitOutcome, LogLevel};
use mms_proto::types::v1::Verdict;
use mms_store::{Read, Scope, Tx};

use super::at_target;
use super::at_target::Looked;
use super::log::{self, Line};
use crate::commit::intent;
use crate::error::{Result, SchedulerError};
use crate::job::rollup;
use crate::key::{CheckKey, TaskKey};
use crate::lease::{denied, end, held};
use crate::moment::Moment;
use crate::pages::clear_some;
use crate::record::{Check, Epoch, Holder, Identity, LeaseEnd, Reason, Step, Task, TaskEvent, TaskState, Verification};
use crate::scheduler::Scheduler;
use crate::store::{CHECKS, JOB_TABLES, JOBS, TASKS};

/// The result of a verification.
#[derive(Debug, Clone, Default)]
pub struct Found {
    pub summary: Verification,
    /// What was compared, one entry each.
    pub checks: Vec<Check>,
}

/// What a worker reports of a task that it holds.
#[derive(Debug, Clone)]
pub enum Said {
    /// A step has begun.
    Begun(Step),
    /// A step is done.
    Done {
        step: Step,
        /// Of DATA: rows read.
        rows: i64,
        /// Of DATA: bytes read.
        bytes: i64,
        /// Of VERIFICATION: its result.
        verification: Option<Found>,
        /// Of SCHEMA: the table that exists.
        identity: Option<Identity>,
        /// Of LOOK: what it saw.
        look: Option<Box<Looked>>,
    },
    /// The attempt failed.
    Failed {
        /// The step that is to be repeated. One before the present step takes the task back to it.
        step: Step,
        /// A retry cannot succeed.
        permanent: bool,
        reason: Reason,
        /// Of VERIFICATION: its result.
        verification: Option<Found>,
        /// The target table is missing; then, what is there in its place.
        missed: Option<Option<Identity>>,
        /// Positions of the task's units that are not as it published them.
        lost: Vec<usize>,
    },
}

/// What became of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// Rejected: the lease is lost, or the step is out of order. Nothing was written.
    No,
    /// Accepted.
    Yes,
    /// Accepted. The lease has ended, and the task's LOOK step waits for the other tasks of the job.
    Waits,
}

/// Takes outcomes of intents and a report in one commit, as [`intent::resolve`] and [`take`] do. Takes the lease off
/// the clock if it has ended with them.
pub async fn report(
    scheduler: &Scheduler,
    key: TaskKey,
    holder: Holder,
    epoch: Epoch,
    said: Option<Said>,
    outcomes: Vec<(String, CommitOutcome)>,
    lines: Vec<(LogLevel, String)>,
) -> Result<Taken> {
    let (at, task) = (scheduler.moment(), key.clone());
    // A step whose end a crash forgets is done again. The end of a table and a failed attempt must be durable before
    // the answer.
    let stands = matches!(said, Some(Said::Failed { .. } | Said::Done { step: Step::Look, .. }));
    let taken = move |tx: &mut Tx<'_>| {
        for (intent, outcome) in outcomes {
            intent::resolve(tx, &at, &task, &holder, epoch, &intent, outcome)?;
        }
        let accepted = take(tx, &at, &task, &holder, epoch, said, &lines)?;
        let leased = tx.get(&TASKS, &task)?.is_some_and(|task| task.leased());
        Ok::<_, SchedulerError>((accepted, leased))
    };
    let store = &scheduler.store;
    let (taken, leased) = if stands { store.commit_together(taken).await? } else { store.commit_soon(taken).await? };
    if !leased {
        scheduler.leases.end(&key, epoch);
    }
    Ok(taken)
}

/// Takes a report. One that was accepted before is accepted again, and changes nothing.
pub fn take(
    tx: &mut Tx<'_>,
    at: &Moment,
    key: &TaskKey,
    holder: &Holder,
    epoch: Epoch,
    said: Option<Said>,
    lines: &[(LogLevel, String)],
) -> Result<Taken> {
    let Some(before) = held::held(tx, at, key, holder, epoch)? else { return ended_by(tx, at, key, epoch, said) };
    if matches!(&said, Some(Said::Done { step, .. }) if before.has_done(*step)) {
        return Ok(Taken::Yes);
    }
    let said = match said {
        Some(said) if out_of_turn(at, &before, &said) => return Ok(Taken::No),
        Some(said) => Some(at_target::judged(tx, at, key, &before, judged(&before, said))?),
        None => None,
    };
    let line = |level, message: String| Line { level, worker: holder.worker.clone(), message };
    let mut task = before.clone();
    let mut looked = None;
    for (level, text) in lines {
        log::write(tx, at, key, &mut task, &line(*level, text.clone()))?;
    }
    match said {
        None => {}
        Some(Said::Begun(step)) => task.apply(at, TaskEvent::StepBegun(step))?,
        Some(Said::Done { step, rows, bytes, verification, identity, look }) => {
            if step == Step::Data {
                denied::let_in(tx, at, key, epoch)?;
            }
            let verification = verification.map(|found| keep_checks(tx, key, found)).transpose()?;
            let generation = identity.map(|_| at_target::generation(tx, key, &before)).transpose()?;
            task.apply(at, TaskEvent::StepDone { step, rows, bytes, verification, generation })?;
            // The next step begins at once; only LOOK may have to wait.
            if let Some(next) = task.next_step().filter(|next| task.leased() && *next != Step::Look) {
                task.apply(at, TaskEvent::StepBegun(next))?;
            }
            if let Some(look) = look {
                let table = tx.get(&JOB_TABLES, &task.table_key(&key.job))?;
                looked = Some(at_target::seen(&task, *look, table.is_some_and(|table| table.plan.of_part)));
            }
        }
        Some(Said::Failed { step, permanent, reason, verification, lost, .. }) => {
            let compared = verification.is_some() || reason.reason == ErrorReason::VerificationFailed;
            let text = format!("{}: {}", reason_text(*reason.reason), reason.message);
            let verification = verification.map(|found| keep_checks(tx, key, found)).transpose()?;
            let refused = !permanent && denied::is_refusal(*reason.reason);
            if refused && denied::is_of_source(tx, at, key, &before, &reason)? {
                task.apply(at, TaskEvent::Refused { step, reason })?;
            } else {
                let max_attempts = tx.get(&JOBS, &key.job)?.map_or(1, |job| job.spec().max_attempts);
                // Nothing is moved that could make both sides equal.
                let permanent = permanent || (compared && !before.steps().contains(&Step::Data));
                let event = TaskEvent::StepFailed { step, permanent, compared, max_attempts, reason, verification };
                task.apply(at, event)?;
            }
            task.apply(at, TaskEvent::UnitsLost(lost))?;
            let level = if task.state.is_failed() { LogLevel::Error } else { LogLevel::Warning };
            log::write(tx, at, key, &mut task, &line(level, text))?;
        }
    }
    match looked {
        Some(looked) => rollup::save_looked(tx, at, key, &before, task, looked)?,
        None => rollup::save(tx, at, key, &before, task)?,
    }
    if looks(tx, at, key)? { Ok(Taken::Yes) } else { Ok(Taken::Waits) }
}

/// Whether a task with only its LOOK step left keeps its lease and begins that step. Its lease ends as long as other
/// tasks of its job have other steps to do.
fn looks(tx: &mut Tx<'_>, at: &Moment, key: &TaskKey) -> Result<bool> {
    let Some(before) = tx.get(&TASKS, key)?.filter(|task| task.leased() && task.state.is_ready() && task.is_at_look())
    else {
        return Ok(true);
    };
    if !tx.get(&JOBS, &key.job)?.is_some_and(|job| job.counts.all_but_looks()) {
        return Ok(!end::end(tx, at, key, before.epoch, LeaseEnd::Waits)?);
    }
    let mut task = before.clone();
    task.apply(at, TaskEvent::StepBegun(Step::Look))?;
    rollup::save(tx, at, key, &before, task)?;
    Ok(true)
}

/// Whether the task does not accept the report in its present state.
fn out_of_turn(at: &Moment, task: &Task, said: &Said) -> bool {
    let event = match said {
        Said::Begun(step) => TaskEvent::StepBegun(*step),
        Said::Done { step, .. } => {
            TaskEvent::StepDone { step: *step, rows: 0, bytes: 0, verification: None, generation: None }
        }
        Said::Failed { .. } => return false,
    };
    task.clone().apply(at, event).is_err()
}

/// Stores the checks of a verification in place of those of the one before.
pub(crate) fn keep_checks(tx: &mut Tx<'_>, key: &TaskKey, found: Found) -> Result<Verification> {
    while clear_some(tx, &CHECKS, &Scope::prefix(key))? {}
    let mut total = 0;
    for check in &found.checks {
        tx.put(&CHECKS, &CheckKey { task: key.clone(), number: total }, check)?;
        total += 1;
    }
    Ok(Verification { checks_kept: total, ..found.summary })
}

/// The answer to a report on a lease that has ended: accepted if this report has ended it, because then its answer was
/// lost and the worker repeats it. No later lease exists, so the epoch shows that it is the same worker.
fn ended_by(tx: &Tx<'_>, at: &Moment, key: &TaskKey, epoch: Epoch, said: Option<Said>) -> Result<Taken> {
    let Some(task) = tx.get(&TASKS, key)? else { return Ok(Taken::No) };
    if task.leased() || task.epoch != epoch || !held::is_of(at, epoch) {
        return Ok(Taken::No);
    }
    let is_done = task.state == TaskState::Done;
    let yes = |taken: bool| if taken { Taken::Yes } else { Taken::No };
    Ok(match said.map(|said| judged(&task, said)) {
        Some(Said::Done { step, .. }) if task.is_at_look() && task.has_done(step) => Taken::Waits,
        Some(Said::Done { step, .. }) => yes(is_done && task.steps().last() == Some(&step)),
        Some(Said::Failed { reason, .. }) => yes(!is_done && task.reason == Some(reason)),
        Some(Said::Begun(_)) | None => Taken::No,
    })
}

/// Turns a report into what it means for the task: a step that is reported as done but cannot be is a failure of it.
fn judged(task: &Task, said: Said) -> Said {
    let failed = |step, reason: Reason, verification| Said::Failed {
        step,
        permanent: false,
        reason,
        verification,
        missed: None,
        lost: Vec::new(),
    };
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
                Some(_) => "source and target are not equal: the checks of the task say what differs",
                None => "the worker says that VERIFICATION is done, but not what it found",
            };
            failed(Step::Verification, Reason::new(ErrorReason::VerificationFailed, message), verification)
        }
        said => said,
    }
}
