//! What goes on without being asked: forgetting, and giving back sessions that nobody uses.

use std::time::Duration;

use crate::core::Core;
use crate::error::CatalogError;
use crate::{migration, scan};

const TICK: Duration = Duration::from_secs(30);

/// Keeps house until the process is told to stop; then gives all sessions back.
pub async fn keep(core: Core) {
    let mut tick = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            () = core.shutdown.cancelled() => return core.sources.close_all().await,
            _ = tick.tick() => {}
        }
        core.sources.close_idle().await;
        let now = core.now_ms();
        let forgotten = core.store.commit(move |tx| {
            scan::control::forget_requests(tx, now)?;
            migration::forget_applied(tx, now)
        });
        if let Err(error) = forgotten.await {
            let error: CatalogError = error;
            tracing::error!(%error, "what is no longer needed could not be forgotten");
        }
    }
}
