//! What goes on without being asked: forgetting, data sources that are gone included, and giving back sessions that nobody
//! uses.

use std::time::Duration;

use crate::core::Core;
use crate::error::CatalogError;
use crate::{forget, migration, scan};

const TICK: Duration = Duration::from_secs(30);
/// Ticks between two looks for data sources that are gone.
const LOOK_EVERY: u64 = 20;

/// Keeps house until the process is told to stop; then gives all sessions back.
pub async fn keep(core: Core) {
    let mut tick = tokio::time::interval(TICK);
    for round in 0_u64.. {
        tokio::select! {
            () = core.shutdown.cancelled() => break,
            _ = tick.tick() => {}
        }
        core.sources.sessions().close_idle().await;
        let now = core.now_ms();
        let forgotten = core.store.commit(move |tx| {
            scan::control::forget_requests(tx, now)?;
            migration::forget_applied(tx, now)
        });
        if let Err(error) = forgotten.await {
            let error: CatalogError = error;
            tracing::error!(%error, "what is no longer needed could not be forgotten");
        }
        if round % LOOK_EVERY == 0
            && let Err(error) = forget::gone(&core).await
        {
            tracing::debug!(%error, "whether data sources are gone could not be found out");
        }
    }
    core.sources.sessions().close_all().await;
}
