//! JobService. Calls that change jobs are here and in [`super::change`]; reading is in [`super::job_reads`], watching
//! in [`super::watch`].

use mms_proto::ApiError;
use mms_proto::name::{DataSourceName, JobName, JobTableName, Parent, TaskName};
use mms_proto::scheduler::v1 as pb;
use mms_proto::types::v1::View;
use mms_server::Caller;
use pb::job_service_server::JobService;
use tonic::{Request, Response, Status};

use super::{Api, check, name};
use crate::convert::{job_from, job_to, spec_change_from};
use crate::error::Result;
use crate::job::calls;
use crate::job::create::{self, Wanted};
use crate::job::request::Call;
use crate::job::stored;
use crate::key::JobKey;
use crate::lease::clock::Progress;
use crate::lease::{denied, lacks};
use crate::name::{job_key, job_table_key, task_key};
use crate::record::{Job, JobState, Reason};

fn digest(request: &pb::CreateJobRequest) -> Vec<u8> {
    // Canonical JSON has its keys in order; the wire form of a map does not.
    let content = pb::CreateJobRequest { request_id: String::new(), ..request.clone() };
    mms_proto::json::to_value(&content, mms_proto::json::Fields::Set).to_string().into_bytes()
}

impl Api {
    /// A job as callers see it now.
    pub(super) fn show(&self, key: &JobKey, job: &Job, view: View) -> pb::Job {
        let leases = &self.scheduler.leases;
        let running = leases.sum(key, |_| true);
        let done = job.counts.bytes_done + running.bytes;
        // The speed is kept only while a job runs, and forgotten when it ends.
        let speed = if job.state.is_ended() { 0 } else { leases.speed(key, done, tokio::time::Instant::now()) };
        // A job whose waiting reason cannot be read now is shown without it.
        let waiting = self.waiting_for(key, job).ok().flatten();
        job_to(key, job, running, speed, waiting.as_ref(), view)
    }

    fn waiting_for(&self, key: &JobKey, job: &Job) -> Result<Option<Reason>> {
        if job.state == JobState::Planning {
            return Ok(self.scheduler.waits.of(key));
        }
        self.scheduler.store.read(|read| match denied::waits(read, key)?.filter(|_| job.dispatches()) {
            Some(denied) => Ok(Some(denied)),
            None => lacks::everywhere(read, self.scheduler.moment().now_ms, key, job),
        })
    }

    fn shown(&self, key: &JobKey, view: View) -> Result<Option<pb::Job>> {
        let job = self.scheduler.store.read(|read| stored::find(read, key))?;
        Ok(Some(self.show(key, &job, view)))
    }

    async fn create(&self, request: pb::CreateJobRequest, caller: Caller) -> Result<Option<pb::Job>, Status> {
        check(&request)?;
        let source: DataSourceName = name("parent", &request.parent)?;
        let call = Call { method: "CreateJob", id: request.request_id.clone(), digest: digest(&request) };
        let given = request.job.unwrap_or_default();
        let wanted = Wanted {
            source,
            id: request.job_id,
            display_name: given.display_name,
            spec: job_from(given.spec.unwrap_or_default(), "job.spec")?,
            review: request.review,
        };
        let (key, job) = create::judged(&self.scheduler, wanted, &caller)?;
        if request.validate_only {
            return Ok(Some(job_to(&key, &job, Progress::default(), 0, None, View::Full)));
        }
        let (key, job) = create::create(&self.scheduler, call, key, job).await?;
        Ok(Some(self.show(&key, &job, View::Full)))
    }

    fn job_key(text: &str) -> Result<JobKey, Status> {
        Ok(job_key(&name::<JobName>("name", text)?))
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

    async fn update_job(
        &self,
        request: Request<pb::UpdateJobRequest>,
    ) -> Result<Response<pb::UpdateJobResponse>, Status> {
        let request = request.into_inner();
        check(&request)?;
        let (key, at) = (Self::job_key(&request.name)?, self.scheduler.moment());
        let given = request.job.unwrap_or_default();
        let change = spec_change_from(given.spec.unwrap_or_default(), &request.update_mask.unwrap_or_default().paths)?;
        let own = key.clone();
        let job = self.scheduler.store.commit(move |tx| calls::update(tx, &at, &own, &given.etag, change)).await?;
        Ok(Response::new(pb::UpdateJobResponse { job: Some(self.show(&key, &job, View::Full)) }))
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
        let call = Call { method: "ApproveJob", id: request.request_id, digest };
        let approval = calls::Approval { etag: request.etag, accept_blocked, approver };
        let own = key.clone();
        let job = self.changed(call, key, move |tx, at| calls::approve(tx, at, &own, approval)).await?;
        Ok(Response::new(pb::ApproveJobResponse { job }))
    }

    async fn start_job(&self, request: Request<pb::StartJobRequest>) -> Result<Response<pb::StartJobResponse>, Status> {
        let request = request.into_inner();
        check(&request)?;
        let key = Self::job_key(&request.name)?;
        create::hold_source(&self.scheduler, &key).await?;
        let call = Call { method: "StartJob", id: request.request_id, digest: request.name.into_bytes() };
        let own = key.clone();
        let job = self.changed(call, key, move |tx, at| calls::start(tx, at, &own)).await?;
        Ok(Response::new(pb::StartJobResponse { job }))
    }

    async fn stop_job(&self, request: Request<pb::StopJobRequest>) -> Result<Response<pb::StopJobResponse>, Status> {
        check(request.get_ref())?;
        let key = Self::job_key(&request.get_ref().name)?;
        let own = key.clone();
        // At once, even while another change of the job is carried through: from here on no task is leased.
        let at = self.scheduler.moment();
        self.scheduler.store.commit(move |tx| calls::stop(tx, &at, &own, None)).await?;
        let own = key.clone();
        let job = self.changed(Call::default(), key, move |tx, _| stored::find(tx, &own)).await?;
        Ok(Response::new(pb::StopJobResponse { job }))
    }

    async fn retry_job(&self, request: Request<pb::RetryJobRequest>) -> Result<Response<pb::RetryJobResponse>, Status> {
        let request = request.into_inner();
        check(&request)?;
        let key = Self::job_key(&request.name)?;
        create::hold_source(&self.scheduler, &key).await?;
        let repin = request.repin;
        let digest = format!("{}\n{repin}", request.name).into_bytes();
        let call = Call { method: "RetryJob", id: request.request_id, digest };
        let own = key.clone();
        let job = self.changed(call, key, move |tx, at| calls::retry(tx, at, &own, repin)).await?;
        Ok(Response::new(pb::RetryJobResponse { job }))
    }

    async fn list_intents(
        &self,
        request: Request<pb::ListIntentsRequest>,
    ) -> Result<Response<pb::ListIntentsResponse>, Status> {
        let request = request.into_inner();
        check(&request)?;
        self.intents(&request).map(Response::new)
    }

    async fn cancel_intent(
        &self,
        request: Request<pb::CancelIntentRequest>,
    ) -> Result<Response<pb::CancelIntentResponse>, Status> {
        let request = request.into_inner();
        check(&request)?;
        self.cancel(request.intent_id).await.map(Response::new)
    }

    async fn delete_job(
        &self,
        request: Request<pb::DeleteJobRequest>,
    ) -> Result<Response<pb::DeleteJobResponse>, Status> {
        let request = request.into_inner();
        check(&request)?;
        let key = Self::job_key(&request.name)?;
        let own = key.clone();
        self.change(Call::default(), key, move |tx, at| calls::delete(tx, at, &own, &request.etag)).await?;
        Ok(Response::new(pb::DeleteJobResponse { name: request.name }))
    }

    async fn watch_job(&self, request: Request<pb::WatchJobRequest>) -> Result<Response<Self::WatchJobStream>, Status> {
        let request = request.into_inner();
        check(&request)?;
        let key = Self::job_key(&request.name)?;
        self.scheduler.store.read(|read| stored::find(read, &key))?;
        Ok(Response::new(self.watch_job_stream(key, &request.position, request.view())?))
    }

    async fn list_job_tables(
        &self,
        request: Request<pb::ListJobTablesRequest>,
    ) -> Result<Response<pb::ListJobTablesResponse>, Status> {
        check(request.get_ref())?;
        let key = job_key(&name::<JobName>("parent", &request.get_ref().parent)?);
        self.job_tables(&key, request.get_ref()).map(Response::new)
    }

    async fn get_job_table(
        &self,
        request: Request<pb::GetJobTableRequest>,
    ) -> Result<Response<pb::GetJobTableResponse>, Status> {
        check(request.get_ref())?;
        let key = job_table_key(&name::<JobTableName>("name", &request.get_ref().name)?);
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
        let key = job_key(&name::<JobName>("parent", &request.get_ref().parent)?);
        self.findings(&key, request.get_ref()).map(Response::new)
    }

    async fn get_task(&self, request: Request<pb::GetTaskRequest>) -> Result<Response<pb::GetTaskResponse>, Status> {
        check(request.get_ref())?;
        let key = task_key(&name::<TaskName>("name", &request.get_ref().name)?)?;
        Ok(Response::new(pb::GetTaskResponse { task: Some(self.task(&key, request.get_ref().view())?) }))
    }

    async fn list_tasks(
        &self,
        request: Request<pb::ListTasksRequest>,
    ) -> Result<Response<pb::ListTasksResponse>, Status> {
        check(request.get_ref())?;
        let key = job_key(&name::<JobName>("parent", &request.get_ref().parent)?);
        self.tasks(&key, request.get_ref()).map(Response::new)
    }

    async fn retry_task(
        &self,
        request: Request<pb::RetryTaskRequest>,
    ) -> Result<Response<pb::RetryTaskResponse>, Status> {
        let request = request.into_inner();
        check(&request)?;
        let key = task_key(&name::<TaskName>("name", &request.name)?)?;
        let call = Call { method: "RetryTask", id: request.request_id, digest: request.name.into_bytes() };
        let own = key.clone();
        self.change(call, key.job.clone(), move |tx, at| calls::retry_task(tx, at, &own)).await?;
        Ok(Response::new(pb::RetryTaskResponse { task: Some(self.task(&key, View::Basic)?) }))
    }

    async fn watch_task(
        &self,
        request: Request<pb::WatchTaskRequest>,
    ) -> Result<Response<Self::WatchTaskStream>, Status> {
        let request = request.into_inner();
        check(&request)?;
        let key = task_key(&name::<TaskName>("name", &request.name)?)?;
        self.task(&key, View::Basic)?;
        Ok(Response::new(self.watch_task_stream(key, &request.position, request.view())?))
    }

    async fn list_task_logs(
        &self,
        request: Request<pb::ListTaskLogsRequest>,
    ) -> Result<Response<pb::ListTaskLogsResponse>, Status> {
        check(request.get_ref())?;
        let key = task_key(&name::<TaskName>("parent", &request.get_ref().parent)?)?;
        self.task(&key, View::Basic)?;
        self.logs(&key, request.get_ref()).map(Response::new)
    }

    async fn export_job(&self, _: Request<pb::ExportJobRequest>) -> Result<Response<Self::ExportJobStream>, Status> {
        Err(ApiError::not_yet("ExportJob").into())
    }
}

#[cfg(test)]
#[path = "job_tests.rs"]
mod tests;
