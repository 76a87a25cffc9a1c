//! JobService: what changes jobs; how a change is carried through is in [`super::asked`]. Reading them is in
//! [`super::job_reads`], watching them in [`super::watch`].

use mms_proto::name::{DataSourceName, JobName, JobTableName, Parent, ResourceId, TaskName};
use mms_proto::scheduler::v1 as pb;
use mms_proto::types::v1::{TargetPolicy, View};
use mms_proto::{ApiError, Role};
use mms_server::Caller;
use mms_store::Tx;
use pb::job_service_server::JobService;
use tonic::{Request, Response, Status};

use super::asked::Asked;
use super::{Api, check, name};
use crate::control;
use crate::convert::job_from;
use crate::error::{Result, SchedulerError};
use crate::job::JobState;
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
    pub(super) fn show(&self, key: &JobKey, job: &Job, view: View) -> pb::Job {
        let running = self.core.leases.sum(key, |_| true);
        let done = job.counts.bytes_done + running.bytes;
        // Kept only for jobs that move something: it is forgotten when they end.
        let ended = JobState::of(job).is_none_or(JobState::is_ended);
        let speed = if ended { 0 } else { self.core.leases.speed(key, done, tokio::time::Instant::now()) };
        crate::convert::job_to(key, job, running, speed, view)
    }

    fn shown(&self, key: &JobKey, view: View) -> Result<Option<pb::Job>> {
        let job = self.core.store.read(|read| control::job(read, key))?;
        Ok(Some(self.show(key, &job, view)))
    }

    pub(super) async fn create(
        &self,
        request: pb::CreateJobRequest,
        caller: Caller,
    ) -> Result<Option<pb::Job>, Status> {
        check(&request)?;
        let source: DataSourceName = name("parent", &request.parent)?;
        let given = request.job.clone().unwrap_or_default();
        let spec = job_from(given.spec.unwrap_or_default())?;
        // They take what somebody else made.
        for (policy, name) in [(TargetPolicy::Replace, "REPLACE"), (TargetPolicy::Adopt, "ADOPT")] {
            if spec.target_policy == policy as i32 {
                caller.needs(Role::Admin, format!("target_policy {name}"))?;
            }
        }
        let asked = Asked { method: "CreateJob", id: request.request_id.clone(), digest: digest(&request) };
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
            creator: caller.subject,
            create_time_ms: at.now_ms,
            ..Job::default()
        };
        if request.validate_only {
            return Ok(Some(crate::convert::job_to(&key, &job, crate::clock::Progress::default(), 0, View::Full)));
        }
        // In a commit, though nothing is written: what a repeat is answered from is on the disk.
        let again = asked.clone();
        if let Some((key, job)) = self.core.store.commit(move |tx| again.made(tx, &at)).await? {
            return Ok(Some(self.show(&key, &job, View::Full)));
        }
        // Refuses a job of a source that is not there or not started, and holds the source from now on.
        self.core.peers.acquire(&key.0, &key::job_name(&key)).await?;
        let create = move |tx: &mut Tx<'_>| {
            // The same call may have come twice at once.
            if let Some(made) = asked.made(tx, &at)? {
                return Ok(made);
            }
            let job = control::create(tx, &key, job)?;
            asked.remember(tx, &at, &key)?;
            Ok::<_, SchedulerError>((key, job))
        };
        let (key, job) = self.core.store.commit(create).await?;
        Ok(Some(self.show(&key, &job, View::Full)))
    }

    /// Refuses to bring back a job whose source is not there or not started, and holds the source from now on.
    async fn hold_source(&self, key: &JobKey) -> Result<(), Status> {
        self.core.store.read(|read| control::job(read, key))?;
        self.core.peers.acquire(&key.0, &key::job_name(key)).await?;
        Ok(())
    }

    fn job_key(text: &str) -> Result<JobKey, Status> {
        Ok(key::job_key(&name::<JobName>("name", text)?))
    }
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
        let caller = mms_server::caller(&request);
        let job = self.create(request.into_inner(), caller).await?;
        Ok(Response::new(pb::CreateJobResponse { job }))
    }

    async fn get_job(&self, request: Request<pb::GetJobRequest>) -> Result<Response<pb::GetJobResponse>, Status> {
        check(request.get_ref())?;
        let job = self.shown(&Self::job_key(&request.get_ref().name)?, request.get_ref().view())?;
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
        let approver = mms_server::caller(&request).subject;
        let request = request.into_inner();
        check(&request)?;
        let (key, accept_blocked) = (Self::job_key(&request.name)?, request.accept_blocked);
        let digest = format!("{}\n{accept_blocked}\n{}", request.name, request.etag).into_bytes();
        let asked = Asked { method: "ApproveJob", id: request.request_id, digest };
        let approval = control::Approval { etag: request.etag, accept_blocked, approver };
        let own = key.clone();
        let job = self.changed(asked, key, move |tx, at| control::approve(tx, at, &own, approval)).await?;
        Ok(Response::new(pb::ApproveJobResponse { job }))
    }

    async fn start_job(&self, request: Request<pb::StartJobRequest>) -> Result<Response<pb::StartJobResponse>, Status> {
        let request = request.into_inner();
        check(&request)?;
        let key = Self::job_key(&request.name)?;
        self.hold_source(&key).await?;
        let asked = Asked { method: "StartJob", id: request.request_id, digest: request.name.into_bytes() };
        let own = key.clone();
        let job = self.changed(asked, key, move |tx, _| control::start(tx, &own)).await?;
        Ok(Response::new(pb::StartJobResponse { job }))
    }

    async fn stop_job(&self, request: Request<pb::StopJobRequest>) -> Result<Response<pb::StopJobResponse>, Status> {
        check(request.get_ref())?;
        let key = Self::job_key(&request.get_ref().name)?;
        let own = key.clone();
        // At once, also while somebody else is changing the job: from here on no task starts.
        self.core.store.commit(move |tx| control::stop(tx, &own)).await?;
        let own = key.clone();
        let job = self.changed(Asked::default(), key, move |tx, _| control::job(tx, &own)).await?;
        Ok(Response::new(pb::StopJobResponse { job }))
    }

    async fn retry_job(&self, request: Request<pb::RetryJobRequest>) -> Result<Response<pb::RetryJobResponse>, Status> {
        let request = request.into_inner();
        check(&request)?;
        let key = Self::job_key(&request.name)?;
        self.hold_source(&key).await?;
        let asked = Asked { method: "RetryJob", id: request.request_id, digest: request.name.into_bytes() };
        let own = key.clone();
        let job = self.changed(asked, key, move |tx, _| control::retry(tx, &own)).await?;
        Ok(Response::new(pb::RetryJobResponse { job }))
    }

    async fn delete_job(
        &self,
        request: Request<pb::DeleteJobRequest>,
    ) -> Result<Response<pb::DeleteJobResponse>, Status> {
        let request = request.into_inner();
        check(&request)?;
        let key = Self::job_key(&request.name)?;
        let own = key.clone();
        self.change(Asked::default(), key, move |tx, _| control::delete(tx, &own, &request.etag)).await?;
        Ok(Response::new(pb::DeleteJobResponse { name: request.name }))
    }

    async fn watch_job(&self, request: Request<pb::WatchJobRequest>) -> Result<Response<Self::WatchJobStream>, Status> {
        let request = request.into_inner();
        check(&request)?;
        let key = Self::job_key(&request.name)?;
        self.core.store.read(|read| control::job(read, &key))?;
        Ok(Response::new(self.watch_job_stream(key, &request.position, request.view())?))
    }

    async fn list_job_tables(
        &self,
        request: Request<pb::ListJobTablesRequest>,
    ) -> Result<Response<pb::ListJobTablesResponse>, Status> {
        check(request.get_ref())?;
        let key = key::job_key(&name::<JobName>("parent", &request.get_ref().parent)?);
        self.job_tables(&key, request.get_ref()).map(Response::new)
    }

    async fn get_job_table(
        &self,
        request: Request<pb::GetJobTableRequest>,
    ) -> Result<Response<pb::GetJobTableResponse>, Status> {
        check(request.get_ref())?;
        let key = key::job_table_key(&name::<JobTableName>("name", &request.get_ref().name)?);
        let job_table = self.job_table(&key, request.get_ref().view())?;
        Ok(Response::new(pb::GetJobTableResponse { job_table: Some(job_table) }))
    }

    async fn list_verification_checks(
        &self,
        request: Request<pb::ListVerificationChecksRequest>,
    ) -> Result<Response<pb::ListVerificationChecksResponse>, Status> {
        check(request.get_ref())?;
        self.checks(request.get_ref()).map(Response::new)
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
        Ok(Response::new(pb::GetTaskResponse { task: Some(self.task(&key, request.get_ref().view())?) }))
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
        let asked = Asked { method: "RetryTask", id: request.request_id, digest: request.name.into_bytes() };
        let own = key.clone();
        self.change(asked, key::job_of(&key), move |tx, at| control::retry_task(tx, at, &own)).await?;
        Ok(Response::new(pb::RetryTaskResponse { task: Some(self.task(&key, View::Basic)?) }))
    }

    async fn watch_task(
        &self,
        request: Request<pb::WatchTaskRequest>,
    ) -> Result<Response<Self::WatchTaskStream>, Status> {
        let request = request.into_inner();
        check(&request)?;
        let key = key::task_key(&name::<TaskName>("name", &request.name)?)?;
        self.task(&key, View::Basic)?;
        Ok(Response::new(self.watch_task_stream(key, &request.position, request.view())?))
    }

    async fn list_task_logs(
        &self,
        request: Request<pb::ListTaskLogsRequest>,
    ) -> Result<Response<pb::ListTaskLogsResponse>, Status> {
        check(request.get_ref())?;
        let key = key::task_key(&name::<TaskName>("parent", &request.get_ref().parent)?)?;
        self.task(&key, View::Basic)?;
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

#[cfg(test)]
#[path = "job_tests.rs"]
mod tests;
