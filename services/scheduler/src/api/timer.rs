//! TimerService. [`crate::timer`] decides what timers do.

use mms_proto::ApiError;
use mms_proto::name::{DataSourceName, Parent, ResourceId, RunName, TimerName};
use mms_proto::scheduler::v1 as pb;
use mms_proto::types::v1::View;
use mms_server::Caller;
use mms_server::list::{Asked, List};
use mms_store::{Read, Scope, Tx};
use pb::TimerState;
use pb::timer_service_server::TimerService;
use tonic::{Request, Response, Status};

use super::{Api, check, name};
use crate::convert::{run_to, timer_to, told_from};
use crate::error::{Result, SchedulerError};
use crate::job::create;
use crate::job::request::Call;
use crate::key::{DataSourceKey, RunKey, TimerKey};
use crate::name::{run_key, run_name, timer_key, timer_name};
use crate::record::{Timer, TimerEvent, TimerRun, Told};
use crate::store::{TIMER_RUNS, TIMERS};
use crate::timer::{calls, clock, run};

/// A page ends with the item that brings it to this many bytes.
const BYTES_MAX: usize = 6 << 20;

/// The fields that an update changes: the first part of each path of its mask.
struct Mask(Vec<String>);

impl Mask {
    fn of(mask: Option<prost_types::FieldMask>) -> Self {
        let first = |path: &String| path.split('.').next().unwrap_or_default().to_owned();
        Self(mask.iter().flat_map(|mask| &mask.paths).map(first).collect())
    }

    fn has(&self, field: &str) -> bool {
        self.0.iter().any(|named| named == field || named == "*")
    }
}

/// Whether the caller resumes or pauses a timer; None for neither.
fn active(state: TimerState) -> Result<Option<bool>, ApiError> {
    match state {
        TimerState::Unspecified => Ok(None),
        TimerState::Active => Ok(Some(true)),
        TimerState::Paused => Ok(Some(false)),
        TimerState::Stopped => Err(ApiError::invalid_field("timer.state", "can be set to ACTIVE or PAUSED only")),
    }
}

impl Api {
    async fn create_one(&self, request: pb::CreateTimerRequest, caller: Caller) -> Result<pb::Timer, Status> {
        check(&request)?;
        let source: DataSourceName = name("parent", &request.parent)?;
        let digest = mms_proto::json::to_value(
            &pb::CreateTimerRequest { request_id: String::new(), ..request.clone() },
            mms_proto::json::Fields::Set,
        );
        let call = Call { method: "CreateTimer", id: request.request_id, digest: digest.to_string().into_bytes() };
        let given = request.timer.unwrap_or_default();
        let active = active(given.state())?;
        let mut told = told_from(given)?;
        calls::may(&caller, &told.spec)?;
        create::refuse_foreign(&told.spec, source.id().as_str(), "timer.job_spec")?;
        let uid = uuid::Uuid::now_v7();
        let id = if request.timer_id.is_empty() { format!("t{}", uid.simple()) } else { request.timer_id };
        let id = ResourceId::new(id).map_err(|reason| ApiError::invalid_field("timer_id", reason))?;
        let key = TimerKey { data_source: source.id().as_str().to_owned(), timer: id.as_str().to_owned() };
        if told.display_name.is_empty() {
            told.display_name = key.timer.replace('-', "");
        }
        let at = self.scheduler.moment();
        let create = move |tx: &mut Tx<'_>| {
            if let Some(seen) = call.replayed(tx, &at)? {
                let key = made(&seen.resource);
                let timer = run::find(tx, &key).ok().filter(|timer| timer.uid() == seen.uid);
                let gone = || SchedulerError::MadeAndDeleted(timer_name(&key));
                return timer.map(|timer| (key.clone(), timer)).ok_or_else(gone);
            }
            let mut timer = Timer::new(uid.to_string(), &at, told, caller.subject);
            if active == Some(false) {
                timer.apply(&at, TimerEvent::Paused)?;
            }
            let timer = calls::create(tx, &key, timer)?;
            call.remember_as(tx, &at, format!("{}\n{}", key.data_source, key.timer), timer.uid())?;
            Ok::<_, SchedulerError>((key, timer))
        };
        let (key, timer) = self.scheduler.store.commit(create).await?;
        Ok(timer_to(&key, &timer, View::Full))
    }

    async fn update_one(&self, request: pb::UpdateTimerRequest, caller: Caller) -> Result<pb::Timer, Status> {
        check(&request)?;
        let key = timer_key(&name::<TimerName>("name", &request.name)?);
        let mask = Mask::of(request.update_mask);
        let given = request.timer.unwrap_or_default();
        let state = if mask.has("state") { active(given.state())? } else { None };
        let etag = given.etag.clone();
        // Fields that the mask does not name keep their values, so that the whole timer is validated.
        let before = self.scheduler.store.read(|read| run::find(read, &key))?;
        let shown = timer_to(&key, &before, View::Full);
        let new = told_from(pb::Timer {
            display_name: if mask.has("display_name") { given.display_name } else { shown.display_name },
            schedule: if mask.has("schedule") { given.schedule } else { shown.schedule },
            job_spec: if mask.has("job_spec") { given.job_spec } else { shown.job_spec },
            scan_first: if mask.has("scan_first") { given.scan_first } else { shown.scan_first },
            overlap: if mask.has("overlap") { given.overlap } else { shown.overlap },
            missed: if mask.has("missed") { given.missed } else { shown.missed },
            ..pb::Timer::default()
        })?;
        let maker = mask.has("job_spec").then(|| caller.subject.clone());
        if maker.is_some() {
            calls::may(&caller, &new.spec)?;
            create::refuse_foreign(&new.spec, &key.data_source, "timer.job_spec")?;
        }
        let tell = move |told: Told| Told {
            display_name: if mask.has("display_name") { new.display_name } else { told.display_name },
            schedule: if mask.has("schedule") { new.schedule } else { told.schedule },
            spec: if mask.has("job_spec") { new.spec } else { told.spec },
            scan_first: if mask.has("scan_first") { new.scan_first } else { told.scan_first },
            overlap: if mask.has("overlap") { new.overlap } else { told.overlap },
            missed: if mask.has("missed") { new.missed } else { told.missed },
        };
        let (at, own) = (self.scheduler.moment(), key.clone());
        let change = calls::Change { etag, tell, maker, active: state };
        let timer = self.scheduler.store.commit(move |tx| calls::change(tx, &at, &own, change)).await?;
        Ok(timer_to(&key, &timer, View::Full))
    }

    async fn trigger_one(&self, request: pb::TriggerTimerRequest, caller: Caller) -> Result<pb::TimerRun, Status> {
        check(&request)?;
        let key = timer_key(&name::<TimerName>("name", &request.name)?);
        let timer = self.scheduler.store.read(|read| run::find(read, &key))?;
        calls::may(&caller, &timer.told.spec)?;
        let call = Call { method: "TriggerTimer", id: request.request_id, digest: request.name.into_bytes() };
        let (at, own, uid) = (self.scheduler.moment(), key.clone(), uuid::Uuid::now_v7().to_string());
        let trigger = move |tx: &mut Tx<'_>| {
            if let Some(seen) = call.replayed(tx, &at)? {
                let run_key = RunKey { timer: own, number: seen.resource.parse().unwrap_or(0) };
                let gone = || SchedulerError::MadeAndDeleted(run_name(&run_key));
                let run = tx.get(&TIMER_RUNS, &run_key)?.filter(|run| run.uid() == seen.uid).ok_or_else(gone)?;
                return Ok((run_key, run));
            }
            let (run_key, run) = run::trigger(tx, &at, &own, uid)?;
            call.remember_as(tx, &at, run_key.number.to_string(), run.uid())?;
            Ok::<_, SchedulerError>((run_key, run))
        };
        let (run_key, _) = self.scheduler.store.commit(trigger).await?;
        // The first step at once, if nothing is in the way; a failed step is retried in the background.
        if let Err(error) = clock::carry_on(&self.scheduler, &key).await {
            tracing::warn!(%error, timer = timer_name(&key), "a step of the timer's run failed; next attempt in the background");
        }
        Ok(self.run(&run_key)?)
    }

    fn run(&self, key: &RunKey) -> Result<pb::TimerRun> {
        let run = self.scheduler.store.read(|read| read.get(&TIMER_RUNS, key))?;
        run.map(|run| run_to(key, &run)).ok_or_else(|| SchedulerError::NotFound(run_name(key)))
    }

    fn timers(&self, request: &pb::ListTimersRequest) -> Result<pb::ListTimersResponse, Status> {
        check(request)?;
        let parent = Parent::<DataSourceName>::parse(&request.parent)
            .map_err(|error| ApiError::invalid_field("parent", error.reason))?;
        let scope = match parent.exact() {
            Some(source) => Scope::prefix(&DataSourceKey { data_source: source.id().as_str().to_owned() }),
            None => Scope::all(),
        };
        let asked = Asked {
            of: ["timers", &request.parent],
            filter: &request.filter,
            order_by: &request.order_by,
            page_size: request.page_size,
            page_token: &request.page_token,
        };
        let list = List::<pb::Timer>::of(&asked, BYTES_MAX)?;
        let records = |after: Option<&TimerKey>, limit: usize| {
            let page = self.scheduler.store.read(|read| read.page(&TIMERS, &scope, after, limit));
            let page = page.map_err(SchedulerError::from)?;
            Ok::<_, Status>((page.items, page.next.is_some()))
        };
        // A filter or an order may ask for fields of the job spec, which is removed below if the caller did not ask for
        // it.
        let view = if list.judges() { View::Full } else { request.view() };
        let show = |key: &TimerKey, timer: Timer| Ok(Some(timer_to(key, &timer, view)));
        let text = |key: &TimerKey| format!("{}\n{}", key.data_source, key.timer);
        let key = |text: &str| {
            let (data_source, timer) = text.split_once('\n')?;
            Some(TimerKey { data_source: data_source.to_owned(), timer: timer.to_owned() })
        };
        let (mut timers, next_page_token) = list.page(text, key, records, show)?;
        if request.view() != View::Full {
            timers.iter_mut().for_each(|timer| timer.job_spec = None);
        }
        Ok(pb::ListTimersResponse { timers, next_page_token, total_size: None })
    }

    fn timer_runs(&self, request: &pb::ListTimerRunsRequest) -> Result<pb::ListTimerRunsResponse, Status> {
        check(request)?;
        let key = timer_key(&name::<TimerName>("parent", &request.parent)?);
        let asked = Asked {
            of: ["timer runs", &request.parent],
            filter: &request.filter,
            order_by: &request.order_by,
            page_size: request.page_size,
            page_token: &request.page_token,
        };
        let list = List::<pb::TimerRun>::of(&asked, BYTES_MAX)?;
        let newest_first = Scope::prefix(&key).descending();
        let records = |after: Option<&RunKey>, limit: usize| {
            self.scheduler
                .store
                .read(|read| {
                    run::find(read, &key)?;
                    let page = read.page(&TIMER_RUNS, &newest_first, after, limit)?;
                    Ok::<_, SchedulerError>((page.items, page.next.is_some()))
                })
                .map_err(Status::from)
        };
        let show = |key: &RunKey, run: TimerRun| Ok(Some(run_to(key, &run)));
        let cursor = |text: &str| Some(RunKey { timer: key.clone(), number: text.parse().ok()? });
        let (runs, next_page_token) = list.page(|key: &RunKey| key.number.to_string(), cursor, records, show)?;
        Ok(pb::ListTimerRunsResponse { runs, next_page_token, total_size: None })
    }
}

/// The key of the timer that a request id remembers.
fn made(resource: &str) -> TimerKey {
    let (data_source, timer) = resource.split_once('\n').unwrap_or_default();
    TimerKey { data_source: data_source.to_owned(), timer: timer.to_owned() }
}

#[tonic::async_trait]
impl TimerService for Api {
    async fn create_timer(
        &self,
        request: Request<pb::CreateTimerRequest>,
    ) -> Result<Response<pb::CreateTimerResponse>, Status> {
        let caller = mms_server::caller(&request);
        let timer = self.create_one(request.into_inner(), caller).await?;
        Ok(Response::new(pb::CreateTimerResponse { timer: Some(timer) }))
    }

    async fn get_timer(&self, request: Request<pb::GetTimerRequest>) -> Result<Response<pb::GetTimerResponse>, Status> {
        check(request.get_ref())?;
        let key = timer_key(&name::<TimerName>("name", &request.get_ref().name)?);
        let timer = self.scheduler.store.read(|read| run::find(read, &key))?;
        Ok(Response::new(pb::GetTimerResponse { timer: Some(timer_to(&key, &timer, request.get_ref().view())) }))
    }

    async fn list_timers(
        &self,
        request: Request<pb::ListTimersRequest>,
    ) -> Result<Response<pb::ListTimersResponse>, Status> {
        self.timers(request.get_ref()).map(Response::new)
    }

    async fn update_timer(
        &self,
        request: Request<pb::UpdateTimerRequest>,
    ) -> Result<Response<pb::UpdateTimerResponse>, Status> {
        let caller = mms_server::caller(&request);
        let timer = self.update_one(request.into_inner(), caller).await?;
        Ok(Response::new(pb::UpdateTimerResponse { timer: Some(timer) }))
    }

    async fn delete_timer(
        &self,
        request: Request<pb::DeleteTimerRequest>,
    ) -> Result<Response<pb::DeleteTimerResponse>, Status> {
        let request = request.into_inner();
        check(&request)?;
        let key = timer_key(&name::<TimerName>("name", &request.name)?);
        let etag = request.etag;
        self.scheduler.store.commit(move |tx| calls::delete(tx, &key, &etag)).await?;
        Ok(Response::new(pb::DeleteTimerResponse { name: request.name }))
    }

    async fn trigger_timer(
        &self,
        request: Request<pb::TriggerTimerRequest>,
    ) -> Result<Response<pb::TriggerTimerResponse>, Status> {
        let caller = mms_server::caller(&request);
        let run = self.trigger_one(request.into_inner(), caller).await?;
        Ok(Response::new(pb::TriggerTimerResponse { run: Some(run) }))
    }

    async fn get_timer_run(
        &self,
        request: Request<pb::GetTimerRunRequest>,
    ) -> Result<Response<pb::GetTimerRunResponse>, Status> {
        check(request.get_ref())?;
        let key = run_key(&name::<RunName>("name", &request.get_ref().name)?)?;
        Ok(Response::new(pb::GetTimerRunResponse { run: Some(self.run(&key)?) }))
    }

    async fn list_timer_runs(
        &self,
        request: Request<pb::ListTimerRunsRequest>,
    ) -> Result<Response<pb::ListTimerRunsResponse>, Status> {
        self.timer_runs(request.get_ref()).map(Response::new)
    }
}

#[cfg(test)]
#[path = "timer_tests.rs"]
mod tests;
