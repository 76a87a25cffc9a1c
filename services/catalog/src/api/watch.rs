//! The stream that follows a scan. A position is the store's: the durable revision of the scan that the caller has seen.

use std::time::Duration;

use mms_proto::ApiError;
use mms_proto::catalog::v1 as pb;
use mms_server::stream::Answers;
use tonic::Status;

use super::Api;
use crate::convert;
use crate::record::ScanState;
use crate::scan::control;
use crate::store::ScanKey;

pub type ScanStream = Answers<pb::WatchScanResponse>;

/// Least time between two answers.
const PACE: Duration = Duration::from_millis(100);
/// Answers that may wait for a slow caller; it then gets fewer, never stale ones.
const QUEUE: usize = 1;

impl Api {
    pub(super) fn watch(&self, key: ScanKey, from: &str) -> Result<ScanStream, Status> {
        let core = self.core.clone();
        let fault = || ApiError::invalid_field("position", "is not a position of this stream");
        let mut seen = core.store.revision_at(from).ok_or_else(fault)?;
        let mut changes = core.store.subscribe();
        Ok(mms_server::stream(QUEUE, move |send| async move {
            loop {
                changes.mark_unchanged();
                let scan = match core.store.read_durable(|read| control::scan(read, &key)).await {
                    Ok(scan) => scan,
                    Err(error) => return drop(send.send(Err(error.into())).await),
                };
                let ends = !ScanState::of(&scan).is_live();
                // The last answer is sent whatever was seen, so that nobody waits for an end that has been.
                if scan.revision > seen || ends {
                    seen = scan.revision;
                    let position = core.store.position(seen);
                    let answer = pb::WatchScanResponse { scan: Some(convert::scan_to(&key, scan)), position };
                    if send.send(Ok(answer)).await.is_err() || ends {
                        return;
                    }
                }
                tokio::select! {
                    () = send.closed() => return,
                    // Its end shows when the scan is read again.
                    _ = changes.changed() => {}
                }
                tokio::time::sleep(PACE).await;
            }
        }))
    }
}
