//! A worker waits for tasks.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::dispatch::{self, Granted};
use super::held;
use crate::error::{Result, SchedulerError};
use crate::record::{Holder, Worker};
use crate::scheduler::Scheduler;

/// Pause before it looks again after a change: in a busy store many changes come together, and each look reads all jobs.
const LOOK_PACE: Duration = Duration::from_millis(20);
/// Who waits also looks by itself, for tasks whose retry time has come.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Notes that a worker was heard of; refuses one that did not register as this process.
pub fn heard(scheduler: &Scheduler, holder: &Holder) -> Result<Worker> {
    scheduler.leases.saw(&holder.worker, scheduler.moment().now_ms);
    scheduler.store.read(|read| held::worker(read, holder))
}

/// Leases up to `max` tasks to a worker; waits for the first of them as long as it is told to, and until `stop`.
pub async fn wait(
    scheduler: &Scheduler,
    stop: &CancellationToken,
    holder: &Holder,
    max: usize,
    wait: Duration,
) -> Result<Vec<Granted>> {
    let until = Instant::now() + wait;
    let mut changes = scheduler.store.subscribe();
    loop {
        changes.mark_unchanged();
        heard(scheduler, holder)?;
        let granted = lease(scheduler, holder, max).await?;
        if !granted.is_empty() || Instant::now() >= until {
            return Ok(granted);
        }
        let look = (Instant::now() + LOOK_EVERY).min(until);
        tokio::select! {
            // Whoever stops answers those who wait at once: they ask again after the restart.
            () = stop.cancelled() => return Ok(Vec::new()),
            _ = changes.changed() => tokio::time::sleep(LOOK_PACE).await,
            () = tokio::time::sleep_until(look) => {}
        }
    }
}

/// Leases what there is now. Looks first, as a commit waits for the disk.
async fn lease(scheduler: &Scheduler, holder: &Holder, max: usize) -> Result<Vec<Granted>> {
    let at = scheduler.moment();
    let ready = scheduler.store.read(|read| {
        let known = held::worker(read, holder)?;
        Ok::<_, SchedulerError>(!dispatch::candidates(read, &at, &known, 1)?.is_empty())
    })?;
    if !ready {
        return Ok(Vec::new());
    }
    let asked = holder.clone();
    // A lease that this process forgets is one that is lost: whoever holds it is told so.
    let granted = scheduler.store.commit_soon(move |tx| dispatch::grant(tx, &at, &asked, max)).await?;
    let now = Instant::now();
    for one in &granted {
        scheduler.leases.begin(one.key.clone(), one.task.epoch, now);
    }
    Ok(granted)
}
