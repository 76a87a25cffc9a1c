//! WorkerService: the lease contract.

use std::pin::Pin;
use std::time::Duration;

use futures::Stream;
use mms_proto::name::{TaskName, WorkerName};
use mms_proto::scheduler::v1 as pb;
use mms_proto::{ApiError, FieldViolation};
use mms_store::Read;
use pb::worker_service_server::WorkerService;
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use super::{Api, check, name};
use crate::clock::Progress;
use crate::commit::{self, Answer};
use crate::convert::{duration, event_from, intent_from, intent_to, spec_to};
use crate::error::{Result, SchedulerError};
use crate::key;
use crate::lease::{self, Epoch, Granted, Holder, LeaseEnd};
use crate::record::Worker;
use crate::store::{TASKS, TaskKey};
use crate::{manifest, report};

/// The version of the lease contract that is spoken here.
const CONTRACT_VERSION: i32 = 1;
/// Pause before it looks again after a change: in a busy store many changes come together, and each look reads all jobs.
const LOOK_PACE: Duration = Duration::from_millis(20);
/// A waiting LeaseTasks also looks by itself, for tasks whose retry time has come.
const LOOK_EVERY: Duration = Duration::from_millis(500);

fn holder(worker: &str, instance: &str) -> Result<Holder, Status> {
    let worker: WorkerName = name("worker", worker)?;
    Ok(Holder { worker: worker.id().as_str().to_owned(), instance: instance.to_owned() })
}

fn epoch(epoch: Option<pb::Epoch>) -> Epoch {
    let epoch = epoch.unwrap_or_default();
    Epoch { incarnation: epoch.incarnation.max(0).unsigned_abs(), counter: epoch.counter.max(0).unsigned_abs() }
}

fn epoch_to(epoch: Epoch) -> pb::Epoch {
    let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    pb::Epoch { incarnation: signed(epoch.incarnation), counter: signed(epoch.counter) }
}

/// The keys of the tasks that a call names, all of them, before anything of it is done.
fn task_keys<'a>(list: &str, names: impl Iterator<Item = &'a str>) -> Result<Vec<TaskKey>> {
    let key = |(item, name): (usize, &str)| {
        let bad = |_| invalid(&format!("{list}[{item}].task"), format!("`{name}` is not the name of a task"));
        key::parse_task(name).map_err(bad)
    };
    names.enumerate().map(key).collect()
}

fn invalid(field: &str, text: impl Into<String>) -> SchedulerError {
    SchedulerError::Invalid(vec![FieldViolation::new(field, text)])
}

/// An error about one item of a list, its fields named from the request's root.
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
    /// A lease as the worker gets it.
    fn lease(&self, granted: &Granted) -> Result<pb::Lease> {
        let open = self.core.store.read(|read| commit::open_of(read, &granted.key, &granted.task))?;
        let units = granted.task.units.iter().enumerate().filter(|(_, unit)| unit.published);
        let first_step = crate::task::TaskState::of(&granted.task)
            .and_then(|state| state.next_step(&granted.task.steps()))
            .map_or(0, |step| step as i32);
        Ok(pb::Lease {
            task: Some(spec_to(granted)?),
            epoch: Some(epoch_to(granted.task.epoch())),
            expire_after: duration(self.core.leases.term()),
            first_step,
            units_done: units
                .map(|(index, unit)| pb::UnitResult {
                    unit_index: i32::try_from(index).unwrap_or(i32::MAX),
                    rows: unit.published_rows,
                    bytes: unit.published_bytes,
                })
                .collect(),
            open_intents: open.iter().map(|(id, intent)| intent_to(id, intent)).collect(),
            checkpoint: granted.task.checkpoint.clone().into(),
        })
    }

    async fn try_lease(&self, holder: &Holder, max: usize) -> Result<Vec<pb::Lease>> {
        let at = self.core.moment();
        let ready = self.core.store.read(|read| {
            let known = lease::worker(read, holder)?;
            Ok::<_, SchedulerError>(!lease::candidates(read, &at, &known, 1)?.is_empty())
        })?;
        if !ready {
            return Ok(Vec::new());
        }
        let asked = holder.clone();
        let granted = self.core.store.commit(move |tx| lease::grant(tx, &at, &asked, max)).await?;
        let now = Instant::now();
        granted
            .iter()
            .map(|granted| {
                self.core.leases.begin(granted.key.clone(), granted.task.epoch(), now);
                self.lease(granted)
            })
            .collect()
    }

    /// One beat of a heartbeat. A name that is no task's is a lease that nobody has: the others still are prolonged.
    async fn beat(&self, holder: &Holder, beat: pb::LeaseBeat) -> Result<pb::LeaseAnswer> {
        let (epoch, at) = (epoch(beat.epoch), self.core.moment());
        let Ok(key) = key::parse_task(&beat.task) else {
            let verdict = pb::LeaseVerdict::StopNow as i32;
            return Ok(pb::LeaseAnswer { task: beat.task, verdict, ..pb::LeaseAnswer::default() });
        };
        let holds = if beat.checkpoint.is_empty() {
            self.core.store.read(|read| lease::held(read, &at, &key, holder, epoch)).map(drop)
        } else {
            let (key, holder) = (key.clone(), holder.clone());
            let save = move |tx: &mut mms_store::Tx<'_>| {
                let mut task = lease::held(tx, &at, &key, &holder, epoch)?;
                task.checkpoint = beat.checkpoint.to_vec();
                tx.put(&TASKS, &key, &task)?;
                Ok::<_, SchedulerError>(())
            };
            self.core.store.commit(save).await
        };
        let verdict = match holds {
            Ok(()) => pb::LeaseVerdict::Continue,
            Err(SchedulerError::Fenced(_)) => pb::LeaseVerdict::StopNow,
            Err(error) => return Err(error),
        };
        if verdict == pb::LeaseVerdict::Continue {
            let said = beat.progress.unwrap_or_default();
            let progress = Progress { rows: said.rows.max(0), bytes: said.bytes.max(0) };
            self.core.leases.beat(&key, epoch, progress, Instant::now());
        }
        Ok(pb::LeaseAnswer {
            task: beat.task,
            verdict: verdict as i32,
            limits: None,
            expire_after: duration(self.core.leases.term()),
        })
    }

    async fn take(&self, holder: &Holder, key: TaskKey, report: pb::TaskReport) -> Result<pb::TaskReportAnswer> {
        let (epoch, at) = (epoch(report.epoch), self.core.moment());
        let event = event_from(report.event);
        let line = |line: pb::LogLine| match line.level() {
            pb::LogLevel::Unspecified => (pb::LogLevel::Info, line.message),
            level => (level, line.message),
        };
        let lines: Vec<_> = report.lines.into_iter().map(line).collect();
        let (task, by) = (key.clone(), holder.clone());
        let taken = move |tx: &mut mms_store::Tx<'_>| {
            let accepted = report::take(tx, &at, &task, &by, epoch, event, &lines)?;
            let leased = tx.get(&TASKS, &task)?.is_some_and(|task| task.leased());
            Ok::<_, SchedulerError>((accepted, leased))
        };
        let (accepted, leased) = self.core.store.commit(taken).await?;
        if !leased {
            self.core.leases.end(&key, epoch);
        }
        Ok(pb::TaskReportAnswer { task: report.task, accepted })
    }

    /// All intents of a call in one commit: if one is not as it must be, none is stored.
    async fn begin(&self, holder: &Holder, requests: Vec<pb::CommitRequest>) -> Result<Vec<pb::CommitAnswer>> {
        use pb::commit_answer::Answer as Said;
        let (at, by) = (self.core.moment(), holder.clone());
        let keys = task_keys("requests", requests.iter().map(|request| &*request.task))?;
        let begin = move |tx: &mut mms_store::Tx<'_>| {
            let mut answers = Vec::with_capacity(requests.len());
            for (item, (key, asked)) in keys.iter().zip(requests).enumerate() {
                let id = asked.intent.as_ref().map(|intent| intent.intent_id.clone()).unwrap_or_default();
                let Some(intent) = asked.intent.and_then(intent_from) else {
                    let text = "names its target and one of tunnel, storage, sql or replace";
                    return Err(invalid(&format!("requests[{item}].intent"), text));
                };
                let answer = commit::begin(tx, &at, key, &by, epoch(asked.epoch), &id, intent)
                    .map_err(|error| within("requests", item, error))?;
                let answer = match answer {
                    Answer::Granted => Said::Granted(pb::CommitGranted {}),
                    Answer::Fenced => Said::Fenced(pb::CommitFenced {}),
                    Answer::Open(open_id, open) => Said::OpenIntent(intent_to(&open_id, &open)),
                };
                answers.push(pb::CommitAnswer { intent_id: id, answer: Some(answer) });
            }
            Ok(answers)
        };
        self.core.store.commit(begin).await
    }

    /// All outcomes of a call in one commit, likewise.
    async fn resolve(
        &self,
        holder: &Holder,
        said: Vec<pb::CommitResolution>,
    ) -> Result<Vec<pb::CommitResolutionAnswer>> {
        let (at, by) = (self.core.moment(), holder.clone());
        let keys = task_keys("resolutions", said.iter().map(|resolution| &*resolution.task))?;
        let resolve = move |tx: &mut mms_store::Tx<'_>| {
            let mut answers = Vec::with_capacity(said.len());
            for (item, (key, said)) in keys.iter().zip(said).enumerate() {
                let (epoch, outcome) = (epoch(said.epoch), said.outcome());
                let accepted = commit::resolve(tx, &at, key, &by, epoch, &said.intent_id, outcome)
                    .map_err(|error| within("resolutions", item, error))?;
                answers.push(pb::CommitResolutionAnswer { intent_id: said.intent_id, accepted });
            }
            Ok(answers)
        };
        self.core.store.commit(resolve).await
    }

    fn known(&self, holder: &Holder) -> Result<()> {
        self.core.leases.saw(&holder.worker, self.core.moment().now_ms);
        self.core.store.read(|read| lease::worker(read, holder)).map(drop)
    }
}

type ManifestStream = Pin<Box<dyn Stream<Item = Result<pb::ReadTaskManifestResponse, Status>> + Send>>;

#[tonic::async_trait]
impl WorkerService for Api {
    type ReadTaskManifestStream = ManifestStream;

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
        let at = self.core.moment();
        let abilities = request.capabilities.unwrap_or_default();
        let worker = Worker {
            instance: request.instance,
            pool: request.pool,
            slots: request.slots,
            engine: if abilities.engine == 0 { pb::Engine::BuiltIn as i32 } else { abilities.engine },
            steps: abilities.steps,
            read_paths: abilities.read_paths,
            target_kinds: abilities.target_kinds,
            reader_features: abilities.reader_features,
            endpoint: request.endpoint,
            seen_time_ms: at.now_ms,
            roles: abilities.roles,
            uid: uuid::Uuid::now_v7().to_string(),
        };
        let id = request.worker_id.clone();
        let ended = self.core.store.commit(move |tx| lease::register(tx, &at, &id, worker)).await?;
        for (key, epoch) in ended {
            self.core.leases.end(&key, epoch);
        }
        self.core.leases.saw(&request.worker_id, at.now_ms);
        Ok(Response::new(pb::RegisterWorkerResponse {
            worker: format!("workers/{}", request.worker_id),
            lease_term: duration(self.core.leases.term()),
            heartbeat_interval: duration(self.core.leases.term() / 3),
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
        let until = Instant::now() + wait;
        let mut changes = self.core.store.subscribe();
        loop {
            changes.mark_unchanged();
            self.known(&holder)?;
            let leases = self.try_lease(&holder, max).await?;
            if !leases.is_empty() || Instant::now() >= until {
                return Ok(Response::new(pb::LeaseTasksResponse { leases }));
            }
            let look = (Instant::now() + LOOK_EVERY).min(until);
            tokio::select! {
                // Whoever stops answers those who wait at once: they ask again after the restart.
                () = self.stop.cancelled() => return Ok(Response::new(pb::LeaseTasksResponse::default())),
                _ = changes.changed() => tokio::time::sleep(LOOK_PACE).await,
                () = tokio::time::sleep_until(look) => {}
            }
        }
    }

    async fn heartbeat(
        &self,
        request: Request<pb::HeartbeatRequest>,
    ) -> Result<Response<pb::HeartbeatResponse>, Status> {
        let request = request.into_inner();
        check(&request)?;
        let holder = holder(&request.worker, &request.instance)?;
        self.known(&holder)?;
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
        self.known(&holder)?;
        let keys = task_keys("reports", request.reports.iter().map(|report| &*report.task))?;
        // Together, so that they share a flush.
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
        self.known(&holder)?;
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
        self.known(&holder)?;
        let answers = self.resolve(&holder, request.resolutions).await?;
        Ok(Response::new(pb::ResolveCommitsResponse { answers }))
    }

    async fn read_task_manifest(
        &self,
        request: Request<pb::ReadTaskManifestRequest>,
    ) -> Result<Response<Self::ReadTaskManifestStream>, Status> {
        let request = request.into_inner();
        check(&request)?;
        let worker: WorkerName = name("worker", &request.worker)?;
        let key = key::task_key(&name::<TaskName>("task", &request.task)?)?;
        let (epoch, at) = (epoch(request.epoch), self.core.moment());
        let task = self.core.store.read(|read| {
            let task = read.get(&TASKS, &key)?.ok_or_else(|| SchedulerError::NotFound(request.task.clone()))?;
            // The epoch is of one lease, and so of one process of the worker.
            let ours = task.epoch() == epoch && epoch.incarnation == at.incarnation.number;
            let holds = ours && task.worker == worker.id().as_str();
            if holds { Ok(task) } else { Err(SchedulerError::Fenced(request.task.clone())) }
        })?;
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
        Ok(Response::new(Box::pin(manifest::files(self.core.store.clone(), key, task, units))))
    }

    async fn release_tasks(
        &self,
        request: Request<pb::ReleaseTasksRequest>,
    ) -> Result<Response<pb::ReleaseTasksResponse>, Status> {
        let request = request.into_inner();
        check(&request)?;
        let holder = holder(&request.worker, &request.instance)?;
        self.known(&holder)?;
        let keys = task_keys("leases", request.leases.iter().map(|lease| &*lease.task))?;
        for (key, released) in keys.into_iter().zip(request.leases) {
            let (epoch, at) = (epoch(released.epoch), self.core.moment());
            let (task, by) = (key.clone(), holder.clone());
            let give_back = move |tx: &mut mms_store::Tx<'_>| match lease::held(tx, &at, &task, &by, epoch) {
                Ok(_) => lease::end(tx, &at, &task, epoch, LeaseEnd::Released).map(drop),
                Err(SchedulerError::Fenced(_)) => Ok(()),
                Err(error) => Err(error),
            };
            self.core.store.commit(give_back).await?;
            self.core.leases.end(&key, epoch);
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
