//! Patience with the registry and with storages that do not answer.

use std::time::Duration;

use crate::error::Result;

/// Waits between attempts while the registry or the storage does not answer, growing up to the second figure.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));
/// After so many attempts in a row that failed so, a scan fails.
const RETRIES: u32 = 40;

/// Tries again while the failure may pass by itself.
pub async fn patiently<T, F: Future<Output = Result<T>>>(mut call: impl FnMut() -> F) -> Result<T> {
    let mut wait = RETRY.0;
    for _ in 1..RETRIES {
        match call().await {
            Err(error) if error.is_transient() => {
                tracing::debug!(%error, "trying again");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(RETRY.1);
            }
            other => return other,
        }
    }
    call().await
}
