//! Takes heartbeats of leases, and takes leases back that a worker releases.

use mms_store::{Read, Tx};
use tokio::time::Instant;

use super::clock::Progress;
use super::{denied, end, held};
use crate::error::{Result, SchedulerError};
use crate::key::TaskKey;
use crate::record::{Epoch, Holder, LeaseEnd, Rate, TaskEvent};
use crate::scheduler::Scheduler;
use crate::store::{JOBS, TASKS};
use crate::window;

/// What a worker is to do with a lease after a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Continue.
    GoOn,
    /// Continue to the next checkpoint, then release the lease: the job's time windows have closed.
    StopAtCheckpoint,
    /// Stop at once: the lease has ended or is held by another worker.
    Lost,
}

/// Renews a lease if the worker holds it. Returns what the worker is to do and the rate at which it may read from now
/// on. A checkpoint that is not empty is stored for the next holder.
pub async fn beat(
    scheduler: &Scheduler,
    holder: &Holder,
    key: &TaskKey,
    epoch: Epoch,
    progress: Progress,
    checkpoint: Vec<u8>,
) -> Result<(Verdict, Rate)> {
    let at = scheduler.moment();
    let holds = if checkpoint.is_empty() {
        scheduler.store.read(|read| held::held(read, &at, key, holder, epoch))?.is_some()
    } else {
        let (key, holder) = (key.clone(), holder.clone());
        let keep = move |tx: &mut Tx<'_>| {
            let Some(mut task) = held::held(tx, &at, &key, &holder, epoch)? else { return Ok(false) };
            task.apply(&at, TaskEvent::CheckpointKept(checkpoint))?;
            tx.put(&TASKS, &key, &task)?;
            Ok::<_, SchedulerError>(true)
        };
        scheduler.store.commit_soon(keep).await?
    };
    if !holds {
        return Ok((Verdict::Lost, Rate::default()));
    }
    let reads = progress.rows > 0;
    scheduler.leases.beat(key, epoch, progress, Instant::now());
    if reads {
        denied::reads(scheduler, key, epoch).await?;
    }
    let job = scheduler.store.read(|read| read.get(&JOBS, &key.job))?;
    let stops = job.as_ref().is_some_and(|job| window::stops_at_checkpoint(job, at.now_ms));
    let rate = job.map(|job| scheduler.leases.share(key, &job.limits)).unwrap_or_default();
    Ok((if stops { Verdict::StopAtCheckpoint } else { Verdict::GoOn }, rate))
}

/// Ends a lease that its holder releases. Does nothing if the worker no longer holds it.
pub async fn give_back(scheduler: &Scheduler, holder: &Holder, key: &TaskKey, epoch: Epoch) -> Result<()> {
    let (at, task, by) = (scheduler.moment(), key.clone(), holder.clone());
    let give_back = move |tx: &mut Tx<'_>| match held::held(tx, &at, &task, &by, epoch)? {
        Some(_) => end::end(tx, &at, &task, epoch, LeaseEnd::Released).map(drop),
        None => Ok(()),
    };
    scheduler.store.commit_soon(give_back).await?;
    scheduler.leases.end(key, epoch);
    Ok(())
}
