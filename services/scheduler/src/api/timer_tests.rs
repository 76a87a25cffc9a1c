//! TimerService as callers meet it: roles, update masks and pages.

use mms_proto::types::v1::{Cron, Schedule, TargetPolicy, schedule};
use mms_proto::{ApiError, ErrorReason, Role};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::fixture::{Fixture, scheduler};

fn api(fixture: &Fixture) -> Api {
    Api::new(scheduler(fixture.store.clone(), || 1_000), CancellationToken::new())
}

fn reason(refused: &Status) -> ErrorReason {
    ApiError::from_status(refused).reason
}

fn by<T>(role: Role, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.extensions_mut().insert(Caller { subject: "somebody".to_owned(), role });
    request
}

fn cron(text: &str) -> Option<Schedule> {
    let expression = text.to_owned();
    Some(Schedule { schedule: Some(schedule::Schedule::Cron(Cron { expression })), ..Schedule::default() })
}

fn timer(policy: TargetPolicy, text: &str) -> pb::Timer {
    let spec = pb::JobSpec {
        scope: Some(pb::job_spec::Scope::Schemas(pb::SchemasScope::default())),
        target_policy: policy.into(),
        ..pb::JobSpec::default()
    };
    pb::Timer { schedule: cron(text), job_spec: Some(spec), ..pb::Timer::default() }
}

fn create(id: &str, timer: pb::Timer) -> pb::CreateTimerRequest {
    let (parent, timer_id) = ("dataSources/lake".to_owned(), id.to_owned());
    pb::CreateTimerRequest { parent, timer_id, timer: Some(timer), request_id: format!("make {id}") }
}

const NAME: &str = "dataSources/lake/timers/nightly";

#[tokio::test]
async fn a_timer_is_made_once_and_says_when_it_runs() {
    let fixture = Fixture::new(1).await;
    let api = api(&fixture);
    let request = || by(Role::Editor, create("nightly", timer(TargetPolicy::CreateOrOwn, "30 2 * * *")));
    let made = api.create_timer(request()).await.expect("well").into_inner().timer.expect("shown");
    assert_eq!((made.name.as_str(), made.maker.as_str(), made.state()), (NAME, "somebody", TimerState::Active));
    assert_eq!(made.next_time.expect("it runs").seconds, 2 * 3600 + 30 * 60);
    assert_eq!((made.overlap(), made.missed()), (pb::OverlapPolicy::Skip, pb::MissedPolicy::RunOnce));
    let again = api.create_timer(request()).await.expect("the same call").into_inner().timer.expect("shown");
    assert_eq!(again.uid, made.uid);
    let other = pb::CreateTimerRequest { request_id: String::new(), ..request().into_inner() };
    let refused = api.create_timer(by(Role::Editor, other)).await.expect_err("taken");
    assert_eq!(reason(&refused), ErrorReason::AlreadyExists);
    let shown = api.get_timer(Request::new(pb::GetTimerRequest { name: NAME.to_owned(), view: 0 })).await;
    assert!(shown.expect("well").into_inner().timer.expect("shown").job_spec.is_none(), "BASIC is without its job");
    let gone = api.delete_timer(Request::new(pb::DeleteTimerRequest { name: NAME.to_owned(), etag: made.etag })).await;
    gone.expect("deleted");
    let refused = api.create_timer(request()).await.expect_err("made by this very call, and deleted since");
    assert_eq!(reason(&refused), ErrorReason::NotFound);
}

#[tokio::test]
async fn a_timer_that_replaces_needs_an_admin_whenever_its_job_is_touched() {
    let fixture = Fixture::new(1).await;
    let api = api(&fixture);
    for policy in [TargetPolicy::Replace, TargetPolicy::Adopt] {
        let made = create("nightly", timer(policy, "30 2 * * *"));
        let refused = api.create_timer(by(Role::Editor, made.clone())).await.expect_err("it may drop tables");
        assert_eq!(reason(&refused), ErrorReason::RoleTooLow, "{refused}");
    }
    let mut drops = timer(TargetPolicy::CreateOrOwn, "30 2 * * *");
    drops.job_spec.as_mut().expect("a spec").set_dropped_policy(pb::DroppedPolicy::Drop);
    let refused =
        api.create_timer(by(Role::Editor, create("nightly", drops))).await.expect_err("it may drop partitions");
    assert_eq!(reason(&refused), ErrorReason::RoleTooLow, "{refused}");
    api.create_timer(by(Role::Editor, create("nightly", timer(TargetPolicy::CreateOrOwn, "30 2 * * *"))))
        .await
        .expect("well");
    let update = |paths: &[&str]| pb::UpdateTimerRequest {
        name: NAME.to_owned(),
        timer: Some(timer(TargetPolicy::Replace, "0 3 * * *")),
        update_mask: Some(prost_types::FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() }),
    };
    let refused = api.update_timer(by(Role::Editor, update(&["job_spec"]))).await.expect_err("it may drop tables");
    assert_eq!(reason(&refused), ErrorReason::RoleTooLow);
    api.update_timer(by(Role::Editor, update(&["schedule"]))).await.expect("its job stays");
    api.update_timer(by(Role::Admin, update(&["job_spec"]))).await.expect("an admin may");
    let trigger = || pb::TriggerTimerRequest { name: NAME.to_owned(), request_id: String::new() };
    let refused = api.trigger_timer(by(Role::Operator, trigger())).await.expect_err("not with that job");
    assert_eq!(reason(&refused), ErrorReason::RoleTooLow);
}

#[tokio::test]
async fn an_update_touches_what_its_mask_names() {
    let fixture = Fixture::new(1).await;
    let api = api(&fixture);
    let made =
        api.create_timer(by(Role::Editor, create("nightly", timer(TargetPolicy::CreateOrOwn, "30 2 * * *")))).await;
    let made = made.expect("well").into_inner().timer.expect("shown");
    let update = async |timer: pb::Timer, paths: &[&str]| {
        let update_mask = Some(prost_types::FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() });
        let request = pb::UpdateTimerRequest { name: NAME.to_owned(), timer: Some(timer), update_mask };
        api.update_timer(by(Role::Editor, request)).await.map(|answer| answer.into_inner().timer.expect("shown"))
    };
    let paused =
        pb::Timer { state: TimerState::Paused.into(), display_name: "other".to_owned(), ..pb::Timer::default() };
    let now = update(paused.clone(), &["state"]).await.expect("well");
    assert_eq!((now.state(), now.next_time, now.display_name.as_str()), (TimerState::Paused, None, "nightly"));
    assert_eq!(now.job_spec, made.job_spec);
    let stale = pb::Timer { etag: made.etag, ..paused };
    assert_eq!(reason(&update(stale, &["display_name"]).await.expect_err("it changed")), ErrorReason::EtagMismatch);
    let active = pb::Timer { state: TimerState::Active.into(), schedule: cron("0 3 * * *"), ..pb::Timer::default() };
    let now = update(active, &["state", "schedule"]).await.expect("well");
    assert_eq!(now.next_time.map(|at| at.seconds), Some(3 * 3600));
    let stopped = pb::Timer { state: TimerState::Stopped.into(), ..pb::Timer::default() };
    assert_eq!(reason(&update(stopped, &["state"]).await.expect_err("not so")), ErrorReason::InvalidField);
    let never = pb::Timer { schedule: cron("0 0 30 2 *"), ..pb::Timer::default() };
    let refused = update(never, &["schedule"]).await.expect_err("it never comes");
    let fields: Vec<_> = ApiError::from_status(&refused).violations.into_iter().map(|wrong| wrong.field).collect();
    assert_eq!(fields, ["timer.schedule.cron.expression"]);
}

#[tokio::test]
async fn timers_and_runs_are_listed_page_by_page() {
    let fixture = Fixture::new(1).await;
    let api = api(&fixture);
    for id in ["a", "b", "nightly"] {
        api.create_timer(by(Role::Editor, create(id, timer(TargetPolicy::CreateOrOwn, "30 2 * * *"))))
            .await
            .expect("well");
    }
    let mut names = Vec::new();
    let mut page_token = String::new();
    loop {
        let (parent, page_size) = ("dataSources/-".to_owned(), 2);
        let request = pb::ListTimersRequest { parent, page_size, page_token, ..pb::ListTimersRequest::default() };
        let page = api.list_timers(Request::new(request)).await.expect("well").into_inner();
        names.extend(page.timers.into_iter().map(|timer| timer.name));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(names, ["a", "b", "nightly"].map(|id| format!("dataSources/lake/timers/{id}")));
    // Nobody has a role in this fixture: each run fails and the timer stops. A repeated call is still answered with its
    // own run.
    let trigger = |request_id: &str| {
        api.trigger_timer(by(
            Role::Operator,
            pb::TriggerTimerRequest { name: NAME.to_owned(), request_id: request_id.to_owned() },
        ))
    };
    let first = trigger("once").await.expect("well").into_inner().run.expect("shown");
    let again = trigger("once").await.expect("well").into_inner().run.expect("shown");
    assert_eq!((first.uid.clone(), first.state()), (again.uid, pb::TimerRunState::Failed));
    let second = trigger("").await.expect("well").into_inner().run.expect("shown");
    let request = pb::ListTimerRunsRequest { parent: NAME.to_owned(), ..pb::ListTimerRunsRequest::default() };
    let runs = api.list_timer_runs(Request::new(request)).await.expect("well").into_inner().runs;
    assert_eq!(runs.iter().map(|run| &run.uid).collect::<Vec<_>>(), [&second.uid, &first.uid], "newest first");
    let run = api.get_timer_run(Request::new(pb::GetTimerRunRequest { name: first.name.clone() })).await.expect("well");
    assert_eq!(run.into_inner().run.expect("shown").uid, first.uid);
    let none = format!("{NAME}/runs/r99999999");
    let refused =
        api.get_timer_run(Request::new(pb::GetTimerRunRequest { name: none })).await.expect_err("there is none");
    assert_eq!(reason(&refused), ErrorReason::NotFound);
}

#[tokio::test]
async fn jobs_are_listed_by_the_timer_that_made_them_and_tasks_by_their_state() {
    let fixture = Fixture::new(3).await;
    let api = api(&fixture);
    api.create_timer(by(Role::Editor, create("nightly", timer(TargetPolicy::CreateOrOwn, "30 2 * * *"))))
        .await
        .expect("well");
    let (at, key) = (fixture.at(), TimerKey { data_source: "lake".to_owned(), timer: "nightly".to_owned() });
    let make = move |tx: &mut Tx<'_>| {
        let (_, run) = run::trigger(tx, &at, &key, "u-1".to_owned())?;
        run::make(tx, &at, &key, run.uid(), "of a timer")
    };
    assert!(fixture.commit(make).await.expect("made"));
    use pb::job_service_server::JobService;
    let list = async |filter: &str| {
        let (parent, filter) = ("dataSources/lake".to_owned(), filter.to_owned());
        let request = pb::ListJobsRequest { parent, filter, ..pb::ListJobsRequest::default() };
        let page = api.list_jobs(Request::new(request)).await.expect("well").into_inner();
        assert!(page.jobs.iter().all(|job| job.spec.is_none()), "BASIC is without its spec");
        page.jobs.into_iter().map(|job| job.name).collect::<Vec<_>>()
    };
    let (own, other) = ("dataSources/lake/jobs/ju1", "dataSources/lake/jobs/j");
    assert_eq!(list(&format!("timer = '{NAME}'")).await, [own]);
    assert_eq!(list("timer IS NULL AND state = 'WAITING'").await, [other]);
    assert_eq!(list("spec.max_attempts = 3").await, [other], "also by what is not shown");
    assert_eq!(list("state IN ('DONE', 'FAILED')").await, [""; 0]);
    let tasks = async |filter: &str| {
        let (parent, filter) = (other.to_owned(), filter.to_owned());
        let request = pb::ListTasksRequest { parent, filter, page_size: 2, ..pb::ListTasksRequest::default() };
        let page = api.list_tasks(Request::new(request)).await.expect("well").into_inner();
        (page.tasks.len(), page.total_size, !page.next_page_token.is_empty())
    };
    fixture.lease("a", 1).await;
    assert_eq!(tasks("").await, (2, Some(3), true));
    assert_eq!(tasks("attempt > 0").await, (1, None, false));
    let request = pb::ListJobsRequest {
        parent: "dataSources/lake".to_owned(),
        filter: "colour = 'red'".to_owned(),
        ..pb::ListJobsRequest::default()
    };
    let refused = api.list_jobs(Request::new(request)).await.expect_err("a job has no colour");
    assert_eq!(reason(&refused), ErrorReason::InvalidField);
}
