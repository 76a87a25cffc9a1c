//! What people do to jobs, inside a commit: create, approve, start, stop, retry, delete.

use std::ops::ControlFlow;

use mms_store::{Read, Scope, Tx};

use crate::error::{Result, SchedulerError};
use crate::job::{JobEvent, JobState};
use crate::key;
use crate::lease::{self, Epoch, LeaseEnd};
use crate::record::{Job, Request};
use crate::rollup::{self, Moment};
use crate::store::{JOB_TABLES, JOBS, JobKey, LOGS, MANIFESTS, REQUESTS, TASKS, TaskKey, UNITS};
use crate::task::TaskState;

/// How long a request id is remembered.
const REQUEST_TTL_MS: i64 = 24 * 3600 * 1000;

/// The job as stored.
pub fn job(read: &impl Read, key: &JobKey) -> Result<Job> {
    read.get(&JOBS, key)?.ok_or_else(|| SchedulerError::NotFound(key::job_name(key)))
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

fn after(key: &JobKey, job: &Job, event: JobEvent) -> Result<JobState> {
    let state = JobState::of(job).ok_or_else(|| SchedulerError::NotFound(key::job_name(key)))?;
    state.after(event).map_err(|source| SchedulerError::WrongState { resource: key::job_name(key), source })
}

fn planned(job: &Job) -> bool {
    job.scope_listed && job.counts.tables_planned >= job.counts.tables_total
}

fn put(tx: &mut Tx<'_>, at: &Moment, key: &JobKey, mut job: Job) -> Result<Job> {
    rollup::settle(tx, at, &mut job);
    tx.put(&JOBS, key, &job)?;
    Ok(job)
}

/// Starts exactly the plan that waits.
pub fn approve(tx: &mut Tx<'_>, at: &Moment, key: &JobKey, accept_blocked: bool) -> Result<Job> {
    let mut job = job(tx, key)?;
    let state = after(key, &job, JobEvent::Approved)?;
    if job.counts.tables_blocked > 0 && !accept_blocked {
        return Err(SchedulerError::Blocked { resource: key::job_name(key), count: job.counts.tables_blocked });
    }
    job.state = state as i32;
    put(tx, at, key, job)
}

/// Goes on with a stopped job.
pub fn start(tx: &mut Tx<'_>, at: &Moment, key: &JobKey) -> Result<Job> {
    let mut job = job(tx, key)?;
    let state = after(key, &job, JobEvent::Start { planned: planned(&job) })?;
    if Some(state) != JobState::of(&job) {
        reclaim(tx, key, &job)?;
    }
    job.state = state as i32;
    job.reason = None;
    job.end_time_ms = 0;
    put(tx, at, key, job)
}

/// Stops a job and fences whoever works on it.
pub fn stop(tx: &mut Tx<'_>, at: &Moment, key: &JobKey) -> Result<(Job, Vec<(TaskKey, Epoch)>)> {
    let state = after(key, &job(tx, key)?, JobEvent::Stop)?;
    let leases = lease::all(tx, None)?;
    let own: Vec<_> = leases.into_iter().filter(|(task, _)| key::job_of(task) == *key).collect();
    for (task, epoch) in &own {
        lease::end(tx, at, task, *epoch, LeaseEnd::Stopped)?;
    }
    let mut job = job(tx, key)?;
    job.state = state as i32;
    job.end_time_ms = at.now_ms;
    job.revision = tx.revision();
    tx.put(&JOBS, key, &job)?;
    Ok((job, own))
}

/// Tries the failed tasks of a failed job again.
pub fn retry(tx: &mut Tx<'_>, at: &Moment, key: &JobKey) -> Result<Job> {
    let found = job(tx, key)?;
    let state = after(key, &found, JobEvent::Retry { planned: planned(&found) })?;
    reclaim(tx, key, &found)?;
    set_state(tx, key, state)?;
    for number in 0..found.next_task {
        let task_key = (key.0.clone(), key.1.clone(), number);
        reset(tx, at, &task_key)?;
    }
    let job = job(tx, key)?;
    put(tx, at, key, job)
}

fn set_state(tx: &mut Tx<'_>, key: &JobKey, state: JobState) -> Result<()> {
    let mut job = job(tx, key)?;
    job.state = state as i32;
    job.reason = None;
    job.end_time_ms = 0;
    job.revision = tx.revision();
    tx.put(&JOBS, key, &job)?;
    Ok(())
}

/// Tries one failed task again; its job goes on if it had failed.
pub fn retry_task(tx: &mut Tx<'_>, at: &Moment, key: &TaskKey) -> Result<()> {
    let not_found = || SchedulerError::NotFound(key::task_name(key));
    let task = tx.get(&TASKS, key)?.ok_or_else(not_found)?;
    let state = TaskState::of(&task).ok_or_else(not_found)?;
    if !state.is_failed() {
        let state = format!("{state:?}");
        return Err(SchedulerError::TaskNotFailed { resource: key::task_name(key), state });
    }
    let job_key = key::job_of(key);
    let found = job(tx, &job_key)?;
    if JobState::of(&found) == Some(JobState::Failed) {
        let state = after(&job_key, &found, JobEvent::Retry { planned: planned(&found) })?;
        reclaim(tx, &job_key, &found)?;
        set_state(tx, &job_key, state)?;
    }
    reset(tx, at, key)
}

/// Puts a failed task back to the step that failed; one that waited for the table's maker waits again.
fn reset(tx: &mut Tx<'_>, at: &Moment, key: &TaskKey) -> Result<()> {
    let Some(before) = tx.get(&TASKS, key)? else { return Ok(()) };
    let Some(state) = TaskState::of(&before).filter(|state| state.is_failed()) else { return Ok(()) };
    let mut task = before.clone();
    task.state = state.rest() as i32;
    (task.failures, task.expiries, task.retry_time_ms, task.end_time_ms) = (0, 0, 0, 0);
    rollup::log(tx, at, key, &mut task, "", "tried again by hand")?;
    rollup::save(tx, at, key, &before, task)
}

/// Claims the units of a job that came back; refused if another live job has taken one meanwhile.
fn reclaim(tx: &mut Tx<'_>, key: &JobKey, job: &Job) -> Result<()> {
    let mut units = Vec::new();
    tx.scan(&TASKS, &Scope::prefix(&(key.0.clone(), key.1.clone())), |task_key, task| {
        units.push((key::table_of(&task_key, &task), task.units));
        ControlFlow::Continue(())
    })?;
    for (table_key, units) in units {
        let target = tx.get(&JOB_TABLES, &table_key)?.and_then(|table| table.target).and_then(|target| target.name);
        let Some(target) = target else { continue };
        let source = format!("{}.{}", table_key.2, table_key.3);
        for unit in units {
            claim(tx, key, &job.uid, &source, &key::unit_key(&target, &unit.partition))?;
        }
    }
    Ok(())
}

/// Claims one target unit for a job, unless another live job, or another table of the same job, has it.
pub fn claim(tx: &mut Tx<'_>, key: &JobKey, uid: &str, table: &str, unit: &crate::store::UnitKey) -> Result<()> {
    let mut claim = tx.get(&UNITS, unit)?.unwrap_or_default();
    let same_job = claim.job_uid == uid;
    if !claim.job_uid.is_empty() && (!same_job || claim.table != table) {
        let owner = (claim.data_source.clone(), claim.job.clone());
        let live = tx
            .get(&JOBS, &owner)?
            .filter(|other| other.uid == claim.job_uid)
            .and_then(|other| JobState::of(&other))
            .is_some_and(JobState::owns_units);
        if live {
            let partition = if unit.1.is_empty() { String::new() } else { format!(" partition {}", unit.1) };
            let target = format!("{}{partition}", unit.0);
            let by = if same_job { format!(" for table {}", claim.table) } else { String::new() };
            return Err(SchedulerError::TargetOwned { target, job: format!("{}{by}", key::job_name(&owner)) });
        }
    }
    claim.data_source.clone_from(&key.0);
    claim.job.clone_from(&key.1);
    uid.clone_into(&mut claim.job_uid);
    table.clone_into(&mut claim.table);
    tx.put(&UNITS, unit, &claim)?;
    Ok(())
}

/// Deletes a job that has ended, and all of it but its open intents.
pub fn delete(tx: &mut Tx<'_>, key: &JobKey, etag: &str) -> Result<()> {
    let found = job(tx, key)?;
    if !etag.is_empty() && etag != found.revision.to_string() {
        return Err(SchedulerError::EtagMismatch(key::job_name(key)));
    }
    let state = JobState::of(&found).ok_or_else(|| SchedulerError::NotFound(key::job_name(key)))?;
    if !state.is_ended() {
        let source = crate::job::WrongState { state, event: JobEvent::Stop };
        return Err(SchedulerError::WrongState { resource: key::job_name(key), source });
    }
    let own = (key.0.clone(), key.1.clone());
    clear(tx, &TASKS, &Scope::prefix(&own))?;
    clear(tx, &JOB_TABLES, &Scope::prefix(&own))?;
    clear(tx, &MANIFESTS, &Scope::prefix(&own))?;
    clear(tx, &LOGS, &Scope::prefix(&own))?;
    tx.delete(&JOBS, key)?;
    Ok(())
}

/// Deletes every row of a scope.
pub fn clear<K: mms_store::Key, R: prost::Message + Default>(
    tx: &mut Tx<'_>,
    table: &mms_store::Table<K, R>,
    scope: &Scope<K>,
) -> Result<()> {
    let mut keys = Vec::new();
    tx.scan(table, scope, |key, _| {
        keys.push(key);
        ControlFlow::Continue(())
    })?;
    for key in keys {
        tx.delete(table, &key)?;
    }
    Ok(())
}
