//! The stream that follows a scan. A position is a durable revision of the store that the caller has seen.

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
/// Answers that are buffered for a slow caller, who then gets fewer answers but never stale ones.
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
                // The last answer is sent even if the caller has seen it, so that nobody waits for an end that has already
                // happened.
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
                    // An error here means that the store has ended: the next read reports it.
                    _ = changes.changed() => {}
                }
                tokio::time::sleep(PACE).await;
            }
        }))
    }
}
