//! Lets a worker wait for tasks (long polling of `LeaseTasks`).

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::dispatch::{self, Granted};
use super::held;
use crate::error::{Result, SchedulerError};
use crate::record::{Holder, Worker};
use crate::scheduler::Scheduler;

/// Pause between a change of the store and the next attempt. A busy store has many changes, and each attempt reads all
/// live jobs.
const LOOK_PACE: Duration = Duration::from_millis(20);
/// Longest time between two attempts without a change, for tasks whose retry time has come.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Notes that a worker was heard of. An error if this process of it is not registered.
pub fn heard(scheduler: &Scheduler, holder: &Holder) -> Result<Worker> {
    scheduler.leases.saw(&holder.worker, scheduler.moment().now_ms);
    scheduler.store.read(|read| held::worker(read, holder))
}

/// Leases up to `max` tasks to a worker. Waits up to `wait` for the first of them, and ends early when `stop` is
/// cancelled.
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
            // At shutdown those who wait are answered at once; they ask again after the restart.
            () = stop.cancelled() => return Ok(Vec::new()),
            _ = changes.changed() => tokio::time::sleep(LOOK_PACE).await,
            () = tokio::time::sleep_until(look) => {}
        }
    }
}

/// Leases what is ready now. Reads before it writes, because a commit waits for the disk.
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
    // Not durable at once: a lease that a crash forgets is lost, and its holder learns that from its next heartbeat.
    let granted = scheduler.store.commit_soon(move |tx| dispatch::grant(tx, &at, &asked, max)).await?;
    let now = Instant::now();
    for one in &granted {
        scheduler.leases.begin(one.key.clone(), one.task.epoch, now);
    }
    Ok(granted)
}
