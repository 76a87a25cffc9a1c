//! Clients of the two services that this one calls. Repeats the calls that can safely be repeated while a service is
//! unavailable; decides nothing.

use std::time::Duration;

use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use mms_proto::scheduler::v1 as pb;
use mms_proto::scheduler::v1::worker_service_client::WorkerServiceClient;
use mms_server::peer::FOR_EVER;
use mms_server::{Client, PeerError, patiently};
use tonic::Status;

use crate::error::{Result, TransferError};

/// The scheduler's name in errors.
pub const SCHEDULER: &str = "scheduler";
/// The largest message that is accepted: a lease with its plan.
const MESSAGE_MAX: usize = 32 << 20;

#[derive(Clone)]
pub struct Peers {
    worker: WorkerServiceClient<Client>,
    registry: Client,
}

/// Repeats a call while the service is unavailable. Only for calls that can safely be repeated. Whoever waits can be dropped
/// at any time, which happens when its lease is lost.
async fn through<T, F>(service: &'static str, mut call: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<tonic::Response<T>, Status>>,
{
    let answer = patiently(FOR_EVER, || {
        let call = call();
        async move { call.await.map_err(PeerError::of(service)) }
    });
    Ok(answer.await?.into_inner())
}

/// A request with its own deadline, in place of the client's.
fn within<T>(message: T, limit: Duration) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(limit);
    request
}

impl Peers {
    pub fn new(scheduler: Client, registry: Client) -> Self {
        Self { worker: WorkerServiceClient::new(scheduler).max_decoding_message_size(MESSAGE_MAX), registry }
    }

    /// The channel to the registry, which sessions use.
    pub fn registry(&self) -> Client {
        self.registry.clone()
    }

    /// Registers this worker.
    pub async fn register(&self, request: &pb::RegisterWorkerRequest) -> Result<pb::RegisterWorkerResponse> {
        through(SCHEDULER, || {
            let (mut client, request) = (self.worker.clone(), request.clone());
            async move { client.register_worker(request).await }
        })
        .await
    }

    /// Asks for tasks once, with this deadline: the caller asks again anyway.
    pub async fn lease(&self, request: pb::LeaseTasksRequest, limit: Duration) -> Result<Vec<pb::Lease>> {
        let request = within(request, limit);
        Ok(self.worker.clone().lease_tasks(request).await.map_err(PeerError::of(SCHEDULER))?.into_inner().leases)
    }

    /// Sends a heartbeat once, with this deadline: the next one must be sent in time.
    pub async fn beat(&self, request: pb::HeartbeatRequest, limit: Duration) -> Result<Vec<pb::LeaseAnswer>> {
        let request = within(request, limit);
        Ok(self.worker.clone().heartbeat(request).await.map_err(PeerError::of(SCHEDULER))?.into_inner().answers)
    }

    /// Reports on a task. True if that ended the lease although steps are left. [`TransferError::GivenUp`] if the lease is
    /// lost.
    pub async fn report(&self, request: &pb::ReportTasksRequest) -> Result<bool> {
        let answer = through(SCHEDULER, || {
            let (mut client, request) = (self.worker.clone(), request.clone());
            async move { client.report_tasks(request).await }
        })
        .await?;
        let accepted = answer.answers.iter().all(|answer| answer.accepted);
        let ended = answer.answers.iter().any(|answer| answer.lease_ended);
        if accepted { Ok(ended) } else { Err(TransferError::GivenUp) }
    }

    /// All that the tasks of the leased task's table have published, and what is to be dropped there.
    pub async fn published_units(
        &self,
        request: &pb::ReadPublishedUnitsRequest,
    ) -> Result<pb::ReadPublishedUnitsResponse> {
        through(SCHEDULER, || {
            let (mut client, request) = (self.worker.clone(), request.clone());
            async move {
                let answer = client.read_published_units(request).await?;
                let pages: Vec<pb::ReadPublishedUnitsResponse> = answer.into_inner().try_collect().await?;
                let mut all = pb::ReadPublishedUnitsResponse::default();
                for page in pages {
                    all.units.extend(page.units);
                    all.drops.extend(page.drops);
                }
                Ok(tonic::Response::new(all))
            }
        })
        .await
    }

    /// Asks to store one intent; the answer grants it, fences the worker, or names another open intent.
    pub async fn begin_commit(&self, request: &pb::BeginCommitRequest) -> Result<pb::commit_answer::Answer> {
        let answer = through(SCHEDULER, || {
            let (mut client, request) = (self.worker.clone(), request.clone());
            async move { client.begin_commit(request).await }
        })
        .await?;
        let answer = answer.answers.into_iter().next().and_then(|answer| answer.answer);
        answer.ok_or_else(|| TransferError::Plan("the scheduler gave no answer to an intent".to_owned()))
    }

    /// Tells the outcome of one intent. [`TransferError::GivenUp`] if the lease is lost.
    pub async fn resolve(&self, request: &pb::ResolveCommitsRequest) -> Result<()> {
        let answer = through(SCHEDULER, || {
            let (mut client, request) = (self.worker.clone(), request.clone());
            async move { client.resolve_commits(request).await }
        })
        .await?;
        let accepted = answer.answers.iter().all(|answer| answer.accepted);
        if accepted { Ok(()) } else { Err(TransferError::GivenUp) }
    }

    /// Streams the files of one unit; the caller decides what to do when the stream breaks.
    pub async fn manifest(
        &self,
        request: &pb::ReadTaskManifestRequest,
    ) -> Result<BoxStream<'static, Result<pb::ReadTaskManifestResponse, Status>>> {
        let stream = through(SCHEDULER, || {
            let (mut client, request) = (self.worker.clone(), request.clone());
            async move { client.read_task_manifest(request).await }
        })
        .await?;
        Ok(stream.boxed())
    }

    /// Releases leases, once: if that fails, they expire by themselves.
    pub async fn release(&self, request: pb::ReleaseTasksRequest) -> Result<()> {
        self.worker.clone().release_tasks(request).await.map_err(PeerError::of(SCHEDULER))?;
        Ok(())
    }
}
