//! The files of one unit, as a stream that goes on where it was when the scheduler was away for a while.

use std::sync::Arc;

use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use mms_delta::SourceFile;
use mms_proto::scheduler::v1 as pb;
use mms_proto::types::v1 as types;
use parking_lot::Mutex;

use crate::error::{Result, TransferError};
use crate::peers::Peers;
use crate::run::Run;

/// What is known of the files that were streamed so far, by their position: bytes and, if the log says, rows.
pub type Seen = Arc<Mutex<Vec<(u64, Option<u64>)>>>;

struct State {
    peers: Peers,
    request: pb::ReadTaskManifestRequest,
    stream: Option<BoxStream<'static, Result<pb::ReadTaskManifestResponse>>>,
    /// Messages taken so far: the scheduler sends the same ones in the same order.
    taken: usize,
}

impl State {
    async fn next(&mut self) -> Result<Option<pb::ReadTaskManifestResponse>> {
        loop {
            let stream = match &mut self.stream {
                Some(stream) => stream,
                none => {
                    let fresh = self.peers.manifest(&self.request).await?;
                    none.insert(fresh.skip(self.taken).boxed())
                }
            };
            match stream.next().await {
                Some(Ok(message)) => {
                    self.taken += 1;
                    return Ok(Some(message));
                }
                Some(Err(TransferError::Peer { error, .. })) if error.reason == mms_proto::ErrorReason::Unspecified => {
                    tracing::debug!(%error, "the manifest broke off; going on");
                    self.stream = None;
                }
                Some(Err(error)) => return Err(error),
                None => return Ok(None),
            }
        }
    }
}

/// Streams the files of one unit, noting each in `seen`.
pub fn files(run: &Run, unit_index: i32, seen: Seen) -> BoxStream<'static, Result<SourceFile>> {
    let request = pb::ReadTaskManifestRequest {
        worker: run.me.worker.clone(),
        task: run.spec.name.clone(),
        epoch: Some(run.epoch),
        unit_index: Some(unit_index),
    };
    let state = State { peers: run.peers.clone(), request, stream: None, taken: 0 };
    let messages = futures::stream::try_unfold(state, |mut state| async move {
        Ok::<_, TransferError>(state.next().await?.map(|message| (message, state)))
    });
    messages
        .map_ok(|message| futures::stream::iter(message.files.into_iter().map(file)))
        .try_flatten()
        .inspect_ok(move |file| seen.lock().push((file.size, file.rows)))
        .boxed()
}

fn file(file: types::SourceFile) -> Result<SourceFile> {
    let deletion_vector = match file.deletion_vector.as_str() {
        "" => None,
        json => Some(
            serde_json::from_str(json)
                .map_err(|error| TransferError::Plan(format!("deletion vector of {}: {error}", file.path)))?,
        ),
    };
    let values = file.partition_values.into_iter().map(|v| (v.column, (!v.is_null).then_some(v.value)));
    Ok(SourceFile {
        partition_values: values.collect(),
        size: file.size_bytes.max(0).unsigned_abs(),
        rows: file.row_count.map(|rows| rows.max(0).unsigned_abs()),
        deletion_vector,
        path: file.path,
    })
}
