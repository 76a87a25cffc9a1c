//! Catalog: what is there, and where does it go?
//!
//! Scans the source's catalog into its own store, keeps where each table goes and how far its migration has come, and plans
//! tables at pinned versions. It must never write to the source or the target, never hold rows, and never keep a secret longer
//! than the session that brought it.

mod api;
mod config;
mod convert;
mod core;
mod error;
#[cfg(test)]
mod fixture;
mod forget;
mod house;
mod key;
mod lists;
mod metrics;
mod migration;
mod peers;
mod plan;
mod record;
mod rollup;
mod scan;
mod source;
mod status;
mod store;
mod survey;
mod target;

use mms_proto::catalog::v1::catalog_service_server::CatalogServiceServer;
use mms_proto::catalog::v1::planning_service_server::PlanningServiceServer;
use mms_proto::catalog::v1::scan_service_server::ScanServiceServer;
use mms_server::{BoxError, Context, Critical, Services, sized};

pub use config::{Config, PlanConfig, ScanConfig};

use crate::api::Api;
use crate::core::{Bounds, Core};
use crate::peers::Peers;

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// Assembles the service: opens its store, resumes interrupted scans, and mounts its gRPC services.
///
/// # Errors
/// When the store cannot be opened, or the channel to the registry cannot be created.
pub async fn start(context: Context<Config>) -> Result<Services, BoxError> {
    mms_server::telemetry::mask_lines(mms_http::redact::redact_known);
    mms_ends::guard_addresses(context.config.allow_loopback);
    let store = context.open_store(store::schema()).await?;
    let registry = context.channel(&context.config.registry)?;
    let bounds = Bounds {
        metadata_concurrency: context.config.scan.metadata_concurrency,
        plan_memory: context.config.plan.memory_bytes,
        kept_memory: context.config.plan.kept_bytes,
    };
    let core = Core::new(
        store,
        Peers::new(registry),
        context.config.scan.at_once,
        bounds,
        context.supervisor.clone(),
        context.shutdown.clone(),
        scan::counted::Counted::of(&context.metrics),
        now_ms,
    );
    metrics::follow(&context.metrics, &core).await?;
    scan::resume(&core)?;
    let keeper = core.clone();
    context.spawn("housekeeping", Critical::Yes, async move {
        house::keep(keeper).await;
        Ok(())
    });
    let clock = core.clone();
    context.spawn("scans on a clock", Critical::Yes, async move {
        scan::clock::run(clock).await;
        Ok(())
    });
    let api = Api::new(core);
    let max = context.max_message_bytes();
    Ok(Services::new()
        .add(sized!(CatalogServiceServer::new(api.clone()), max))
        .add(sized!(ScanServiceServer::new(api.clone()), max))
        .add(sized!(PlanningServiceServer::new(api), max)))
}
