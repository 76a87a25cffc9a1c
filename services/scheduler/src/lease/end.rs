//! Ends leases, inside a commit.

use mms_proto::scheduler::v1::LogLevel;
use mms_store::{Read, Tx};

use crate::error::Result;
use crate::job::rollup;
use crate::key::TaskKey;
use crate::moment::Moment;
use crate::record::{Epoch, LeaseEnd, TaskEvent};
use crate::report::log::{self, Line};
use crate::store::TASKS;

/// Ends the lease of this epoch: the task returns to its last completed step and can be leased again. Returns false,
/// and changes nothing, if the task is not leased in this epoch.
pub fn end(tx: &mut Tx<'_>, at: &Moment, key: &TaskKey, epoch: Epoch, why: LeaseEnd) -> Result<bool> {
    let Some(before) = tx.get(&TASKS, key)?.filter(|task| task.epoch == epoch) else { return Ok(false) };
    let Some(worker) = before.worker() else { return Ok(false) };
    let text = match why {
        LeaseEnd::Expired => "lease expired",
        LeaseEnd::Released => "lease released",
        LeaseEnd::Restarted => "lease ended: the worker restarted",
        LeaseEnd::Stopped => "lease ended: the job was stopped",
        LeaseEnd::Waits => "lease ended: the table is looked at when all other tasks of the job have ended",
    };
    let level = if why.is_loss() { LogLevel::Warning } else { LogLevel::Info };
    let mut task = before.clone();
    task.apply(at, TaskEvent::LeaseEnded(why))?;
    log::write(tx, at, key, &mut task, &Line { level, ..Line::own(format!("{text} (workers/{worker})")) })?;
    rollup::save(tx, at, key, &before, task)?;
    Ok(true)
}
