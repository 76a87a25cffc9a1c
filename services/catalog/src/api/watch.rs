//! The stream that follows a scan. A position is the revision of the scan that the caller has seen.

use std::pin::Pin;
use std::time::Duration;

use futures::Stream;
use mms_proto::ApiError;
use mms_proto::catalog::v1 as pb;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::Api;
use crate::convert;
use crate::scan::{ScanState, control};
use crate::store::ScanKey;

pub type ScanStream = Pin<Box<dyn Stream<Item = Result<pb::WatchScanResponse, Status>> + Send>>;

/// Least time between two answers.
const PACE: Duration = Duration::from_millis(100);
/// Answers that may wait for a slow caller; it then gets fewer, never stale ones.
const QUEUE: usize = 1;

fn position(text: &str) -> Result<u64, Status> {
    if text.is_empty() {
        return Ok(0);
    }
    text.parse().map_err(|_| ApiError::invalid_field("position", "is not a position of this stream").into())
}

impl Api {
    pub(super) fn watch(&self, key: ScanKey, from: &str) -> Result<ScanStream, Status> {
        let (mut seen, core) = (position(from)?, self.core.clone());
        let mut changes = core.store.subscribe();
        let (send, receive) = mpsc::channel(QUEUE);
        tokio::spawn(async move {
            loop {
                changes.mark_unchanged();
                let scan = match core.store.read(|read| control::scan(read, &key)) {
                    Ok(scan) => scan,
                    Err(error) => return drop(send.send(Err(error.into())).await),
                };
                let ends = !ScanState::of(&scan).is_live();
                // The last answer is sent whatever was seen, so that nobody waits for an end that has been.
                if scan.revision > seen || ends {
                    seen = scan.revision;
                    let position = seen.to_string();
                    let answer = pb::WatchScanResponse { scan: Some(convert::scan_to(&key, scan)), position };
                    if send.send(Ok(answer)).await.is_err() || ends {
                        return;
                    }
                }
                tokio::select! {
                    () = send.closed() => return,
                    changed = changes.changed() => if changed.is_err() { return },
                }
                tokio::time::sleep(PACE).await;
            }
        });
        Ok(Box::pin(ReceiverStream::new(receive)))
    }
}
