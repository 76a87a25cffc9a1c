//! Giving tasks to workers, inside a commit. A lease is an epoch on the task's own record: whoever names another epoch is
//! fenced. How long a lease lasts is told by [`super::clock`], never by the record.

use mms_store::{Index, Read, Scope, Tx};
use prost::Message;

use super::{denied, held, lacks};
use crate::commit::{open, target};
use crate::error::Result;
use crate::job::rollup;
use crate::key::{DataSourceKey, JobKey, TaskKey};
use crate::moment::Moment;
use crate::record::{AtTarget, Holder, Identity, Intent, Job, JobTable, Task, TaskEvent, Worker};
use crate::report::log::{self, Line};
use crate::store::{JOB_TABLES, JOBS, LEASED_TASKS, LIVE_JOBS, LOOKS, READY_TASKS, TASKS};
use crate::window;

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
    /// Open intents on its units.
    pub open: Vec<(String, Intent)>,
    /// The target table that there is, as far as it is known.
    pub identity: Option<Identity>,
}

/// Bytes of tasks, their tables and open intents that are leased at once, so that an answer stays far below what a
/// message may have.
const BYTES_AT_ONCE: usize = 6 << 20;

/// Leases up to `max` tasks that the worker can do: jobs by deadline, priority and age, tasks of a job in their order.
/// Fewer when they are large, but one at least.
pub fn grant(tx: &mut Tx<'_>, at: &Moment, holder: &Holder, max: usize) -> Result<Vec<Granted>> {
    let worker = held::worker(tx, holder)?;
    let mut granted = Vec::new();
    let mut bytes = 0;
    for key in candidates(tx, at, &worker, max)? {
        let Some(before) = tx.get(&TASKS, &key)? else { continue };
        let Some(table) = tx.get(&JOB_TABLES, &before.table_key(&key.job))? else { continue };
        let open = open::of_task(tx, &key, &before)?;
        bytes += before.encoded_len() + table.encoded_len();
        bytes += open.iter().map(|(_, intent)| intent.encoded_len()).sum::<usize>();
        if bytes > BYTES_AT_ONCE && !granted.is_empty() {
            break;
        }
        let mut task = before.clone();
        task.apply(at, TaskEvent::Leased(holder.clone()))?;
        if let Some(first) = task.next_step() {
            task.apply(at, TaskEvent::StepBegun(first))?;
        }
        let line = format!("leased to workers/{}, attempt {}", holder.worker, task.attempt);
        log::write(tx, at, &key, &mut task, &Line::own(line))?;
        denied::tried(tx, at, &key, task.epoch)?;
        rollup::save(tx, at, &key, &before, task)?;
        // Read again: saving the first lease of a table or job changed them.
        let stored =
            (tx.get(&TASKS, &key)?, tx.get(&JOBS, &key.job)?, tx.get(&JOB_TABLES, &before.table_key(&key.job))?);
        if let (Some(task), Some(job), Some(table)) = stored {
            let identity = known(tx, &table)?.identity().cloned();
            granted.push(Granted { key, task, job, table, open, identity });
        }
    }
    Ok(granted)
}

/// Tasks that a worker could lease now, in order. Reads only, so that waiting costs no commit.
pub fn candidates(read: &impl Read, at: &Moment, worker: &Worker, max: usize) -> Result<Vec<TaskKey>> {
    let mut found: Vec<TaskKey> = Vec::new();
    let mut next = None;
    loop {
        let page = read.index_page(&JOBS, &LIVE_JOBS, &Scope::all(), next.as_ref(), 100)?;
        for (key, job) in page.items {
            if !job.dispatches() || job.spec().pool != worker.pool || !window::is_open(&job, at.now_ms) {
                continue;
            }
            // The source's bound holds over all its jobs, and the job's over its own tasks.
            let source = DataSourceKey { data_source: key.data_source.clone() };
            let found_of_source = found.iter().filter(|task| task.job.data_source == source.data_source).count();
            let of_source = leased_of(read, &Scope::prefix(&source))? + found_of_source;
            let of_job = leased_of(read, &Scope::prefix(&key))? + found.iter().filter(|task| task.job == key).count();
            let left = |bound: i32, running: usize| usize::try_from(bound).unwrap_or(0).saturating_sub(running);
            let limits = &job.limits;
            let room =
                left(limits.source_max_concurrent_tasks, of_source).min(left(limits.max_concurrent_tasks, of_job));
            let room = room.min(max - found.len());
            // Of a source whose credential is refused, one task tries it.
            let room = match denied::room(read, at, &key)? {
                Some(tries) => room.min(tries.saturating_sub(found_of_source)),
                None => room,
            };
            let before = found.len();
            ready_of(read, at, worker, &key, &READY_TASKS, room, &mut found)?;
            if job.counts.all_but_looks() {
                let left = room - (found.len() - before);
                ready_of(read, at, worker, &key, &LOOKS, left, &mut found)?;
            }
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
    index: &Index<TaskKey, TaskKey, Task>,
    mut room: usize,
    found: &mut Vec<TaskKey>,
) -> Result<()> {
    let mut next = None;
    while room > 0 {
        // Not many more than are taken: those that wait for their retry time are few.
        let page = read.index_page(&TASKS, index, &Scope::prefix(job), next.as_ref(), (2 * room).clamp(4, 100))?;
        for (key, task) in page.items {
            if room == 0 {
                break;
            }
            if task.retry_time_ms <= at.now_ms && able(read, worker, &key, &task)? {
                found.push(key);
                room -= 1;
            }
        }
        match page.next {
            Some(cursor) => next = Some(cursor),
            None => break,
        }
    }
    Ok(())
}

/// What is known of the target of a table.
fn known(read: &impl Read, table: &JobTable) -> Result<AtTarget> {
    let name = table.plan.target_name();
    name.map_or_else(|| Ok(AtTarget::default()), |name| target::of(read, name))
}

/// Whether a worker has all that a task asks.
fn able(read: &impl Read, worker: &Worker, key: &TaskKey, task: &Task) -> Result<bool> {
    let table = read.get(&JOB_TABLES, &task.table_key(&key.job))?;
    // Not the tasks of a table that is only stored in part, or is planned anew.
    let Some(table) = table.filter(|table| table.planned) else { return Ok(false) };
    let known = known(read, &table)?;
    if known.is_stale() || !task.is_of_generation(known.generation()) {
        // What it did, or would begin with, is being taken back.
        return Ok(false);
    }
    Ok(lacks::of(worker, task, &table).is_empty())
}
