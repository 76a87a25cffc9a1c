//! What a worker says of its leases between their begin and their end: heartbeats, and that it gives them back.

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

/// What a worker is to do with a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Go on.
    GoOn,
    /// Go on to the next checkpoint, then give it back: the windows of its job have closed.
    StopAtCheckpoint,
    /// It is lost.
    Lost,
}

/// Prolongs a lease, if the worker holds it, and says what is to be done with it and how fast it may read. A checkpoint that is not empty is kept for a
/// successor.
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

/// Takes a lease back that its holder gives; one that it has no more is left alone.
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
