//! Giving tasks to workers and taking them back, inside a commit. A lease is an epoch on the task's own record: whoever
//! names another epoch is fenced. How long a lease lasts is told by [`crate::clock`], never by the record.

use mms_proto::ErrorReason;
use mms_proto::scheduler::v1::{Engine, LogLevel, TaskRole};
use mms_proto::types::v1::{ReadPath, TargetKind};
use mms_store::{Read, Scope, Tx};
use prost::Message;

use crate::commit;
use crate::error::{Result, SchedulerError};
use crate::job::JobState;
use crate::key;
use crate::record::{Job, JobTable, Task, Worker};
use crate::rollup::{self, Line, Moment};
use crate::store::{JOB_TABLES, JOBS, JobKey, LEASED_TASKS, LIVE_JOBS, READY_TASKS, TASKS, TaskKey, WORKERS};
use crate::task::{EXPIRIES_MAX, Step, TaskState};

/// A fencing epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch {
    /// The store's incarnation when the lease was given.
    pub incarnation: u64,
    /// Grows with each lease of the task.
    pub counter: u64,
}

/// A task as it was leased.
#[derive(Debug, Clone)]
pub struct Granted {
    /// Its key.
    pub key: TaskKey,
    /// The task, holder set.
    pub task: Task,
    /// Its job.
    pub job: Job,
    /// Its table.
    pub table: JobTable,
}

/// A worker's proof of who it is.
#[derive(Debug, Clone)]
pub struct Holder {
    /// Worker id.
    pub worker: String,
    /// Its process.
    pub instance: String,
}

impl Task {
    /// The epoch of its present or last lease.
    pub fn epoch(&self) -> Epoch {
        Epoch { incarnation: self.incarnation, counter: self.counter }
    }

    /// Its steps in order.
    pub fn steps(&self) -> Vec<Step> {
        self.steps.iter().filter_map(|step| Step::of(*step)).collect()
    }
}

/// Stores a worker, which keeps the uid that it was first given; leases of an earlier process of it end.
pub fn register(tx: &mut Tx<'_>, at: &Moment, id: &str, mut worker: Worker) -> Result<Vec<(TaskKey, Epoch)>> {
    if let Some(known) = tx.get(&WORKERS, &id.to_owned())? {
        worker.uid = known.uid;
    }
    let mut ended = Vec::new();
    for (key, epoch) in all(tx, Some(id))? {
        let same = tx.get(&TASKS, &key)?.is_some_and(|task| task.instance == worker.instance);
        if !same && end(tx, at, &key, epoch, LeaseEnd::Restarted)? {
            ended.push((key, epoch));
        }
    }
    tx.put(&WORKERS, &id.to_owned(), &worker)?;
    Ok(ended)
}

/// The registered worker, if this is its present process.
pub fn worker(read: &impl Read, holder: &Holder) -> Result<Worker> {
    let unknown = || SchedulerError::WorkerUnknown(holder.worker.clone());
    read.get(&WORKERS, &holder.worker)?.filter(|known| known.instance == holder.instance).ok_or_else(unknown)
}

/// The task, if this worker holds it in this epoch. A store that was restored from a copy has another incarnation, so
/// that no lease of the copy holds here.
pub fn held(read: &impl Read, at: &Moment, key: &TaskKey, holder: &Holder, epoch: Epoch) -> Result<Task> {
    let fenced = || SchedulerError::Fenced(key::task_name(key));
    let task = read.get(&TASKS, key)?.ok_or_else(fenced)?;
    let holds = task.worker == holder.worker
        && task.instance == holder.instance
        && task.epoch() == epoch
        && epoch.incarnation == at.incarnation.number;
    if holds { Ok(task) } else { Err(fenced()) }
}

/// Bytes of tasks, their tables and open intents that are leased at once, so that an answer stays far below what a message may have.
const BYTES_AT_ONCE: usize = 6 << 20;

/// Leases up to `max` tasks that the worker can do: jobs by deadline, priority and age, tasks of a job in their order.
/// Fewer when they are large, but one at least.
pub fn grant(tx: &mut Tx<'_>, at: &Moment, holder: &Holder, max: usize) -> Result<Vec<Granted>> {
    let known = worker(tx, holder)?;
    let mut granted = Vec::new();
    let mut bytes = 0;
    for (job_key, key) in candidates(tx, at, &known, max)? {
        let Some(before) = tx.get(&TASKS, &key)? else { continue };
        let Some(table) = tx.get(&JOB_TABLES, &key::table_of(&key, &before))? else { continue };
        let open: usize = commit::open_of(tx, &key, &before)?.iter().map(|(_, intent)| intent.encoded_len()).sum();
        bytes += before.encoded_len() + table.encoded_len() + open;
        if bytes > BYTES_AT_ONCE && !granted.is_empty() {
            break;
        }
        let mut task = before.clone();
        task.worker.clone_from(&holder.worker);
        task.instance.clone_from(&holder.instance);
        task.incarnation = at.incarnation.number;
        task.counter += 1;
        task.attempt += 1;
        task.retry_time_ms = 0;
        task.parked = false;
        if task.start_time_ms == 0 {
            task.start_time_ms = at.now_ms;
        }
        let line = format!("leased to workers/{}, attempt {}", holder.worker, task.attempt);
        rollup::log(tx, at, &key, &mut task, &Line::own(line))?;
        rollup::save(tx, at, &key, &before, task)?;
        // Read again: saving the first lease of a table or job changed them.
        let stored =
            (tx.get(&TASKS, &key)?, tx.get(&JOBS, &job_key)?, tx.get(&JOB_TABLES, &key::table_of(&key, &before))?);
        if let (Some(task), Some(job), Some(table)) = stored {
            granted.push(Granted { key, task, job, table });
        }
    }
    Ok(granted)
}

/// Tasks that a worker could lease now, in order. Reads only, so that waiting costs no commit.
pub fn candidates(read: &impl Read, at: &Moment, worker: &Worker, max: usize) -> Result<Vec<(JobKey, TaskKey)>> {
    let mut found: Vec<(JobKey, TaskKey)> = Vec::new();
    let mut next = None;
    loop {
        let page = read.index_page(&JOBS, &LIVE_JOBS, &Scope::all(), next.as_ref(), 100)?;
        for (job_key, job) in page.items {
            let runs = JobState::of(&job).is_some_and(JobState::dispatches) && job.spec.pool == worker.pool;
            if !runs {
                continue;
            }
            // The source's bound holds over all its jobs, and the job's over its own tasks.
            let of_source = leased_of(read, &Scope::prefix(&(job_key.0.clone(),)))?
                + found.iter().filter(|(job, _)| job.0 == job_key.0).count();
            let of_job =
                leased_of(read, &Scope::prefix(&job_key))? + found.iter().filter(|(job, _)| *job == job_key).count();
            let left = |bound: i32, running: usize| usize::try_from(bound).unwrap_or(0).saturating_sub(running);
            let room = left(job.source_max_concurrent_tasks, of_source).min(left(job.max_concurrent_tasks, of_job));
            let mut room = room.min(max - found.len());
            ready_of(read, at, worker, &job_key, &mut room, &mut found)?;
            if found.len() >= max {
                return Ok(found);
            }
        }
        match page.next {
            Some(cursor) => next = Some(cursor),
            None => return Ok(found),
        }
    }
}

fn leased_of(read: &impl Read, scope: &Scope<TaskKey>) -> Result<usize> {
    Ok(read.index_keys(&TASKS, &LEASED_TASKS, scope, None, 1000)?.items.len())
}

fn ready_of(
    read: &impl Read,
    at: &Moment,
    worker: &Worker,
    job: &JobKey,
    room: &mut usize,
    found: &mut Vec<(JobKey, TaskKey)>,
) -> Result<()> {
    let scope = Scope::prefix(&(job.0.clone(), job.1.clone()));
    let mut next = None;
    while *room > 0 {
        let page = read.index_page(&TASKS, &READY_TASKS, &scope, next.as_ref(), 100)?;
        for (key, task) in page.items {
            if *room == 0 {
                break;
            }
            if task.retry_time_ms <= at.now_ms && able(read, worker, &key, &task)? {
                found.push((job.clone(), key));
                *room -= 1;
            }
        }
        match page.next {
            Some(cursor) => next = Some(cursor),
            None => break,
        }
    }
    Ok(())
}

/// Whether a worker has all that a task asks.
fn able(read: &impl Read, worker: &Worker, key: &TaskKey, task: &Task) -> Result<bool> {
    // Every task is SINGLE yet.
    if !(worker.roles.is_empty() || worker.roles.contains(&(TaskRole::Single as i32))) {
        return Ok(false);
    }
    if worker.engine != Engine::BuiltIn as i32 || !task.steps.iter().all(|step| worker.steps.contains(step)) {
        return Ok(false);
    }
    if !task.steps().contains(&Step::Data) {
        return Ok(true);
    }
    let Some(table) = read.get(&JOB_TABLES, &key::table_of(key, task))? else { return Ok(false) };
    let kind = table.target.as_ref().map_or(TargetKind::Unspecified as i32, |target| target.kind);
    Ok(worker.read_paths.contains(&(ReadPath::Storage as i32))
        && worker.target_kinds.contains(&kind)
        && table
            .delta
            .iter()
            .flat_map(|delta| &delta.reader_features)
            .all(|feature| worker.reader_features.contains(feature)))
}

/// Why a lease ends before its task does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseEnd {
    /// No heartbeat came in time.
    Expired,
    /// The worker gave it back.
    Released,
    /// The worker came back as another process.
    Restarted,
    /// The job was stopped.
    Stopped,
}

/// Ends a lease; the task goes back to what was done for sure. Nothing happens if the epoch is not the present one.
pub fn end(tx: &mut Tx<'_>, at: &Moment, key: &TaskKey, epoch: Epoch, why: LeaseEnd) -> Result<bool> {
    let Some(before) = tx.get(&TASKS, key)? else { return Ok(false) };
    if !before.leased() || before.epoch() != epoch {
        return Ok(false);
    }
    let mut task = before.clone();
    let worker = std::mem::take(&mut task.worker);
    task.instance.clear();
    let state = TaskState::of(&task).unwrap_or(TaskState::Init);
    task.state = state.rest() as i32;
    task.parked = why == LeaseEnd::Stopped;
    let text = match why {
        LeaseEnd::Expired => "the lease ran out",
        LeaseEnd::Released => "the lease was given back",
        LeaseEnd::Restarted => "the worker restarted",
        LeaseEnd::Stopped => "the job was stopped",
    };
    let lost = matches!(why, LeaseEnd::Expired | LeaseEnd::Restarted);
    let level = if lost { LogLevel::Warning } else { LogLevel::Info };
    rollup::log(tx, at, key, &mut task, &Line { level, ..Line::own(format!("{text} (workers/{worker})")) })?;
    if lost {
        task.expiries += 1;
        if task.expiries >= EXPIRIES_MAX {
            give_up(&mut task, state);
        }
    }
    rollup::save(tx, at, key, &before, task)?;
    Ok(true)
}

fn give_up(task: &mut Task, state: TaskState) {
    let failed = match state.rest().next_step(&task.steps()) {
        Some(Step::Data) => TaskState::DataFailed,
        Some(Step::Verification) => TaskState::VerificationFailed,
        _ => TaskState::SchemaFailed,
    };
    task.state = failed as i32;
    task.reason = Some(crate::record::Reason {
        reason: ErrorReason::LeaseExpired as i32,
        message: format!(
            "{EXPIRIES_MAX} leases ran out: look into the logs of the workers that held it, then RetryTask"
        ),
    });
}

/// All leases there are, or those of one worker.
pub fn all(read: &impl Read, worker: Option<&str>) -> Result<Vec<(TaskKey, Epoch)>> {
    let mut leases = Vec::new();
    let mut next = None;
    loop {
        let page = read.index_page(&TASKS, &LEASED_TASKS, &Scope::all(), next.as_ref(), 1000)?;
        let wanted = page.items.into_iter().filter(|(_, task)| worker.is_none_or(|id| task.worker == id));
        leases.extend(wanted.map(|(key, task)| (key, task.epoch())));
        match page.next {
            Some(cursor) => next = Some(cursor),
            None => return Ok(leases),
        }
    }
}
