//! JobService as callers meet it.

use mms_proto::scheduler::v1 as pb;
use mms_proto::types::v1::TargetPolicy;
use mms_proto::{ApiError, ErrorReason, Role};
use mms_server::Caller;
use pb::job_service_server::JobService;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Status};

use super::super::Api;
use crate::fixture::{Fixture, Given, other_key, scheduler};
use crate::name;

fn api(fixture: &Fixture) -> Api {
    Api::new(scheduler(fixture.store.clone(), || 1_000), CancellationToken::new())
}

fn reason(refused: &Status) -> ErrorReason {
    ApiError::from_status(refused).reason
}

/// A request that only validates a job.
fn judged(policy: TargetPolicy, role: Role) -> Request<pb::CreateJobRequest> {
    let spec = pb::JobSpec {
        scope: Some(pb::job_spec::Scope::Schemas(pb::SchemasScope::default())),
        target_policy: policy.into(),
        ..pb::JobSpec::default()
    };
    let mut request = Request::new(pb::CreateJobRequest {
        parent: "dataSources/lake".to_owned(),
        job: Some(pb::Job { spec: Some(spec), ..pb::Job::default() }),
        validate_only: true,
        ..pb::CreateJobRequest::default()
    });
    request.extensions_mut().insert(Caller { subject: "somebody".to_owned(), role });
    request
}

#[tokio::test]
async fn only_an_admin_makes_a_job_that_may_drop_tables() {
    let fixture = Fixture::new(1).await;
    let api = api(&fixture);
    for role in [Role::Operator, Role::Editor] {
        let refused = api.create_job(judged(TargetPolicy::Replace, role)).await.expect_err("it drops tables");
        assert_eq!(reason(&refused), ErrorReason::RoleTooLow, "{refused}");
        assert!(refused.message().contains("REPLACE") && refused.message().contains("somebody"), "{refused}");
        let job = api.create_job(judged(TargetPolicy::CreateOrOwn, role)).await.expect("it drops nothing");
        assert_eq!(job.into_inner().job.expect("shown").creator, "somebody");
    }
    api.create_job(judged(TargetPolicy::Replace, Role::Admin)).await.expect("an admin may");
    let drops = |role| {
        let mut request = judged(TargetPolicy::CreateOrOwn, role);
        let spec = request.get_mut().job.as_mut().and_then(|job| job.spec.as_mut()).expect("a spec");
        spec.set_dropped_policy(pb::DroppedPolicy::Drop);
        request
    };
    let refused = api.create_job(drops(Role::Editor)).await.expect_err("it drops partitions");
    assert_eq!(reason(&refused), ErrorReason::RoleTooLow, "{refused}");
    api.create_job(drops(Role::Admin)).await.expect("an admin may");
}

#[tokio::test]
async fn an_approval_that_comes_twice_is_one_and_its_id_serves_no_other() {
    let fixture = Fixture::new(1).await;
    fixture.another("r", Given { review: true, ..Given::default() }, 5..6, "").await;
    let api = api(&fixture);
    let etag = fixture.job_of(&other_key("r")).revision.to_string();
    let approve = |accept_blocked, etag: &str, request_id: &str| {
        api.approve_job(Request::new(pb::ApproveJobRequest {
            name: name::job_name(&other_key("r")),
            etag: etag.to_owned(),
            accept_blocked,
            request_id: request_id.to_owned(),
        }))
    };
    let refused = approve(false, "another", "").await.expect_err("a plan that was not read");
    assert_eq!(reason(&refused), ErrorReason::EtagMismatch);
    assert_eq!(reason(&approve(false, "", "").await.expect_err("no etag")), ErrorReason::InvalidField);
    for _ in 0..2 {
        let job = approve(false, &etag, "once").await.expect("well").into_inner().job.expect("shown");
        assert_eq!(job.state(), pb::JobState::Waiting);
        let review = job.review.expect("told");
        assert_eq!((review.state(), review.approve_time.is_some()), (pb::ReviewState::Approved, true));
    }
    assert_eq!(reason(&approve(true, &etag, "once").await.expect_err("other content")), ErrorReason::RequestIdReused);
}

#[tokio::test]
async fn pages_of_jobs_join_and_take_no_token_of_another_list() {
    let fixture = Fixture::new(1).await;
    fixture.another("k", Given::default(), 3..4, "").await;
    let api = api(&fixture);
    let list = |parent: &str, page_token: String| {
        api.list_jobs(Request::new(pb::ListJobsRequest {
            parent: parent.to_owned(),
            page_size: 1,
            page_token,
            ..pb::ListJobsRequest::default()
        }))
    };
    let (mut names, mut token) = (Vec::new(), String::new());
    loop {
        let page = list("dataSources/lake", token).await.expect("well").into_inner();
        names.extend(page.jobs.into_iter().map(|job| job.name));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
        let refused = list("dataSources/-", token.clone()).await.expect_err("of another list");
        assert_eq!(reason(&refused), ErrorReason::InvalidPageToken);
    }
    assert_eq!(names, ["dataSources/lake/jobs/j", "dataSources/lake/jobs/k"]);
}

#[tokio::test]
async fn a_deletion_wants_the_job_as_it_was_read_and_ended() {
    let fixture = Fixture::new(1).await;
    let api = api(&fixture);
    let name = "dataSources/lake/jobs/j".to_owned();
    let delete =
        |etag: &str| api.delete_job(Request::new(pb::DeleteJobRequest { name: name.clone(), etag: etag.to_owned() }));
    assert_eq!(reason(&delete("").await.expect_err("it runs")), ErrorReason::WrongState);
    let stopped = api.stop_job(Request::new(pb::StopJobRequest { name: name.clone() })).await.expect("well");
    let etag = stopped.into_inner().job.expect("shown").etag;
    assert_eq!(reason(&delete("another").await.expect_err("it changed")), ErrorReason::EtagMismatch);
    delete(&etag).await.expect("well");
    let refused = api
        .get_job(Request::new(pb::GetJobRequest { name: name.clone(), ..Default::default() }))
        .await
        .expect_err("gone");
    assert_eq!(reason(&refused), ErrorReason::NotFound);
}
