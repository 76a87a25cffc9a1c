//! JobService: what changes jobs. Reading them is in [`super::job_reads`], watching them in [`super::watch`].

use mms_proto::ApiError;
use mms_proto::name::{DataSourceName, JobName, Parent, ResourceId, TaskName};
use mms_proto::scheduler::v1 as pb;
use mms_server::Caller;
use pb::job_service_server::JobService;
use tonic::{Request, Response, Status};

use super::{Api, check, name};
use crate::control;
use crate::convert::job_from;
use crate::error::{Result, SchedulerError};
use crate::key;
use crate::record::Job;
use crate::store::JobKey;

/// The longest text made from an id for people.
fn display_name(id: &str) -> String {
    id.replace('-', "")
}

fn digest(request: &pb::CreateJobRequest) -> Vec<u8> {
    // Canonical JSON has its keys in order; the wire form of a map has not.
    let content = pb::CreateJobRequest { request_id: String::new(), ..request.clone() };
    mms_proto::json::to_value(&content, mms_proto::json::Fields::Set).to_string().into_bytes()
}

impl Api {
    /// A job as callers see it now.
    pub(super) fn show(&self, key: &JobKey, job: &Job) -> pb::Job {
        let running = self.core.leases.sum(key, |_| true);
        let done = job.counts.bytes_done + running.bytes;
        let speed = self.core.leases.speed(key, done, tokio::time::Instant::now());
        crate::convert::job_to(key, job, running, speed)
    }

    fn shown(&self, key: &JobKey) -> Result<Option<pb::Job>> {
        let job = self.core.store.read(|read| control::job(read, key))?;
        Ok(Some(self.show(key, &job)))
    }

    /// The job that an earlier call with the same request id made.
    async fn replay(&self, method: &'static str, id: &str, digest: &[u8]) -> Result<Option<Option<pb::Job>>> {
        let at = self.core.moment();
        let seen = self.core.store.read_durable(|read| control::replayed(read, &at, method, id, digest)).await?;
        seen.map(|resource| {
            let key = resource.split_once('/').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap_or_default();
            self.shown(&key)
        })
        .transpose()
    }

    pub(super) async fn create(
        &self,
        request: pb::CreateJobRequest,
        creator: String,
    ) -> Result<Option<pb::Job>, Status> {
        check(&request)?;
        let source: DataSourceName = name("parent", &request.parent)?;
        let given = request.job.clone().unwrap_or_default();
        let spec = job_from(given.spec.unwrap_or_default())?;
        let digest = digest(&request);
        if let Some(made) = self.replay("CreateJob", &request.request_id, &digest).await? {
            return Ok(made);
        }
        let uid = uuid::Uuid::now_v7();
        let id = if request.job_id.is_empty() { format!("j{}", uid.simple()) } else { request.job_id.clone() };
        let id = ResourceId::new(id).map_err(|reason| ApiError::invalid_field("job_id", reason))?;
        let key: JobKey = (source.id().as_str().to_owned(), id.as_str().to_owned());
        let at = self.core.moment();
        let job = Job {
            uid: uid.to_string(),
            display_name: if given.display_name.is_empty() { display_name(&key.1) } else { given.display_name },
            spec,
            review: request.review,
            creator,
            create_time_ms: at.now_ms,
            ..Job::default()
        };
        if request.validate_only {
            return Ok(Some(crate::convert::job_to(&key, &job, crate::clock::Progress::default(), 0)));
        }
        // Refuses a job of a source that is not there or not started, and holds the source from now on.
        self.core.peers.acquire(&key.0, &key::job_name(&key)).await?;
        let (made, request_id) = (key.clone(), request.request_id);
        let job = self
            .core
            .store
            .commit(move |tx| {
                let job = control::create(tx, &made, job)?;
                control::remember(tx, &at, "CreateJob", &request_id, digest, format!("{}/{}", made.0, made.1))?;
                Ok::<_, SchedulerError>(job)
            })
            .await?;
        Ok(Some(self.show(&key, &job)))
    }

    fn job_key(text: &str) -> Result<JobKey, Status> {
        Ok(key::job_key(&name::<JobName>("name", text)?))
    }
}

fn creator<T>(request: &Request<T>) -> String {
    request.extensions().get::<Caller>().map(|caller| caller.subject.clone()).unwrap_or_default()
}

#[tonic::async_trait]
impl JobService for Api {
    type WatchJobStream = super::watch::JobStream;
    type WatchTaskStream = super::watch::TaskStream;
    type ExportJobStream = futures::stream::Empty<Result<pb::ExportJobResponse, Status>>;

    async fn create_job(
        &self,
        request: Request<pb::CreateJobRequest>,
    ) -> Result<Response<pb::CreateJobResponse>, Status> {
        let creator = creator(&request);
        let job = self.create(request.into_inner(), creator).await?;
        Ok(Response::new(pb::CreateJobResponse { job }))
    }

    async fn get_job(&self, request: Request<pb::GetJobRequest>) -> Result<Response<pb::GetJobResponse>, Status> {
        check(request.get_ref())?;
        let job = self.shown(&Self::job_key(&request.get_ref().name)?)?;
        Ok(Response::new(pb::GetJobResponse { job }))
    }

    async fn list_jobs(&self, request: Request<pb::ListJobsRequest>) -> Result<Response<pb::ListJobsResponse>, Status> {
        check(request.get_ref())?;
        let parent = Parent::<DataSourceName>::parse(&request.get_ref().parent)
            .map_err(|error| ApiError::invalid_field("parent", error.reason))?;
        self.jobs(request.get_ref(), &parent).map(Response::new)
    }

    async fn approve_job(
        &self,
        request: Request<pb::ApproveJobRequest>,
    ) -> Result<Response<pb::ApproveJobResponse>, Status> {
        let request = request.into_inner();
        check(&request)?;
        let (key, at) = (Self::job_key(&request.name)?, self.core.moment());
        let own = key.clone();
        let accept = request.accept_blocked;
        let job = self.core.store.commit(move |tx| control::approve(tx, &at, &own, accept)).await?;
        Ok(Response::new(pb::ApproveJobResponse { job: Some(self.show(&key, &job)) }))
    }

    async fn start_job(&self, request: Request<pb::StartJobRequest>) -> Result<Response<pb::StartJobResponse>, Status> {
        check(request.get_ref())?;
        let (key, at) = (Self::job_key(&request.get_ref().name)?, self.core.moment());
        let own = key.clone();
        let job = self.core.store.commit(move |tx| control::start(tx, &at, &own)).await?;
        Ok(Response::new(pb::StartJobResponse { job: Some(self.show(&key, &job)) }))
    }

    async fn stop_job(&self, request: Request<pb::StopJobRequest>) -> Result<Response<pb::StopJobResponse>, Status> {
        check(request.get_ref())?;
        let (key, at) = (Self::job_key(&request.get_ref().name)?, self.core.moment());
        let own = key.clone();
        let (job, fenced) = self.core.store.commit(move |tx| control::stop(tx, &at, &own)).await?;
        for (task, epoch) in fenced {
            self.core.leases.end(&task, epoch);
        }
        Ok(Response::new(pb::StopJobResponse { job: Some(self.show(&key, &job)) }))
    }

    async fn retry_job(&self, request: Request<pb::RetryJobRequest>) -> Result<Response<pb::RetryJobResponse>, Status> {
        let request = request.into_inner();
        check(&request)?;
        let digest = request.name.clone().into_bytes();
        if let Some(job) = self.replay("RetryJob", &request.request_id, &digest).await? {
            return Ok(Response::new(pb::RetryJobResponse { job }));
        }
        let (key, at) = (Self::job_key(&request.name)?, self.core.moment());
        let own = key.clone();
        let job = self
            .core
            .store
            .commit(move |tx| {
                let job = control::retry(tx, &at, &own)?;
                control::remember(tx, &at, "RetryJob", &request.request_id, digest, format!("{}/{}", own.0, own.1))?;
                Ok::<_, SchedulerError>(job)
            })
            .await?;
        Ok(Response::new(pb::RetryJobResponse { job: Some(self.show(&key, &job)) }))
    }

    async fn delete_job(
        &self,
        request: Request<pb::DeleteJobRequest>,
    ) -> Result<Response<pb::DeleteJobResponse>, Status> {
        let request = request.into_inner();
        check(&request)?;
        let key = Self::job_key(&request.name)?;
        self.core.store.commit(move |tx| control::delete(tx, &key, &request.etag)).await?;
        Ok(Response::new(pb::DeleteJobResponse { name: request.name }))
    }

    async fn watch_job(&self, request: Request<pb::WatchJobRequest>) -> Result<Response<Self::WatchJobStream>, Status> {
        let request = request.into_inner();
        check(&request)?;
        let key = Self::job_key(&request.name)?;
        self.core.store.read(|read| control::job(read, &key))?;
        Ok(Response::new(self.watch_job_stream(key, &request.position)?))
    }

    async fn list_job_tables(
        &self,
        request: Request<pb::ListJobTablesRequest>,
    ) -> Result<Response<pb::ListJobTablesResponse>, Status> {
        check(request.get_ref())?;
        let key = key::job_key(&name::<JobName>("parent", &request.get_ref().parent)?);
        self.job_tables(&key, request.get_ref()).map(Response::new)
    }

    async fn list_findings(
        &self,
        request: Request<pb::ListFindingsRequest>,
    ) -> Result<Response<pb::ListFindingsResponse>, Status> {
        check(request.get_ref())?;
        let key = key::job_key(&name::<JobName>("parent", &request.get_ref().parent)?);
        self.findings(&key, request.get_ref()).map(Response::new)
    }

    async fn get_task(&self, request: Request<pb::GetTaskRequest>) -> Result<Response<pb::GetTaskResponse>, Status> {
        check(request.get_ref())?;
        let key = key::task_key(&name::<TaskName>("name", &request.get_ref().name)?)?;
        Ok(Response::new(pb::GetTaskResponse { task: Some(self.task(&key)?) }))
    }

    async fn list_tasks(
        &self,
        request: Request<pb::ListTasksRequest>,
    ) -> Result<Response<pb::ListTasksResponse>, Status> {
        check(request.get_ref())?;
        let key = key::job_key(&name::<JobName>("parent", &request.get_ref().parent)?);
        self.tasks(&key, request.get_ref()).map(Response::new)
    }

    async fn retry_task(
        &self,
        request: Request<pb::RetryTaskRequest>,
    ) -> Result<Response<pb::RetryTaskResponse>, Status> {
        let request = request.into_inner();
        check(&request)?;
        let key = key::task_key(&name::<TaskName>("name", &request.name)?)?;
        let (at, digest, own) = (self.core.moment(), request.name.clone().into_bytes(), key.clone());
        let id = request.request_id;
        self.core
            .store
            .commit(move |tx| {
                if control::replayed(tx, &at, "RetryTask", &id, &digest)?.is_none() {
                    control::retry_task(tx, &at, &own)?;
                    control::remember(tx, &at, "RetryTask", &id, digest, String::new())?;
                }
                Ok::<_, SchedulerError>(())
            })
            .await?;
        Ok(Response::new(pb::RetryTaskResponse { task: Some(self.task(&key)?) }))
    }

    async fn watch_task(
        &self,
        request: Request<pb::WatchTaskRequest>,
    ) -> Result<Response<Self::WatchTaskStream>, Status> {
        let request = request.into_inner();
        check(&request)?;
        let key = key::task_key(&name::<TaskName>("name", &request.name)?)?;
        self.task(&key)?;
        Ok(Response::new(self.watch_task_stream(key, &request.position)?))
    }

    async fn list_task_logs(
        &self,
        request: Request<pb::ListTaskLogsRequest>,
    ) -> Result<Response<pb::ListTaskLogsResponse>, Status> {
        check(request.get_ref())?;
        let key = key::task_key(&name::<TaskName>("parent", &request.get_ref().parent)?)?;
        self.task(&key)?;
        self.logs(&key, request.get_ref()).map(Response::new)
    }

    async fn export_job(&self, _: Request<pb::ExportJobRequest>) -> Result<Response<Self::ExportJobStream>, Status> {
        Err(ApiError::not_yet("ExportJob").into())
    }
}

/// Whether a stored job's record is of a state that ends a watch.
pub(super) fn watch_ends(job: &Job) -> bool {
    use crate::job::JobState as S;
    S::of(job).is_none_or(|state| state.is_ended() || matches!(state, S::PendingReview))
}
