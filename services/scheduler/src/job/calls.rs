//! The calls that change jobs, inside a commit: create, approve, start, update, stop, retry, delete. A change that
//! concerns all tasks of a job only begins here; [`super::change`] carries it through.

use mms_proto::registry::v1::MigrationSettings;
use mms_store::{Read, Tx};

use super::{rollup, stored};
use crate::error::{Result, SchedulerError};
use crate::key::{JobKey, TaskKey};
use crate::moment::Moment;
use crate::name;
use crate::plan::limits::limits;
use crate::record::{Job, JobEvent, JobState, Reason, SpecChange, TaskEvent};
use crate::report::log::{self, Line};
use crate::store::{JOB_TABLES, JOBS, TASKS};

/// Stores a new job in state PLANNING. An error if its id is taken.
pub fn create(tx: &mut Tx<'_>, key: &JobKey, job: Job) -> Result<Job> {
    if tx.get(&JOBS, key)?.is_some() {
        return Err(SchedulerError::AlreadyExists(name::job_name(key)));
    }
    stored::keep(tx, key, None, job)
}

/// A caller's approval of a plan.
#[derive(Debug, Clone)]
pub struct Approval {
    /// The etag of the job that the caller has read with its plan.
    pub etag: String,
    /// Approve although tables are blocked.
    pub accept_blocked: bool,
    pub approver: String,
}

/// Approves the plan that waits, if it is the one that the caller has read. Does nothing if the job runs already.
pub fn approve(tx: &mut Tx<'_>, at: &Moment, key: &JobKey, approval: Approval) -> Result<Job> {
    let before = stored::find(tx, key)?;
    let mut job = before.clone();
    stored::apply(at, key, &mut job, JobEvent::Approved { approver: approval.approver })?;
    if job == before {
        return Ok(before);
    }
    check_etag(key, &before, &approval.etag)?;
    let count = before.counts.tables_blocked;
    if count > 0 && !approval.accept_blocked {
        return Err(SchedulerError::Blocked { resource: name::job_name(key), count });
    }
    stored::keep(tx, key, Some(*before.state), job)
}

fn check_etag(key: &JobKey, job: &Job, etag: &str) -> Result<()> {
    if etag == job.revision.to_string() { Ok(()) } else { Err(SchedulerError::EtagMismatch(name::job_name(key))) }
}

/// Begins to start a stopped or paused job.
pub fn start(tx: &mut Tx<'_>, at: &Moment, key: &JobKey) -> Result<Job> {
    let before = stored::find(tx, key)?;
    let mut job = before.clone();
    stored::apply(at, key, &mut job, JobEvent::Start)?;
    // The job runs already.
    if job == before { Ok(before) } else { stored::keep(tx, key, Some(*before.state), job) }
}

/// Applies the present settings of its data source to a job. Returns whether its limits changed. A job whose scope is
/// not listed gets them when it is; a job at rest does not need them.
pub fn heed(tx: &mut Tx<'_>, at: &Moment, key: &JobKey, settings: MigrationSettings) -> Result<bool> {
    let Some(job) = tx.get(&JOBS, key)?.filter(|job| job.scope_listed && !job.is_at_rest()) else { return Ok(false) };
    let limits = limits(job.spec(), settings);
    if limits == job.limits {
        return Ok(false);
    }
    match stored::change(tx, at, key, job, JobEvent::LimitsChanged(Box::new(limits))) {
        Ok(_) => Ok(true),
        // A job that is being stopped gets them when it is started again.
        Err(SchedulerError::WrongState { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Changes when and how the tasks of a job run.
pub fn update(tx: &mut Tx<'_>, at: &Moment, key: &JobKey, etag: &str, change: SpecChange) -> Result<Job> {
    let job = stored::find(tx, key)?;
    if !etag.is_empty() {
        check_etag(key, &job, etag)?;
    }
    stored::change(tx, at, key, job, JobEvent::SpecChanged(change))
}

/// Begins to stop a job: no task of it is leased from now on. `why` is the service's reason; None if a caller stops it.
pub fn stop(tx: &mut Tx<'_>, at: &Moment, key: &JobKey, why: Option<Reason>) -> Result<Job> {
    let job = stored::find(tx, key)?;
    stored::change(tx, at, key, job, JobEvent::Stop { why })
}

/// Begins to retry a failed job. `repin`: tables with failed tasks are planned again, with their newest versions.
pub fn retry(tx: &mut Tx<'_>, at: &Moment, key: &JobKey, repin: bool) -> Result<Job> {
    let job = stored::find(tx, key)?;
    stored::change(tx, at, key, job, JobEvent::Retry { task: None, repin })
}

/// Retries one failed task. If its job has failed too, that begins a retry of the job for this task.
pub fn retry_task(tx: &mut Tx<'_>, at: &Moment, key: &TaskKey) -> Result<Job> {
    let job = stored::find(tx, &key.job)?;
    let task = tx.get(&TASKS, key)?.ok_or_else(|| SchedulerError::NotFound(name::task_name(key)))?;
    if !task.state.is_failed() {
        let state = format!("{:?}", task.state);
        return Err(SchedulerError::TaskNotFailed { resource: name::task_name(key), state });
    }
    if job.state == JobState::Failed {
        return stored::change(tx, at, &key.job, job, JobEvent::Retry { task: Some(key.number), repin: false });
    }
    reset(tx, at, key)?;
    // A task that waits for its table would wait for ever if the task that makes the table has failed too.
    if task.blocked
        && let Some(table) = tx.get(&JOB_TABLES, &task.table_key(&key.job))?
    {
        reset(tx, at, &TaskKey { number: table.first_task, ..key.clone() })?;
    }
    stored::find(tx, &key.job)
}

/// Puts a failed task back to the step that failed. One that waited for its table waits again.
fn reset(tx: &mut Tx<'_>, at: &Moment, key: &TaskKey) -> Result<()> {
    let Some(before) = tx.get(&TASKS, key)?.filter(|task| task.state.is_failed()) else { return Ok(()) };
    let mut task = before.clone();
    task.apply(at, TaskEvent::Retried)?;
    log::write(tx, at, key, &mut task, &Line::own("retried by a caller"))?;
    rollup::save(tx, at, key, &before, task)
}

/// Begins to delete a job that has ended, with everything but its open intents.
pub fn delete(tx: &mut Tx<'_>, at: &Moment, key: &JobKey, etag: &str) -> Result<Job> {
    let job = stored::find(tx, key)?;
    if !etag.is_empty() {
        check_etag(key, &job, etag)?;
    }
    stored::change(tx, at, key, job, JobEvent::Delete)
}
