//! What people do to jobs, inside a commit: create, approve, start, stop, retry, delete. What of it concerns all tasks of a
//! job is only begun here, and carried through by [`crate::change`].

use std::ops::ControlFlow;

use mms_store::{Read, Scope, Tx};

use crate::change::{self, Change};
use crate::error::{Result, SchedulerError};
use crate::job::{JobEvent, JobState};
use crate::key;
use crate::record::{Job, Request, Task};
use crate::rollup::{self, Line, Moment};
use crate::store::{JOB_TABLES, JOBS, JobKey, REQUESTS, TASKS, TaskKey};
use crate::task::TaskState;

/// How long a request id is remembered.
const REQUEST_TTL_MS: i64 = 24 * 3600 * 1000;

/// The job as stored. One that is being deleted is gone for everybody.
pub fn job(read: &impl Read, key: &JobKey) -> Result<Job> {
    let job = read.get(&JOBS, key)?.filter(|job| change::of(job) != Some(Change::Delete));
    job.ok_or_else(|| SchedulerError::NotFound(key::job_name(key)))
}

/// The resource that an earlier call with this request id made, if its content was the same.
pub fn replayed(read: &impl Read, at: &Moment, method: &str, id: &str, digest: &[u8]) -> Result<Option<String>> {
    if id.is_empty() {
        return Ok(None);
    }
    match read.get(&REQUESTS, &(method.to_owned(), id.to_owned()))? {
        Some(seen) if at.now_ms - seen.time_ms > REQUEST_TTL_MS => Ok(None),
        Some(seen) if seen.digest == digest => Ok(Some(seen.resource)),
        Some(_) => Err(SchedulerError::RequestIdReused(id.to_owned())),
        None => Ok(None),
    }
}

/// Remembers what a request id made.
pub fn remember(tx: &mut Tx<'_>, at: &Moment, method: &str, id: &str, digest: Vec<u8>, resource: String) -> Result<()> {
    if id.is_empty() {
        return Ok(());
    }
    let request = Request { digest, resource, time_ms: at.now_ms };
    tx.put(&REQUESTS, &(method.to_owned(), id.to_owned()), &request)?;
    Ok(())
}

/// Forgets request ids whose time is up; at most 1,000 at once.
pub fn forget_requests(tx: &mut Tx<'_>, at: &Moment) -> Result<()> {
    let mut old = Vec::new();
    tx.scan(&REQUESTS, &Scope::all(), |key, request| {
        if at.now_ms - request.time_ms > REQUEST_TTL_MS {
            old.push(key);
        }
        if old.len() < 1000 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    for key in old {
        tx.delete(&REQUESTS, &key)?;
    }
    Ok(())
}

/// Stores a new job, to be planned.
pub fn create(tx: &mut Tx<'_>, key: &JobKey, mut job: Job) -> Result<Job> {
    if tx.get(&JOBS, key)?.is_some() {
        return Err(SchedulerError::AlreadyExists(key::job_name(key)));
    }
    job.state = JobState::Planning as i32;
    job.revision = tx.revision();
    tx.put(&JOBS, key, &job)?;
    Ok(job)
}

/// The state of a job after an event.
pub fn after(key: &JobKey, job: &Job, event: JobEvent) -> Result<JobState> {
    let state = JobState::of(job).ok_or_else(|| SchedulerError::NotFound(key::job_name(key)))?;
    state.after(event).map_err(|source| SchedulerError::WrongState { resource: key::job_name(key), source })
}

/// Whether its plan is complete.
pub fn planned(job: &Job) -> bool {
    job.scope_listed && job.counts.tables_planned >= job.counts.tables_total
}

/// Whether its plan may run: nobody is to look at it, or somebody did.
pub fn approved(job: &Job) -> bool {
    !job.review || job.approved
}

fn put(tx: &mut Tx<'_>, at: &Moment, key: &JobKey, mut job: Job) -> Result<Job> {
    rollup::settle(tx, at, &mut job);
    tx.put(&JOBS, key, &job)?;
    Ok(job)
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
    let mut job = job(tx, key)?;
    let before = JobState::of(&job);
    let state = after(key, &job, JobEvent::Approved)?;
    if before == Some(state) {
        return Ok(job);
    }
    if approval.etag != job.revision.to_string() {
        return Err(SchedulerError::EtagMismatch(key::job_name(key)));
    }
    if job.counts.tables_blocked > 0 && !approval.accept_blocked {
        return Err(SchedulerError::Blocked { resource: key::job_name(key), count: job.counts.tables_blocked });
    }
    job.state = state as i32;
    job.approved = true;
    job.approver = approval.approver;
    job.approve_time_ms = at.now_ms;
    put(tx, at, key, job)
}

/// Begins a change that [`crate::change::step`] carries through.
fn begin(tx: &mut Tx<'_>, key: &JobKey, mut job: Job, change: Change, only: Option<u32>) -> Result<Job> {
    (job.change, job.change_task) = (change as i32, only);
    job.revision = tx.revision();
    tx.put(&JOBS, key, &job)?;
    Ok(job)
}

/// Goes on with a stopped job.
pub fn start(tx: &mut Tx<'_>, key: &JobKey) -> Result<Job> {
    let job = job(tx, key)?;
    let state = after(key, &job, JobEvent::Start { planned: planned(&job), approved: approved(&job) })?;
    if Some(state) == JobState::of(&job) {
        return Ok(job);
    }
    begin(tx, key, job, Change::Start, None)
}

/// Stops a job: no task of it starts from now on.
pub fn stop(tx: &mut Tx<'_>, key: &JobKey) -> Result<Job> {
    let mut job = job(tx, key)?;
    if change::claims(&job) {
        // It had ended, and stays so.
        (job.change, job.change_task) = (0, None);
    } else {
        job.state = after(key, &job, JobEvent::Stop)? as i32;
    }
    job.revision = tx.revision();
    tx.put(&JOBS, key, &job)?;
    Ok(job)
}

/// Tries what failed of a failed job again.
pub fn retry(tx: &mut Tx<'_>, key: &JobKey) -> Result<Job> {
    let job = job(tx, key)?;
    after(key, &job, JobEvent::Retry { planned: planned(&job) })?;
    begin(tx, key, job, Change::Retry, None)
}

/// Tries one failed task again; its job goes on if it had failed.
pub fn retry_task(tx: &mut Tx<'_>, at: &Moment, key: &TaskKey) -> Result<Job> {
    let job_key = key::job_of(key);
    let found = job(tx, &job_key)?;
    let not_found = || SchedulerError::NotFound(key::task_name(key));
    let task = tx.get(&TASKS, key)?.ok_or_else(not_found)?;
    let state = TaskState::of(&task).ok_or_else(not_found)?;
    if !state.is_failed() {
        let state = format!("{state:?}");
        return Err(SchedulerError::TaskNotFailed { resource: key::task_name(key), state });
    }
    if JobState::of(&found) == Some(JobState::Failed) {
        return begin(tx, &job_key, found, Change::Retry, Some(key.2));
    }
    reset(tx, at, key)?;
    // A task that waits for its table waits for ever if the one that makes it has failed too.
    if task.blocked
        && let Some(table) = tx.get(&JOB_TABLES, &key::table_of(key, &task))?
    {
        reset(tx, at, &(key.0.clone(), key.1.clone(), table.first_task))?;
    }
    job(tx, &job_key)
}

/// Puts a failed task back to the step that failed; one that waited for the table's maker waits again.
fn reset(tx: &mut Tx<'_>, at: &Moment, key: &TaskKey) -> Result<()> {
    let Some(before) = tx.get(&TASKS, key)? else { return Ok(()) };
    let Some(state) = TaskState::of(&before).filter(|state| state.is_failed()) else { return Ok(()) };
    let mut task = again(before.clone(), state.rest());
    rollup::log(tx, at, key, &mut task, &Line::own("tried again by hand"))?;
    rollup::save(tx, at, key, &before, task)
}

/// A task that goes on from a state as if it had not been tried.
pub fn again(mut task: Task, state: TaskState) -> Task {
    task.state = state as i32;
    (task.failures, task.expiries, task.retry_time_ms, task.end_time_ms) = (0, 0, 0, 0);
    task.parked = true;
    task
}

/// Begins to delete a job that has ended, with all of it but its open intents.
pub fn delete(tx: &mut Tx<'_>, key: &JobKey, etag: &str) -> Result<Job> {
    let found = job(tx, key)?;
    if !etag.is_empty() && etag != found.revision.to_string() {
        return Err(SchedulerError::EtagMismatch(key::job_name(key)));
    }
    let state = JobState::of(&found).ok_or_else(|| SchedulerError::NotFound(key::job_name(key)))?;
    if !state.is_ended() || change::claims(&found) {
        let source = crate::job::WrongState { state, event: JobEvent::Delete };
        return Err(SchedulerError::WrongState { resource: key::job_name(key), source });
    }
    begin(tx, key, found, Change::Delete, None)
}
