//! Uses of data sources: held at the registry as long as a job has not come to rest, and given back then.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::job::carry::open_jobs;
use crate::key::JobKey;
use crate::name;
use crate::scheduler::Scheduler;

/// How often uses are prolonged.
const TICK: Duration = Duration::from_secs(20);

/// Prolongs the uses of data sources by jobs that have not ended, and gives those of ended jobs back.
pub async fn hold(scheduler: Scheduler, stop: CancellationToken) {
    let mut tick = tokio::time::interval(TICK);
    let mut held: BTreeSet<JobKey> = BTreeSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        match open_jobs(&scheduler) {
            Ok(open) => hold_these(&scheduler, &mut held, open.into_iter().collect()).await,
            Err(error) => tracing::error!(%error, "the jobs could not be read"),
        }
    }
}

async fn hold_these(scheduler: &Scheduler, held: &mut BTreeSet<JobKey>, open: BTreeSet<JobKey>) {
    for job in &open {
        match scheduler.peers.acquire(&job.data_source, &name::job_name(job)).await {
            Ok(_) => drop(held.insert(job.clone())),
            Err(error) => tracing::warn!(%error, job = name::job_name(job), "the use of its source is not prolonged"),
        }
    }
    let ended: Vec<JobKey> = held.difference(&open).cloned().collect();
    for job in ended {
        scheduler.leases.forget(&job);
        match scheduler.peers.release(&job.data_source, &name::job_name(&job)).await {
            Ok(()) => drop(held.remove(&job)),
            Err(error) => tracing::warn!(%error, job = name::job_name(&job), "the use of its source is not given back"),
        }
    }
}
