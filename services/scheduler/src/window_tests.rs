//! Time windows as a worker and a caller meet them: no lease outside, running tasks as the window says, and until when
//! a job waits. The clock is the fixture's: 1970-01-01 00:00:01 UTC, a Thursday.

use std::sync::atomic::{AtomicI64, Ordering};

use mms_proto::scheduler::v1 as pb;
use pb::worker_service_server::WorkerService;
use tokio_util::sync::CancellationToken;
use tonic::Request;

use super::*;
use crate::api::Api;
use crate::convert::epoch_to;
use crate::fixture::{Fixture, Given, done, holder, job_key, other_key, scheduler, task_key};
use crate::job::calls;
use crate::lease::{end, lacks};
use crate::name;
use crate::record::{Epoch, LeaseEnd, Limits, Spec, Step};

const HOUR_MS: i64 = 3_600_000;

fn within(windows: &[&str]) -> Given {
    let time_windows = windows.iter().map(|text| (*text).to_owned()).collect();
    Given { limits: Limits { time_windows, ..Limits::default() }, ..Given::default() }
}

fn waits_for(fixture: &Fixture) -> Option<Reason> {
    let job = fixture.job();
    fixture.store.read(|read| lacks::everywhere(read, fixture.at().now_ms, &job_key(), &job)).expect("readable")
}

#[tokio::test]
async fn nothing_is_leased_outside_and_the_job_says_until_when() {
    let mut fixture = Fixture::of(2, within(&["22:00-06:00 in Asia/Shanghai"])).await;
    // It is 08:00 in Shanghai.
    assert!(fixture.lease("a", 10).await.is_empty());
    let said = waits_for(&fixture).expect("it waits");
    assert_eq!(said.reason, ErrorReason::OutsideWindows);
    assert!(said.message.contains("1970-01-01 22:00 Asia/Shanghai"), "{}", said.message);
    // A job without windows runs beside it.
    fixture.another("free", Given::default(), 5..6, "").await;
    assert_eq!(fixture.lease("a", 10).await[0].key.job, other_key("free"));
    fixture.pass(14 * HOUR_MS);
    assert_eq!(waits_for(&fixture), None);
    assert_eq!(fixture.lease("a", 10).await.len(), 1);
}

#[tokio::test]
async fn a_window_that_closes_lets_running_tasks_finish() {
    let mut fixture = Fixture::of(2, within(&["00:00-01:00 in UTC"])).await;
    let first = fixture.lease("a", 10).await.remove(0);
    assert!(fixture.report(0, "a", first.task.epoch, done(Step::Schema)).await);
    fixture.pass(2 * HOUR_MS);
    assert!(fixture.lease("b", 10).await.is_empty(), "the other task waits");
    assert!(!stops_at_checkpoint(&fixture.job(), fixture.at().now_ms));
    assert_eq!(waits_for(&fixture), None, "something of it goes on");
    let (at, epoch) = (fixture.at(), first.task.epoch);
    fixture.commit(move |tx| end::end(tx, &at, &task_key(0), epoch, LeaseEnd::Released)).await.expect("given back");
    assert!(waits_for(&fixture).is_some(), "and now nothing");
}

static NOW_MS: AtomicI64 = AtomicI64::new(1_000);

#[tokio::test]
async fn a_heartbeat_after_the_end_says_to_stop_at_the_next_checkpoint() {
    let mut fixture = Fixture::of(1, within(&["00:00-01:00 in UTC checkpoint"])).await;
    let held = fixture.lease("a", 1).await.remove(0).task.epoch;
    let scheduler = scheduler(fixture.store.clone(), || NOW_MS.load(Ordering::SeqCst));
    let api = Api::new(scheduler, CancellationToken::new());
    let verdict = async |epoch: Epoch| {
        let beat = pb::LeaseBeat {
            task: name::task_name(&task_key(0)),
            epoch: Some(epoch_to(epoch)),
            ..pb::LeaseBeat::default()
        };
        let (worker, instance) = ("workers/a".to_owned(), holder("a").instance);
        let request = pb::HeartbeatRequest { worker, instance, beats: vec![beat] };
        api.heartbeat(Request::new(request)).await.expect("heard").into_inner().answers[0].verdict()
    };
    assert_eq!(verdict(held).await, pb::LeaseVerdict::Continue);
    NOW_MS.store(HOUR_MS, Ordering::SeqCst);
    assert_eq!(verdict(held).await, pb::LeaseVerdict::StopAtCheckpoint);
    let lost = Epoch { counter: held.counter + 1, ..held };
    assert_eq!(verdict(lost).await, pb::LeaseVerdict::StopNow, "what is lost is lost");
    // It is leased again in the next window.
    fixture.pass(HOUR_MS);
    assert!(fixture.lease("b", 1).await.is_empty());
}

#[tokio::test]
async fn a_change_of_the_source_s_settings_holds_for_a_job_that_runs() {
    use mms_proto::registry::v1::MigrationSettings;
    use mms_proto::types::v1::{TimeOfDay, TimeWindow};

    let fixture = Fixture::new(3).await;
    let window = TimeWindow {
        start: Some(TimeOfDay { hour: 22, minute: 0 }),
        end: Some(TimeOfDay { hour: 6, minute: 0 }),
        time_zone: "Asia/Shanghai".to_owned(),
        ..TimeWindow::default()
    };
    let heed = async |settings: MigrationSettings| {
        let at = fixture.at();
        fixture.commit(move |tx| calls::heed(tx, &at, &job_key(), settings)).await.expect("heeded")
    };
    let few = MigrationSettings { max_concurrent_tasks: 1, ..MigrationSettings::default() };
    assert!(heed(few.clone()).await);
    assert!(!heed(few.clone()).await, "nothing has changed");
    let first = fixture.lease("a", 10).await.remove(0);
    assert!(fixture.report(0, "a", first.task.epoch, done(Step::Schema)).await);
    assert!(fixture.lease("b", 10).await.is_empty(), "one at a time");
    assert!(heed(MigrationSettings { time_windows: vec![window], ..MigrationSettings::default() }).await);
    assert!(fixture.lease("b", 10).await.is_empty(), "outside");
    assert!(heed(MigrationSettings::default()).await);
    assert_eq!(fixture.lease("b", 10).await.len(), 2);
}

#[tokio::test]
async fn a_unit_that_fits_into_no_window_is_a_finding() {
    let unit = |source_bytes| Unit { source_bytes, ..Unit::default() };
    let units = [unit(1), unit((61 * 60) << 20)];
    let found = async |windows: &[&str]| {
        let fixture = Fixture::of(1, within(windows)).await;
        finding(&fixture.job(), 1_000, &units).map(|found| (*found.reason, found.message))
    };
    let (reason, message) = found(&["22:00-23:00 in UTC checkpoint"]).await.expect("too short");
    assert_eq!(reason, FindingReason::WindowTooShort);
    assert!(message.contains("61 minutes") && message.contains("60 minutes"), "{message}");
    assert_eq!(found(&["22:00-23:00 in UTC"]).await, None, "its tasks finish");
    assert_eq!(found(&["22:00-23:00 in UTC checkpoint", "23:00-23:30 in UTC"]).await, None, "they meet");
    assert_eq!(found(&[]).await, None);
    let spec = Spec { time_windows: vec!["22:00-23:00 in Nowhere".to_owned()], ..Spec::default() };
    assert!(Windows::parse(&spec.time_windows).is_err());
}

#[tokio::test]
async fn an_update_of_a_job_holds_at_once() {
    use mms_proto::types::v1::{TimeOfDay, TimeWindow};
    use pb::job_service_server::JobService;

    let fixture = Fixture::new(3).await;
    fixture.another("low", Given::default(), 5..6, "").await;
    let api = Api::new(scheduler(fixture.store.clone(), || 1_000), CancellationToken::new());
    let update = async |job: &str, spec: pb::JobSpec, paths: &[&str]| {
        let paths = paths.iter().map(|path| (*path).to_owned()).collect();
        let request = pb::UpdateJobRequest {
            name: name::job_name(&other_key(job)),
            job: Some(pb::Job { spec: Some(spec), ..pb::Job::default() }),
            update_mask: Some(prost_types::FieldMask { paths }),
        };
        api.update_job(Request::new(request)).await.map(|answer| answer.into_inner().job.expect("shown"))
    };
    let first = pb::JobSpec { priority: 7, ..pb::JobSpec::default() };
    update("low", first, &["spec.priority"]).await.expect("well");
    assert_eq!(fixture.lease("a", 1).await[0].key.job, other_key("low"), "it goes first now");
    let window = TimeWindow {
        start: Some(TimeOfDay { hour: 22, minute: 0 }),
        end: Some(TimeOfDay { hour: 6, minute: 0 }),
        time_zone: "Asia/Shanghai".to_owned(),
        ..TimeWindow::default()
    };
    let nights = pb::JobSpec { time_windows: vec![window], max_concurrent_tasks: 1, ..pb::JobSpec::default() };
    let job = update("j", nights, &["spec.time_windows", "spec.max_concurrent_tasks"]).await.expect("well");
    assert_eq!(job.waiting_for.expect("told").reason(), ErrorReason::OutsideWindows);
    assert!(fixture.lease("a", 10).await.is_empty());
    update("j", pb::JobSpec::default(), &["spec.time_windows"]).await.expect("well");
    let first = fixture.lease("a", 10).await.remove(0);
    assert!(fixture.report(0, "a", first.task.epoch, done(Step::Schema)).await);
    assert!(fixture.lease("b", 10).await.is_empty(), "one at a time");
    let refused = update("j", pb::JobSpec::default(), &["spec.force"]).await.expect_err("it is planned by it");
    assert!(refused.message().contains("spec.force"), "{refused}");
}
