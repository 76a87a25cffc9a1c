//! Leases tasks to workers, inside a commit: in the order of [`fair`], within the bounds of [`super::room`]. A lease
//! raises the epoch on the task's own record, so that an earlier holder is fenced. The record never says how long a
//! lease lasts: [`super::clock`] does.

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;

use mms_store::{Index, Read, Scope, Tx};
use prost::Message;

use super::fair::{self, Standing};
use super::room::Running;
use super::{denied, held, lacks};
use crate::commit::{open, target};
use crate::error::Result;
use crate::job::rollup;
use crate::key::{DataSourceKey, JobKey, TaskKey};
use crate::moment::Moment;
use crate::record::{AtTarget, Holder, Identity, Intent, Job, JobTable, Limits, Task, TaskEvent, Worker};
use crate::report::log::{self, Line};
use crate::store::{JOB_TABLES, JOBS, LEASED_TASKS, LIVE_JOBS, LOOKS, READY_TASKS, TASKS};
use crate::window;

/// A leased task, with all that the answer to its worker needs.
#[derive(Debug, Clone)]
pub struct Granted {
    pub key: TaskKey,
    /// The task as stored with its lease.
    pub task: Task,
    pub job: Job,
    pub table: JobTable,
    /// Open commit intents on its units, with their ids.
    pub open: Vec<(String, Intent)>,
    /// Which target table exists, if that is known.
    pub identity: Option<Identity>,
}

/// Bound of the bytes of tasks, tables and open intents in one answer, so that it stays far below the largest message.
const BYTES_AT_ONCE: usize = 6 << 20;

/// Leases up to `max` tasks that the worker can do, in the order of [`candidates`]. Fewer if they are large, but at
/// least one if there is any.
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
        // Read again: saving the first lease of a table or a job has changed them.
        let stored =
            (tx.get(&TASKS, &key)?, tx.get(&JOBS, &key.job)?, tx.get(&JOB_TABLES, &before.table_key(&key.job))?);
        if let (Some(task), Some(job), Some(table)) = stored {
            let identity = known(tx, &table)?.identity().cloned();
            granted.push(Granted { key, task, job, table, open, identity });
        }
    }
    Ok(granted)
}

/// Returns the tasks that a worker could lease now, in order: each is the next task of the job whose [turn](fair::next)
/// it is, as long as no bound is reached. Reads only, so that waiting costs no commit.
pub fn candidates(read: &impl Read, at: &Moment, worker: &Worker, max: usize) -> Result<Vec<TaskKey>> {
    let (mut jobs, mut standings) = (Vec::new(), Vec::new());
    read.index_scan(&JOBS, &LIVE_JOBS, &Scope::all(), |key, job| {
        if job.dispatches() && job.spec().pool == worker.pool && window::is_open(&job, at.now_ms) {
            standings.push(standing(&key, &job, standings.len()));
            jobs.push(Ready::of(key, &job));
        }
        ControlFlow::Continue(())
    })?;
    let mut running = running(read, &jobs)?;
    for standing in &mut standings {
        standing.running = running.of_job(&standing.job);
    }
    // If a data source's credential is refused, one of its tasks tries it.
    let tries: Vec<Option<usize>> = jobs.iter().map(|job| denied::room(read, at, &job.key)).collect::<Result<_>>()?;
    let mut found: Vec<TaskKey> = Vec::new();
    while found.len() < max {
        let Some(turn) = fair::next(&standings) else { break };
        let (Some(job), Some(standing)) = (jobs.get_mut(turn), standings.get_mut(turn)) else { break };
        let of_source = || found.iter().filter(|task| task.job.data_source == job.key.data_source).count();
        if tries.get(turn).copied().flatten().is_some_and(|tries| of_source() >= tries) {
            standing.exhausted = true;
            continue;
        }
        match job.next(read, at, worker, &running)? {
            Some((key, task)) => {
                running.add(&key, &task.planned().schema, &task.planned().table);
                // Later than any lease that is stored.
                (standing.running, standing.served) =
                    (standing.running + 1, i64::MAX - i64::from(u32::MAX) + count(&found));
                found.push(key);
            }
            None => standing.exhausted = true,
        }
    }
    Ok(found)
}

fn count(found: &[TaskKey]) -> i64 {
    i64::try_from(found.len()).unwrap_or(i64::MAX)
}

fn standing(key: &JobKey, job: &Job, age: usize) -> Standing {
    let spec = job.spec();
    Standing {
        job: key.clone(),
        deadline_ms: if spec.deadline_ms == 0 { i64::MAX } else { spec.deadline_ms },
        rank: -i64::from(spec.priority),
        age,
        running: 0,
        served: job.served_ms,
        exhausted: false,
    }
}

/// Counts the leased tasks of the data sources of these jobs. Tasks are read only where limits bound schemas or tables;
/// otherwise their keys suffice.
pub fn running<'a>(read: &impl Read, jobs: impl IntoIterator<Item = &'a Ready>) -> Result<Running> {
    let mut sources: BTreeMap<&str, bool> = BTreeMap::new();
    for job in jobs {
        *sources.entry(&job.key.data_source).or_default() |= job.limits.bounds_tables();
    }
    let mut running = Running::default();
    for (source, by_table) in sources {
        let scope = Scope::prefix(&DataSourceKey { data_source: source.to_owned() });
        if by_table {
            read.index_scan(&TASKS, &LEASED_TASKS, &scope, |key, task| {
                running.add(&key, &task.planned().schema, &task.planned().table);
                ControlFlow::Continue(())
            })?;
        } else {
            let leased = read.index_keys(&TASKS, &LEASED_TASKS, &scope, None, LEASED_MAX)?;
            leased.items.iter().for_each(|key| running.add_of(&key.job));
        }
    }
    Ok(running)
}

/// Leased tasks of one data source that are counted; no bound of a data source or a job is greater.
const LEASED_MAX: usize = 1_000;
/// Tasks of one job that are read together.
const READY_AT_ONCE: usize = 20;

/// The waiting tasks of a job, in order. Its LOOK tasks follow when no other task of it is left.
pub struct Ready {
    key: JobKey,
    limits: Limits,
    indexes: VecDeque<&'static Index<TaskKey, TaskKey, Task>>,
    cursor: Option<(TaskKey, TaskKey)>,
    read: VecDeque<(TaskKey, Task)>,
    begun: bool,
}

impl Ready {
    pub fn of(key: JobKey, job: &Job) -> Self {
        let looks = job.counts.all_but_looks().then_some(&LOOKS);
        let indexes = [&READY_TASKS].into_iter().chain(looks).collect();
        Self { key, limits: job.limits.clone(), indexes, cursor: None, read: VecDeque::new(), begun: false }
    }

    /// Returns the next task that this worker can do and that no bound holds back.
    fn next(
        &mut self,
        read: &impl Read,
        at: &Moment,
        worker: &Worker,
        running: &Running,
    ) -> Result<Option<(TaskKey, Task)>> {
        loop {
            if running.job_full(&self.limits, &self.key).is_some() {
                return Ok(None);
            }
            while let Some((key, task)) = self.read.pop_front() {
                let planned = task.planned();
                if task.retry_time_ms <= at.now_ms
                    && running.full(&self.limits, &self.key, &planned.schema, &planned.table).is_none()
                    && able(read, worker, &key, &task)?
                {
                    return Ok(Some((key, task)));
                }
            }
            let Some(index) = self.indexes.front().copied() else { return Ok(None) };
            if self.begun && self.cursor.is_none() {
                self.indexes.pop_front();
                self.begun = false;
                continue;
            }
            let page =
                read.index_page(&TASKS, index, &Scope::prefix(&self.key), self.cursor.as_ref(), READY_AT_ONCE)?;
            (self.read, self.cursor, self.begun) = (page.items.into(), page.next, true);
        }
    }
}

/// Returns what is known of a table's target.
fn known(read: &impl Read, table: &JobTable) -> Result<AtTarget> {
    let name = table.plan.target_name();
    name.map_or_else(|| Ok(AtTarget::default()), |name| target::of(read, name))
}

/// Whether a worker can do a task now.
fn able(read: &impl Read, worker: &Worker, key: &TaskKey, task: &Task) -> Result<bool> {
    let table = read.get(&JOB_TABLES, &task.table_key(&key.job))?;
    // A table that is only partly stored, or is planned again, has no tasks to lease yet.
    let Some(table) = table.filter(|table| table.planned) else { return Ok(false) };
    let known = known(read, &table)?;
    if known.is_stale() || !task.is_of_generation(known.generation()) {
        // What the task did, or would continue, is being taken back because the target was deleted or recreated.
        return Ok(false);
    }
    Ok(lacks::of(worker, task, &table).is_empty())
}
