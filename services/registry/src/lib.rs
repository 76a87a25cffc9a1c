//! Registry: who may connect where.
//!
//! Owns data sources, network connections, their secrets (encrypted at rest), sessions and uses. Secrets leave it through one
//! method only, OpenSession, and only to the suite's own services. It must never read a table's rows, and is built without Arrow.

mod access;
mod api;
mod background;
mod canary;
mod check;
pub mod config;
mod convert;
mod core;
mod destination;
mod error;
mod far;
mod items;
pub mod key_file;
mod lease;
mod mask;
mod metrics;
mod network;
mod purpose;
mod record;
mod reference;
mod request;
mod rules;
mod run;
mod sealed;
mod secrets;
mod source;
mod state;
mod store;
mod vault;
mod vend;
mod vended;

use mms_proto::registry::v1::data_source_service_server::DataSourceServiceServer;
use mms_proto::registry::v1::network_connection_service_server::NetworkConnectionServiceServer;
use mms_proto::registry::v1::session_service_server::SessionServiceServer;
use mms_server::{BoxError, Context, Critical, Services, sized};

pub use config::Config;
pub use key_file::{KeyError, ensure_key_file};

use crate::api::Api;
use crate::core::Core;

/// Assembles the service: reads the keys, opens the store, takes over what an earlier process left, and mounts its gRPC services.
///
/// # Errors
/// When a key cannot be read or is not the one that the store was written with, or the store cannot be opened.
pub async fn start(context: Context<Config>) -> Result<Services, BoxError> {
    let config = context.config.clone();
    mms_server::telemetry::mask_lines(mms_http::redact::redact_known);
    mms_ends::guard_addresses(config.allow_loopback);
    let keys = tokio::task::spawn_blocking(move || config.key_ring()).await??;
    let store = context.open_store(store::schema()).await?;
    canary::check(&store, &keys, &context.config.lost_encryption_keys).await?;
    let guard = context.config.guard(&context.frame);
    let core = Core::new(store, keys, guard, &context.config, now_ms);
    background::adopt(&core).await?;
    metrics::follow(&context.metrics, &core).await?;
    context.spawn("registry-house", Critical::Yes, background::keep_house(core.clone(), context.shutdown.clone()));
    let (api, size) = (Api::new(core), context.max_message_bytes());
    Ok(Services::new()
        .add(sized!(DataSourceServiceServer::new(api.clone()), size))
        .add(sized!(NetworkConnectionServiceServer::new(api.clone()), size))
        .add(sized!(SessionServiceServer::new(api), size)))
}

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
