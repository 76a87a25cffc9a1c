//! Streams the files of one unit from the scheduler. A stream that breaks is opened again and continues where it was.

use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt};
use mms_delta::{ColumnStatistics, DeletionVector, FileStatistics, SourceFile};
use mms_http::retry::{Attempts, Classify};
use mms_proto::scheduler::v1 as pb;
use mms_proto::types::v1 as types;
use mms_server::PeerError;
use mms_server::peer::TEN_MINUTES;
use tonic::Status;

use crate::context::Run;
use crate::error::{Result, TransferError};
use crate::peers::SCHEDULER;

type Messages = BoxStream<'static, Result<pb::ReadTaskManifestResponse, Status>>;

struct State<O> {
    open: O,
    stream: Option<Messages>,
    /// Messages received so far: the scheduler sends the same ones in the same order.
    taken: usize,
}

impl<O, F> State<O>
where
    O: FnMut() -> F,
    F: Future<Output = Result<Messages>>,
{
    async fn next(&mut self) -> Result<Option<pb::ReadTaskManifestResponse>> {
        // A stream that breaks is opened again. Each message that arrives starts these attempts anew; opening the stream
        // itself waits for the scheduler as long as the lease lives.
        let mut attempts = Attempts::patient(TEN_MINUTES);
        loop {
            let stream = match &mut self.stream {
                Some(stream) => stream,
                none => none.insert(after((self.open)().await?, self.taken)),
            };
            match stream.next().await {
                Some(Ok(message)) => {
                    self.taken += 1;
                    return Ok(Some(message));
                }
                Some(Err(status)) => {
                    self.stream = None;
                    let error = PeerError::of(SCHEDULER)(status);
                    if !attempts.again(error.retry_class()).await {
                        return Err(error.into());
                    }
                    tracing::debug!(%error, "the manifest stream broke; opening it again");
                }
                None => return Ok(None),
            }
        }
    }
}

/// The messages of one manifest, each once, however often its stream has to be opened.
fn messages<O, F>(open: O) -> impl Stream<Item = Result<pb::ReadTaskManifestResponse>> + Send
where
    O: FnMut() -> F + Send,
    F: Future<Output = Result<Messages>> + Send,
{
    futures::stream::try_unfold(State { open, stream: None, taken: 0 }, |mut state| async move {
        Ok::<_, TransferError>(state.next().await?.map(|message| (message, state)))
    })
}

/// The items after the first `count`. An error among those is kept.
fn after<T: Send + 'static, E: Send + 'static>(
    stream: impl Stream<Item = Result<T, E>> + Send + 'static,
    count: usize,
) -> BoxStream<'static, Result<T, E>> {
    let wanted =
        move |(at, item): (usize, Result<T, E>)| std::future::ready((at >= count || item.is_err()).then_some(item));
    stream.enumerate().filter_map(wanted).boxed()
}

/// Streams the files of one unit except the first `skip`.
pub fn files(run: &Run, unit_index: i32, skip: usize) -> BoxStream<'static, Result<SourceFile>> {
    let request = pb::ReadTaskManifestRequest {
        worker: run.me.worker.clone(),
        task: run.spec.name.clone(),
        epoch: Some(run.epoch),
        unit_index: Some(unit_index),
    };
    let peers = run.peers.clone();
    let messages = messages(move || {
        let (peers, request) = (peers.clone(), request.clone());
        async move { peers.manifest(&request).await }
    });
    let files = messages.map_ok(|message| futures::stream::iter(message.files.into_iter().map(Ok))).try_flatten();
    after(files, skip).map(|found| found.and_then(file)).boxed()
}

fn file(file: types::SourceFile) -> Result<SourceFile> {
    let deletion_vector = file.deletion_vector.as_ref().map(|found| vector(&file.path, found)).transpose()?;
    let values = file.partition_values.into_iter().map(|v| (v.column, (!v.is_null).then_some(v.value)));
    Ok(SourceFile {
        partition_values: values.collect(),
        size: file.size_bytes.max(0).unsigned_abs(),
        rows: file.row_count.map(|rows| rows.max(0).unsigned_abs()),
        deletion_vector,
        path: file.path,
        statistics: file.statistics.map(statistics),
    })
}

fn statistics(told: types::FileStatistics) -> FileStatistics {
    let some = |text: String| Some(text).filter(|text| !text.is_empty());
    let column = |column: types::ColumnStatistics| ColumnStatistics {
        path: column.path,
        nulls: column.null_count.map(|nulls| nulls.max(0).unsigned_abs()),
        least: some(column.min_value),
        most: some(column.max_value),
    };
    FileStatistics {
        rows: told.row_count.map(|rows| rows.max(0).unsigned_abs()),
        tight: told.tight_bounds,
        columns: told.columns.into_iter().map(column).collect(),
    }
}

fn vector(path: &str, vector: &types::DeletionVector) -> Result<DeletionVector> {
    use types::DeletionVectorStorage as Storage;
    let storage_type = match vector.storage() {
        Storage::Relative => "u",
        Storage::Absolute => "p",
        Storage::Inline => "i",
        Storage::Unspecified => {
            return Err(TransferError::Plan(format!(
                "the manifest does not say where the deletion vector of {path} is"
            )));
        }
    };
    Ok(DeletionVector {
        storage_type: storage_type.to_owned(),
        path_or_inline: vector.path_or_inline.clone(),
        offset: vector.offset,
        size_in_bytes: vector.size_bytes,
        cardinality: vector.cardinality.max(0).unsigned_abs(),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::time::Duration;

    use mms_proto::ApiError;
    use parking_lot::Mutex;

    use super::*;

    fn message(path: &str) -> Result<pb::ReadTaskManifestResponse, Status> {
        let file = types::SourceFile { path: path.to_owned(), ..types::SourceFile::default() };
        Ok(pb::ReadTaskManifestResponse { files: vec![file], ..pb::ReadTaskManifestResponse::default() })
    }

    /// Opens the next of these streams each time.
    async fn read(streams: Vec<Vec<Result<pb::ReadTaskManifestResponse, Status>>>) -> Result<Vec<String>> {
        let streams = Mutex::new(VecDeque::from(streams));
        let found = messages(|| {
            let items = streams.lock().pop_front().unwrap_or_default();
            async move { Ok(futures::stream::iter(items).boxed()) }
        });
        found.map_ok(|message| message.files[0].path.clone()).try_collect().await
    }

    #[tokio::test(start_paused = true)]
    async fn a_scheduler_that_restarts_in_good_order_is_waited_for_like_one_that_is_killed() {
        // What a scheduler says while it drains: UNAVAILABLE with a reason.
        let draining = || Status::from(ApiError::unavailable("scheduler", "it is shutting down"));
        let start = tokio::time::Instant::now();
        let found = read(vec![
            vec![message("a"), Err(draining())],
            vec![Err(draining())],
            vec![message("a"), message("b"), Err(Status::unavailable("gone"))],
            vec![message("a"), message("b"), message("c")],
        ]);
        assert_eq!(found.await.expect("it goes on"), ["a", "b", "c"]);
        assert!(start.elapsed() >= Duration::from_millis(150), "it waits in between");

        let refused = read(vec![vec![message("a"), Err(Status::permission_denied("no"))]]).await;
        assert!(refused.is_err());
        let broken = (0..1_000).map(|_| vec![message("a"), Err(draining())]).collect();
        assert!(read(broken).await.is_err(), "what never goes on ends");
    }
}
