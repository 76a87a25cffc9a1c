//! Periodic cleanup: closes idle sessions of the registry, and deletes what has expired: request ids, applied reports, kept
//! readings of logs, and the records of data sources that no longer exist.

use std::time::Duration;

use mms_server::requests;
use mms_store::Store;

use crate::core::Core;
use crate::error::Result;
use crate::{forget, migration};

const TICK: Duration = Duration::from_secs(30);
/// Missing data sources are looked for once in this many ticks (10 minutes).
const LOOK_EVERY: u64 = 20;

/// Runs until the process is told to stop, then closes all sessions.
pub async fn keep(core: Core) {
    let mut tick = tokio::time::interval(TICK);
    for round in 0_u64.. {
        tokio::select! {
            () = core.shutdown.cancelled() => break,
            _ = tick.tick() => {}
        }
        core.sources.sessions().close_idle().await;
        core.surveys.forget_old();
        let now = core.now_ms();
        if let Err(error) = forget_old(&core.store, now).await {
            tracing::error!(%error, "expired records could not be deleted; next attempt in 30 s");
        }
        if round % LOOK_EVERY == 0
            && let Err(error) = forget::gone(&core).await
        {
            tracing::debug!(%error, "cannot ask the registry which data sources still exist; next attempt in 10 min");
        }
    }
    core.sources.sessions().close_all().await;
}

async fn forget_old(store: &Store, now_ms: i64) -> Result<()> {
    while store.commit(move |tx| requests::forget(tx, now_ms)).await? {}
    store.commit(move |tx| migration::forget_applied(tx, now_ms)).await
}
