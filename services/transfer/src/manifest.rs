//! The files of one unit, as a stream that goes on where it was when the scheduler was away for a while.

use std::time::Duration;

use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt};
use mms_delta::{ColumnStatistics, DeletionVector, FileStatistics, SourceFile};
use mms_http::retry::{Attempts, RetryBudget, RetryClass, RetryPolicy};
use mms_proto::scheduler::v1 as pb;
use mms_proto::types::v1 as types;
use mms_server::is_retryable;
use tonic::Status;

use crate::context::Run;
use crate::error::{Result, TransferError, peer};
use crate::peers::SCHEDULER;

/// How a stream that breaks off is taken up again: whenever it went on in between, this begins anew. Opening it waits for
/// the scheduler by itself, for as long as the lease lives.
const AGAIN: RetryPolicy = RetryPolicy {
    first_delay: Duration::from_millis(100),
    max_delay: Duration::from_secs(5),
    factor: 2.0,
    max_attempts: None,
    total: Duration::from_secs(600),
};

type Messages = BoxStream<'static, Result<pb::ReadTaskManifestResponse, Status>>;

struct State<O> {
    open: O,
    stream: Option<Messages>,
    /// Messages taken so far: the scheduler sends the same ones in the same order.
    taken: usize,
}

impl<O, F> State<O>
where
    O: FnMut() -> F,
    F: Future<Output = Result<Messages>>,
{
    async fn next(&mut self) -> Result<Option<pb::ReadTaskManifestResponse>> {
        let mut attempts = Attempts::new(AGAIN, RetryBudget::default(), None);
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
                    let class = if is_retryable(&status) { RetryClass::Transient } else { RetryClass::Permanent };
                    if !attempts.again(class).await {
                        return Err(peer(SCHEDULER)(status));
                    }
                    tracing::debug!(error = status.message(), "the manifest broke off; going on");
                }
                None => return Ok(None),
            }
        }
    }
}

/// The messages of one manifest, each once, however often the stream that brings them has to be opened.
fn messages<O, F>(open: O) -> impl Stream<Item = Result<pb::ReadTaskManifestResponse>> + Send
where
    O: FnMut() -> F + Send,
    F: Future<Output = Result<Messages>> + Send,
{
    futures::stream::try_unfold(State { open, stream: None, taken: 0 }, |mut state| async move {
        Ok::<_, TransferError>(state.next().await?.map(|message| (message, state)))
    })
}

/// The items after the first `count`. An error among those is not left out with them.
fn after<T: Send + 'static, E: Send + 'static>(
    stream: impl Stream<Item = Result<T, E>> + Send + 'static,
    count: usize,
) -> BoxStream<'static, Result<T, E>> {
    let wanted =
        move |(at, item): (usize, Result<T, E>)| std::future::ready((at >= count || item.is_err()).then_some(item));
    stream.enumerate().filter_map(wanted).boxed()
}

/// Streams the files of one unit but the first `skip`.
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

    use mms_proto::ApiError;
    use parking_lot::Mutex;

    use super::*;

    fn message(path: &str) -> Result<pb::ReadTaskManifestResponse, Status> {
        let file = types::SourceFile { path: path.to_owned(), ..types::SourceFile::default() };
        Ok(pb::ReadTaskManifestResponse { files: vec![file], ..pb::ReadTaskManifestResponse::default() })
    }

    /// Each time it is opened, the next of these.
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
        // As it says when it drains: UNAVAILABLE with a reason.
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
