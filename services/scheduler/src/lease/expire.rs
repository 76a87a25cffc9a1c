//! Leases run out: the background task that ends those whose holders were not heard of in time.

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

/// How often leases are looked at; well below any term.
const LEASE_TICK: Duration = Duration::from_millis(250);

/// Gives every lease that is in the store and not on the clock one full term: at start all of them, later those whose
/// worker went away before it heard of them. Reads no task that is on the clock: this is done often.
pub fn adopt(scheduler: &Scheduler) -> Result<()> {
    let leased = scheduler.store.read(|read| read.all_index_keys(&TASKS, &LEASED_TASKS, &Scope::all()))?;
    for key in leased.into_iter().filter(|key| !scheduler.leases.knows(key)) {
        // It may have ended meanwhile.
        let task = scheduler.store.read(|read| read.get(&TASKS, &key))?;
        if let Some(task) = task.filter(Task::leased) {
            scheduler.leases.adopt(key, task.epoch, Instant::now());
        }
    }
    Ok(())
}

/// Ends leases whose holders were not heard of in time.
pub async fn expire(scheduler: Scheduler, stop: CancellationToken) {
    let mut tick = tokio::time::interval(LEASE_TICK);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        if let Err(error) = adopt(&scheduler) {
            tracing::error!(%error, "the leases could not be read");
        }
        for (key, epoch) in scheduler.leases.due(Instant::now()) {
            let at = scheduler.moment();
            let task = key.clone();
            match scheduler.store.commit(move |tx| end::end(tx, &at, &task, epoch, LeaseEnd::Expired)).await {
                Ok(ended) => {
                    scheduler.leases.end(&key, epoch);
                    if ended {
                        scheduler.leases.ran_out();
                        tracing::info!(task = name::task_name(&key), "the lease ran out");
                    }
                }
                Err(error) => tracing::error!(%error, task = name::task_name(&key), "a lease could not be ended"),
            }
        }
    }
}
