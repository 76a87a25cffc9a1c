//! What people do to jobs, inside a commit: create, approve, start, stop, retry, delete. What of it concerns all tasks of a
//! job is only begun here, and carried through by [`super::change`].

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

/// Stores a new job, to be planned.
pub fn create(tx: &mut Tx<'_>, key: &JobKey, job: Job) -> Result<Job> {
    if tx.get(&JOBS, key)?.is_some() {
        return Err(SchedulerError::AlreadyExists(name::job_name(key)));
    }
    stored::keep(tx, key, None, job)
}

/// What approves a plan.
#[derive(Debug, Clone)]
pub struct Approval {
    /// The etag of the job as the caller read it with its plan.
    pub etag: String,
    /// Blocked tables are no hindrance.
    pub accept_blocked: bool,
    /// The caller.
    pub approver: String,
}

/// Starts exactly the plan that waits, if it is the one that the caller read.
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

/// Goes on with a stopped job.
pub fn start(tx: &mut Tx<'_>, at: &Moment, key: &JobKey) -> Result<Job> {
    let before = stored::find(tx, key)?;
    let mut job = before.clone();
    stored::apply(at, key, &mut job, JobEvent::Start)?;
    // It is at work already.
    if job == before { Ok(before) } else { stored::keep(tx, key, Some(*before.state), job) }
}

/// Has a job heed its data source's settings as they are now; whether anything changed. One whose scope is not listed will take
/// them then, and one that has ended has no use for them.
pub fn heed(tx: &mut Tx<'_>, at: &Moment, key: &JobKey, settings: MigrationSettings) -> Result<bool> {
    let Some(job) = tx.get(&JOBS, key)?.filter(|job| job.scope_listed && !job.is_at_rest()) else { return Ok(false) };
    let limits = limits(job.spec(), settings);
    if limits == job.limits {
        return Ok(false);
    }
    match stored::change(tx, at, key, job, JobEvent::LimitsChanged(Box::new(limits))) {
        Ok(_) => Ok(true),
        // It is being stopped, and takes them when it comes back.
        Err(SchedulerError::WrongState { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Changes when and how the tasks of a job go.
pub fn update(tx: &mut Tx<'_>, at: &Moment, key: &JobKey, etag: &str, change: SpecChange) -> Result<Job> {
    let job = stored::find(tx, key)?;
    if !etag.is_empty() {
        check_etag(key, &job, etag)?;
    }
    stored::change(tx, at, key, job, JobEvent::SpecChanged(change))
}

/// Stops a job: no task of it starts from now on. `why`: what the service stops it for, if nobody asked.
pub fn stop(tx: &mut Tx<'_>, at: &Moment, key: &JobKey, why: Option<Reason>) -> Result<Job> {
    let job = stored::find(tx, key)?;
    stored::change(tx, at, key, job, JobEvent::Stop { why })
}

/// Tries what failed of a failed job again. `repin`: with the newest versions of the tables that failed.
pub fn retry(tx: &mut Tx<'_>, at: &Moment, key: &JobKey, repin: bool) -> Result<Job> {
    let job = stored::find(tx, key)?;
    stored::change(tx, at, key, job, JobEvent::Retry { task: None, repin })
}

/// Tries one failed task again; its job goes on if it had failed.
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
    // A task that waits for its table waits for ever if the one that makes it has failed too.
    if task.blocked
        && let Some(table) = tx.get(&JOB_TABLES, &task.table_key(&key.job))?
    {
        reset(tx, at, &TaskKey { number: table.first_task, ..key.clone() })?;
    }
    stored::find(tx, &key.job)
}

/// Puts a failed task back to the step that failed; one that waited for the table's maker waits again.
fn reset(tx: &mut Tx<'_>, at: &Moment, key: &TaskKey) -> Result<()> {
    let Some(before) = tx.get(&TASKS, key)?.filter(|task| task.state.is_failed()) else { return Ok(()) };
    let mut task = before.clone();
    task.apply(at, TaskEvent::Retried)?;
    log::write(tx, at, key, &mut task, &Line::own("tried again by hand"))?;
    rollup::save(tx, at, key, &before, task)
}

/// Begins to delete a job that has ended, with all of it but its open intents.
pub fn delete(tx: &mut Tx<'_>, at: &Moment, key: &JobKey, etag: &str) -> Result<Job> {
    let job = stored::find(tx, key)?;
    if !etag.is_empty() {
        check_etag(key, &job, etag)?;
    }
    stored::change(tx, at, key, job, JobEvent::Delete)
}
