//! Taking a worker's reports, inside a commit: steps begun and done, attempts failed.

use mms_store::Tx;

use crate::error::Result;
use crate::key;
use crate::lease::{self, Epoch, Holder};
use crate::record::{Reason, Task, Verification};
use crate::rollup::{self, Moment};
use crate::store::TaskKey;
use crate::task::{self, AfterFailure, Step, TaskState};

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
        verification: Option<Verification>,
    },
    /// The attempt failed.
    Failed {
        /// Where.
        step: Step,
        /// It will not pass by itself.
        permanent: bool,
        /// Why.
        reason: Reason,
        /// Of VERIFICATION: what it found.
        verification: Option<Verification>,
    },
}

/// Takes a report. False: the lease is lost, or the step is out of turn; nothing is written.
pub fn take(
    tx: &mut Tx<'_>,
    at: &Moment,
    key: &TaskKey,
    holder: &Holder,
    epoch: Epoch,
    event: Option<Event>,
    lines: &[String],
) -> Result<bool> {
    let before = match lease::held(tx, at, key, holder, epoch) {
        Ok(task) => task,
        Err(crate::error::SchedulerError::Fenced(_)) => return Ok(false),
        Err(error) => return Err(error),
    };
    let mut task = before.clone();
    for line in lines {
        rollup::log(tx, at, key, &mut task, &holder.worker, line)?;
    }
    let Some(state) = TaskState::of(&task) else { return Ok(false) };
    let steps = task.steps();
    match event {
        None => {}
        Some(Event::Begun(step)) => {
            let Some(next) = task::begin(state, step, &steps) else { return Ok(false) };
            task.state = next as i32;
        }
        Some(Event::Done { step, rows, bytes, verification }) => {
            let Some(next) = task::finish(state, step, &steps) else { return Ok(false) };
            done(&mut task, at, step, next, (rows, bytes), verification);
        }
        Some(Event::Failed { step, permanent, reason, verification }) => {
            let max_attempts = max_attempts(tx, key)?;
            failed(&mut task, at, step, permanent, max_attempts, reason);
            task.verification = verification.or(task.verification);
            let text = task.reason.as_ref().map(|r| format!("{}: {}", r.reason, r.message)).unwrap_or_default();
            rollup::log(tx, at, key, &mut task, &holder.worker, &text)?;
        }
    }
    rollup::save(tx, at, key, &before, task)?;
    Ok(true)
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
    use mms_store::Read;
    Ok(tx.get(&crate::store::JOBS, &key::job_of(key))?.map_or(1, |job| job.spec.max_attempts))
}

fn failed(task: &mut Task, at: &Moment, step: Step, permanent: bool, max_attempts: i32, reason: Reason) {
    task.worker.clear();
    task.instance.clear();
    task.failures += 1;
    task.reason = Some(reason);
    if step == Step::Verification {
        // What was published did not stand the comparison: it is moved again.
        unpublish(task);
    }
    match task::after_failure(step, permanent, task.failures, max_attempts, at.spread) {
        AfterFailure::Again(state, pause) => {
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
