//! WorkerService: the lease contract with workers.

use std::pin::Pin;
use std::time::Duration;

use futures::Stream;
use mms_proto::name::{TaskName, WorkerName};
use mms_proto::scheduler::v1 as pb;
use mms_proto::time::duration;
use mms_proto::{ApiError, FieldViolation};
use mms_store::Tx;
use pb::worker_service_server::WorkerService;
use tonic::{Request, Response, Status};

use super::{Api, check, name};
use crate::commit::intent::{self, Answer};
use crate::convert::{epoch_from, intent_from, intent_to, lease_to, rate_to, said_from, worker_from};
use crate::error::{Result, SchedulerError};
use crate::key::TaskKey;
use crate::lease::clock::Progress;
use crate::lease::dispatch::Granted;
use crate::lease::heartbeat::Verdict;
use crate::lease::{heartbeat, held, manifest, published, register, wait};
use crate::name::{parse_task, task_key};
use crate::record::{Holder, Rate, Task};
use crate::report::take::{self, Taken};

/// The version of the lease contract that this service supports.
const CONTRACT_VERSION: i32 = 1;
fn holder(worker: &str, instance: &str) -> Result<Holder, Status> {
    let worker: WorkerName = name("worker", worker)?;
    Ok(Holder { worker: worker.id().as_str().to_owned(), instance: instance.to_owned() })
}

/// The keys of the tasks that a call names. All are parsed before the call does anything.
fn task_keys<'a>(list: &str, names: impl Iterator<Item = &'a str>) -> Result<Vec<TaskKey>> {
    let key = |(item, name): (usize, &str)| {
        let bad = |_| invalid(&format!("{list}[{item}].task"), format!("`{name}` is not the name of a task"));
        parse_task(name).map_err(bad)
    };
    names.enumerate().map(key).collect()
}

fn invalid(field: &str, text: impl Into<String>) -> SchedulerError {
    SchedulerError::Invalid(vec![FieldViolation::new(field, text)])
}

/// An error about one item of a list, with its fields named from the root of the request.
fn within(list: &str, item: usize, error: SchedulerError) -> SchedulerError {
    match error {
        SchedulerError::Invalid(violations) => {
            let rooted = violations.into_iter().map(|violation| {
                FieldViolation::new(format!("{list}[{item}].{}", violation.field), violation.description)
            });
            SchedulerError::Invalid(rooted.collect())
        }
        error => error,
    }
}

impl Api {
    /// Handles one beat of a heartbeat. A name that is not a task's is answered with STOP_NOW, so that the other leases
    /// are still renewed.
    async fn beat(&self, holder: &Holder, beat: pb::LeaseBeat) -> Result<pb::LeaseAnswer> {
        let said = beat.progress.unwrap_or_default();
        let progress = Progress { rows: said.rows.max(0), bytes: said.bytes.max(0) };
        let Ok(key) = parse_task(&beat.task) else {
            let verdict = pb::LeaseVerdict::StopNow.into();
            return Ok(pb::LeaseAnswer { task: beat.task, verdict, ..pb::LeaseAnswer::default() });
        };
        let (epoch, checkpoint) = (epoch_from(beat.epoch), beat.checkpoint.to_vec());
        let (verdict, rate) = heartbeat::beat(&self.scheduler, holder, &key, epoch, progress, checkpoint).await?;
        let verdict = match verdict {
            Verdict::GoOn => pb::LeaseVerdict::Continue,
            Verdict::StopAtCheckpoint => pb::LeaseVerdict::StopAtCheckpoint,
            Verdict::Lost => pb::LeaseVerdict::StopNow,
        };
        Ok(pb::LeaseAnswer {
            task: beat.task,
            verdict: verdict.into(),
            limits: (rate != Rate::default()).then(|| rate_to(rate)),
            expire_after: duration(self.scheduler.leases.term()),
        })
    }

    async fn take(&self, holder: &Holder, key: TaskKey, report: pb::TaskReport) -> Result<pb::TaskReportAnswer> {
        let line = |line: pb::LogLine| match line.level() {
            pb::LogLevel::Unspecified => (pb::LogLevel::Info, line.message),
            level => (level, line.message),
        };
        let lines = report.lines.into_iter().map(line).collect();
        let (epoch, said) = (epoch_from(report.epoch), said_from(report.event));
        let outcomes = report.outcomes.into_iter().map(|told| {
            let outcome = told.outcome();
            (told.intent_id, outcome)
        });
        let taken = take::report(&self.scheduler, key, holder.clone(), epoch, said, outcomes.collect(), lines).await?;
        let (accepted, lease_ended) = (taken != Taken::No, taken == Taken::Waits);
        Ok(pb::TaskReportAnswer { task: report.task, accepted, lease_ended })
    }

    /// Begins all intents of a call in one commit: if one of them is invalid, none is stored.
    async fn begin(&self, holder: &Holder, requests: Vec<pb::CommitRequest>) -> Result<Vec<pb::CommitAnswer>> {
        use pb::commit_answer::Answer as Said;
        let (at, by) = (self.scheduler.moment(), holder.clone());
        let keys = task_keys("requests", requests.iter().map(|request| &*request.task))?;
        let epochs: Vec<_> = requests.iter().map(|request| epoch_from(request.epoch)).collect();
        let begin = move |tx: &mut Tx<'_>| {
            let mut answers = Vec::with_capacity(requests.len());
            for (item, (key, asked)) in keys.iter().zip(requests).enumerate() {
                let id = asked.intent.as_ref().map(|intent| intent.intent_id.clone()).unwrap_or_default();
                let Some(intent) = asked.intent.and_then(intent_from) else {
                    let text = "names its target and one of tunnel, storage, sql or replace";
                    return Err(invalid(&format!("requests[{item}].intent"), text));
                };
                let answer = intent::begin(tx, &at, key, &by, epoch_from(asked.epoch), &id, intent)
                    .map_err(|error| within("requests", item, error))?;
                let answer = match answer {
                    Answer::Granted => Said::Granted(pb::CommitGranted {}),
                    Answer::Fenced => Said::Fenced(pb::CommitFenced {}),
                    Answer::Open(open_id, open) => Said::OpenIntent(intent_to(&open_id, &open)),
                };
                answers.push(pb::CommitAnswer { intent_id: id, answer: Some(answer) });
            }
            Ok((keys.into_iter().zip(epochs), answers))
        };
        let (asked, answers) = self.scheduler.store.commit_together(begin).await?;
        for ((key, epoch), answer) in asked.zip(&answers) {
            // The commit may have ended the lease of a fenced task, which then comes off the clock.
            if matches!(answer.answer, Some(Said::Fenced(_))) {
                self.scheduler.leases.end(&key, epoch);
            }
        }
        Ok(answers)
    }

    /// Returns the task that a call names, if the worker that it names holds it.
    fn held_by(&self, worker: &str, task: &str, epoch: Option<pb::Epoch>) -> Result<(TaskKey, Task), Status> {
        let worker: WorkerName = name("worker", worker)?;
        let key = task_key(&name::<TaskName>("task", task)?)?;
        let (epoch, at) = (epoch_from(epoch), self.scheduler.moment());
        let task = self.scheduler.store.read(|read| held::held_by(read, &at, &key, worker.id().as_str(), epoch))?;
        Ok((key, task))
    }

    /// Resolves all intents of a call in one commit: if one resolution is invalid, none is stored.
    async fn resolve(
        &self,
        holder: &Holder,
        said: Vec<pb::CommitResolution>,
    ) -> Result<Vec<pb::CommitResolutionAnswer>> {
        let (at, by) = (self.scheduler.moment(), holder.clone());
        let keys = task_keys("resolutions", said.iter().map(|resolution| &*resolution.task))?;
        let resolve = move |tx: &mut Tx<'_>| {
            let mut answers = Vec::with_capacity(said.len());
            for (item, (key, said)) in keys.iter().zip(said).enumerate() {
                let (epoch, outcome) = (epoch_from(said.epoch), said.outcome());
                let accepted = intent::resolve(tx, &at, key, &by, epoch, &said.intent_id, outcome)
                    .map_err(|error| within("resolutions", item, error))?;
                answers.push(pb::CommitResolutionAnswer { intent_id: said.intent_id, accepted });
            }
            Ok(answers)
        };
        self.scheduler.store.commit_together(resolve).await
    }
}

type PublishedStream = Pin<Box<dyn Stream<Item = Result<pb::ReadPublishedUnitsResponse, Status>> + Send>>;
type ManifestStream = Pin<Box<dyn Stream<Item = Result<pb::ReadTaskManifestResponse, Status>> + Send>>;

#[tonic::async_trait]
impl WorkerService for Api {
    type ReadTaskManifestStream = ManifestStream;
    type ReadPublishedUnitsStream = PublishedStream;

    async fn register_worker(
        &self,
        request: Request<pb::RegisterWorkerRequest>,
    ) -> Result<Response<pb::RegisterWorkerResponse>, Status> {
        let request = request.into_inner();
        check(&request)?;
        if request.contract_version != CONTRACT_VERSION {
            let text = format!("version {CONTRACT_VERSION} of the lease contract is spoken here");
            return Err(ApiError::invalid_field("contract_version", text).into());
        }
        let (at, id) = (self.scheduler.moment(), request.worker_id.clone());
        let worker = worker_from(request, uuid::Uuid::now_v7().to_string(), at.now_ms);
        let own = id.clone();
        let ended = self.scheduler.store.commit(move |tx| register::register(tx, &at, &own, worker)).await?;
        for (key, epoch) in ended {
            self.scheduler.leases.end(&key, epoch);
        }
        self.scheduler.leases.saw(&id, at.now_ms);
        Ok(Response::new(pb::RegisterWorkerResponse {
            worker: format!("workers/{id}"),
            lease_term: duration(self.scheduler.leases.term()),
            heartbeat_interval: duration(self.scheduler.leases.term() / 3),
        }))
    }

    async fn lease_tasks(
        &self,
        request: Request<pb::LeaseTasksRequest>,
    ) -> Result<Response<pb::LeaseTasksResponse>, Status> {
        let request = request.into_inner();
        check(&request)?;
        let holder = holder(&request.worker, &request.instance)?;
        let max = usize::try_from(request.max_tasks).unwrap_or(1);
        let wait = request.wait.and_then(|wait| Duration::try_from(wait).ok()).unwrap_or_default();
        let granted = wait::wait(&self.scheduler, &self.stop, &holder, max, wait).await?;
        let term = self.scheduler.leases.term();
        let lease = |granted: &Granted| {
            let rate = self.scheduler.leases.share(&granted.key, &granted.job.limits);
            lease_to(granted, term, rate)
        };
        let leases = granted.iter().map(lease).collect::<Result<_>>()?;
        Ok(Response::new(pb::LeaseTasksResponse { leases }))
    }

    async fn heartbeat(
        &self,
        request: Request<pb::HeartbeatRequest>,
    ) -> Result<Response<pb::HeartbeatResponse>, Status> {
        let request = request.into_inner();
        check(&request)?;
        let holder = holder(&request.worker, &request.instance)?;
        wait::heard(&self.scheduler, &holder)?;
        let mut answers = Vec::with_capacity(request.beats.len());
        for beat in request.beats {
            answers.push(self.beat(&holder, beat).await?);
        }
        Ok(Response::new(pb::HeartbeatResponse { answers }))
    }

    async fn report_tasks(
        &self,
        request: Request<pb::ReportTasksRequest>,
    ) -> Result<Response<pb::ReportTasksResponse>, Status> {
        let request = request.into_inner();
        check(&request)?;
        let holder = holder(&request.worker, &request.instance)?;
        wait::heard(&self.scheduler, &holder)?;
        let keys = task_keys("reports", request.reports.iter().map(|report| &*report.task))?;
        // Concurrently, so that their commits share a flush.
        let taken = keys.into_iter().zip(request.reports).map(|(key, report)| self.take(&holder, key, report));
        let answers = futures::future::try_join_all(taken).await?;
        Ok(Response::new(pb::ReportTasksResponse { answers }))
    }

    async fn begin_commit(
        &self,
        request: Request<pb::BeginCommitRequest>,
    ) -> Result<Response<pb::BeginCommitResponse>, Status> {
        let request = request.into_inner();
        check(&request)?;
        let holder = holder(&request.worker, &request.instance)?;
        wait::heard(&self.scheduler, &holder)?;
        let answers = self.begin(&holder, request.requests).await?;
        Ok(Response::new(pb::BeginCommitResponse { answers }))
    }

    async fn resolve_commits(
        &self,
        request: Request<pb::ResolveCommitsRequest>,
    ) -> Result<Response<pb::ResolveCommitsResponse>, Status> {
        let request = request.into_inner();
        check(&request)?;
        let holder = holder(&request.worker, &request.instance)?;
        wait::heard(&self.scheduler, &holder)?;
        let answers = self.resolve(&holder, request.resolutions).await?;
        Ok(Response::new(pb::ResolveCommitsResponse { answers }))
    }

    async fn read_task_manifest(
        &self,
        request: Request<pb::ReadTaskManifestRequest>,
    ) -> Result<Response<Self::ReadTaskManifestStream>, Status> {
        let request = request.into_inner();
        check(&request)?;
        let (key, task) = self.held_by(&request.worker, &request.task, request.epoch)?;
        let wanted = match request.unit_index.map(u32::try_from) {
            None => None,
            Some(Ok(index)) if task.units.get(index as usize).is_some() => Some(index),
            Some(_) => {
                let text = format!("must be from 0 to {}, the units of the task", task.units.len().saturating_sub(1));
                return Err(ApiError::invalid_field("unit_index", text).into());
            }
        };
        let units = task.units.iter().enumerate().map(|(index, unit)| (u32::try_from(index).unwrap_or(0), unit.number));
        let units: Vec<(u32, u32)> = units.filter(|(index, _)| wanted.is_none_or(|only| only == *index)).collect();
        Ok(Response::new(Box::pin(manifest::files(self.scheduler.store.clone(), &key, &task, units))))
    }

    async fn read_published_units(
        &self,
        request: Request<pb::ReadPublishedUnitsRequest>,
    ) -> Result<Response<Self::ReadPublishedUnitsStream>, Status> {
        let request = request.into_inner();
        check(&request)?;
        let (key, task) = self.held_by(&request.worker, &request.task, request.epoch)?;
        Ok(Response::new(Box::pin(published::units(self.scheduler.store.clone(), &key, &task)?)))
    }

    async fn release_tasks(
        &self,
        request: Request<pb::ReleaseTasksRequest>,
    ) -> Result<Response<pb::ReleaseTasksResponse>, Status> {
        let request = request.into_inner();
        check(&request)?;
        let holder = holder(&request.worker, &request.instance)?;
        wait::heard(&self.scheduler, &holder)?;
        let keys = task_keys("leases", request.leases.iter().map(|lease| &*lease.task))?;
        for (key, released) in keys.into_iter().zip(request.leases) {
            heartbeat::give_back(&self.scheduler, &holder, &key, epoch_from(released.epoch)).await?;
        }
        Ok(Response::new(pb::ReleaseTasksResponse {}))
    }

    async fn list_workers(
        &self,
        request: Request<pb::ListWorkersRequest>,
    ) -> Result<Response<pb::ListWorkersResponse>, Status> {
        self.workers_page(request.get_ref()).map(Response::new)
    }

    async fn get_worker(
        &self,
        request: Request<pb::GetWorkerRequest>,
    ) -> Result<Response<pb::GetWorkerResponse>, Status> {
        self.worker_now(request.get_ref()).map(Response::new)
    }
}

#[cfg(test)]
#[path = "worker_tests.rs"]
mod tests;
