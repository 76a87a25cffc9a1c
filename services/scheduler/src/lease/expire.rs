//! Ends leases whose holders were not heard of in time, in the background.

use std::time::Duration;

use mms_store::{Read, Scope};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::end;
use crate::error::Result;
use crate::name;
use crate::record::{LeaseEnd, Task};
use crate::scheduler::Scheduler;
use crate::store::{LEASED_TASKS, TASKS};

/// How often leases are checked; well below any term.
const LEASE_TICK: Duration = Duration::from_millis(250);

/// Puts every lease of the store that is not on the clock on it, with one full term: at start all of them, later those
/// whose worker disconnected before the answer. Reads no task whose lease is on the clock, because this runs four times
/// a second.
pub fn adopt(scheduler: &Scheduler) -> Result<()> {
    let leased = scheduler.store.read(|read| read.all_index_keys(&TASKS, &LEASED_TASKS, &Scope::all()))?;
    for key in leased.into_iter().filter(|key| !scheduler.leases.knows(key)) {
        // The lease may have ended since the keys were read.
        let task = scheduler.store.read(|read| read.get(&TASKS, &key))?;
        if let Some(task) = task.filter(Task::leased) {
            scheduler.leases.adopt(key, task.epoch, Instant::now());
        }
    }
    Ok(())
}

/// Ends expired leases, and adopts unknown ones, until the token is cancelled.
pub async fn expire(scheduler: Scheduler, stop: CancellationToken) {
    let mut tick = tokio::time::interval(LEASE_TICK);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        if let Err(error) = adopt(&scheduler) {
            tracing::error!(%error, "cannot read the leases; next attempt in 250 ms");
        }
        for (key, epoch) in scheduler.leases.due(Instant::now()) {
            let at = scheduler.moment();
            let task = key.clone();
            match scheduler.store.commit(move |tx| end::end(tx, &at, &task, epoch, LeaseEnd::Expired)).await {
                Ok(ended) => {
                    scheduler.leases.end(&key, epoch);
                    if ended {
                        scheduler.leases.ran_out();
                        tracing::info!(
                            task = name::task_name(&key),
                            "lease expired: no heartbeat in time; the task can be leased again"
                        );
                    }
                }
                Err(error) => {
                    tracing::error!(%error, task = name::task_name(&key), "cannot end an expired lease; next attempt in 250 ms")
                }
            }
        }
    }
}
