//! The scheduler decides what is to be done, and when.
//!
//! It plans jobs into tasks over pinned versions, leases tasks to workers, allows at most one open commit intent on
//! each target unit, and reports to the catalog what became of tables. It must never open a source or a target itself,
//! and builds without Arrow.

mod api;
mod commit;
mod config;
mod convert;
mod error;
#[cfg(test)]
mod fixture;
mod job;
mod key;
mod lease;
mod metrics;
#[cfg(test)]
mod model;
mod moment;
mod name;
mod pages;
mod peers;
mod plan;
mod record;
mod report;
mod retention;
#[cfg(test)]
mod rules;
mod scheduler;
mod source_uses;
mod store;
mod timer;
mod window;

use mms_proto::scheduler::v1::job_service_server::JobServiceServer;
use mms_proto::scheduler::v1::lineage_service_server::LineageServiceServer;
use mms_proto::scheduler::v1::timer_service_server::TimerServiceServer;
use mms_proto::scheduler::v1::worker_service_server::WorkerServiceServer;
use mms_server::{BoxError, Context, Critical, Services, sized};

pub use config::Config;

/// Opens the store and assembles the service. Its background tasks run under the frame's supervisor: if one ends before
/// shutdown, the process stops.
///
/// # Errors
/// If the store cannot be opened, or a channel to another service cannot be made.
pub async fn start(ctx: Context<Config>) -> Result<Services, BoxError> {
    let peers = peers::Peers::new(ctx.channel(&ctx.config.catalog)?, ctx.channel(&ctx.config.registry)?);
    let store = ctx.open_store(store::schema()).await?;
    let leases = lease::clock::Leases::new(ctx.config.lease_term());
    let rights = ctx.rights.clone();
    let scheduler = scheduler::Scheduler::new(store, leases, peers, now_ms, fastrand::f64)
        .with_roles(move |subject| rights.role_of(subject));
    lease::expire::adopt(&scheduler)?;
    metrics::follow(&ctx.metrics, &scheduler).await?;
    run(&ctx, "planner", plan::planner::run(scheduler.clone(), ctx.shutdown.clone()));
    run(&ctx, "leases", lease::expire::expire(scheduler.clone(), ctx.shutdown.clone()));
    run(&ctx, "lost targets", commit::sweep::run(scheduler.clone(), ctx.shutdown.clone()));
    run(&ctx, "makers", job::followers::run(scheduler.clone(), ctx.shutdown.clone()));
    run(&ctx, "notices", report::tell::tell(scheduler.clone(), ctx.shutdown.clone()));
    run(&ctx, "uses", source_uses::hold(scheduler.clone(), ctx.shutdown.clone()));
    run(&ctx, "timers", timer::clock::run(scheduler.clone(), ctx.shutdown.clone()));
    run(&ctx, "retention", retention::run(scheduler.clone(), ctx.shutdown.clone()));
    let api = api::Api::new(scheduler, ctx.shutdown.clone());
    let max = ctx.max_message_bytes();
    Ok(Services::new()
        .add(sized!(JobServiceServer::new(api.clone()), max))
        .add(sized!(WorkerServiceServer::new(api.clone()), max))
        .add(sized!(TimerServiceServer::new(api.clone()), max))
        .add(sized!(LineageServiceServer::new(api), max))
        .waiting("/mms.scheduler.v1.WorkerService/LeaseTasks"))
}

fn run(ctx: &Context<Config>, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
    ctx.spawn(name, Critical::Yes, async move {
        task.await;
        Ok(())
    });
}

fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
