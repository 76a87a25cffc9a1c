//! The fence: checks that a worker holds a task in an epoch. Every report of a worker about a task passes it first.
//! Reads only.

use std::ops::ControlFlow;

use mms_store::{Read, Scope};

use crate::error::{Result, SchedulerError};
use crate::key::TaskKey;
use crate::moment::Moment;
use crate::name;
use crate::record::{Epoch, Holder, Task, Worker};
use crate::store::{LEASED_TASKS, TASKS, WORKERS};

/// Returns the registered worker if `holder` is its present process.
pub fn worker(read: &impl Read, holder: &Holder) -> Result<Worker> {
    let unknown = || SchedulerError::WorkerUnknown(holder.worker.clone());
    read.get(&WORKERS, &holder.worker)?.filter(|known| known.instance == holder.instance).ok_or_else(unknown)
}

/// Returns the task if this worker holds it in this epoch; None if the lease is lost. In a store that was restored from a
/// copy no earlier lease is valid, because the store has a new incarnation.
pub fn held(read: &impl Read, at: &Moment, key: &TaskKey, holder: &Holder, epoch: Epoch) -> Result<Option<Task>> {
    let holds = |task: &Task| task.holder.as_ref() == Some(holder) && task.epoch == epoch && is_of(at, epoch);
    Ok(read.get(&TASKS, key)?.filter(holds))
}

/// As [`held`], for a worker that does not name its process. That is enough, because an epoch belongs to one lease and
/// so to one process. A worker without the lease gets an error.
pub fn held_by(read: &impl Read, at: &Moment, key: &TaskKey, worker: &str, epoch: Epoch) -> Result<Task> {
    let task = read.get(&TASKS, key)?.ok_or_else(|| SchedulerError::NotFound(name::task_name(key)))?;
    let holds = task.worker() == Some(worker) && task.epoch == epoch && is_of(at, epoch);
    if holds { Ok(task) } else { Err(SchedulerError::Fenced(name::task_name(key))) }
}

/// Whether an epoch was given out by this incarnation of the store.
pub fn is_of(at: &Moment, epoch: Epoch) -> bool {
    epoch.incarnation == at.incarnation.number
}

/// Returns all leased tasks, or those of one worker.
pub fn all(read: &impl Read, worker: Option<&str>) -> Result<Vec<(TaskKey, Task)>> {
    let mut leases = Vec::new();
    read.index_scan(&TASKS, &LEASED_TASKS, &Scope::all(), |key, task| {
        if worker.is_none_or(|id| task.worker() == Some(id)) {
            leases.push((key, task));
        }
        ControlFlow::Continue(())
    })?;
    Ok(leases)
}
