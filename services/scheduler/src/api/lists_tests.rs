//! Lists as callers meet them: filtered, ordered and page by page; and specs with parts of tables and limits.

use mms_proto::scheduler::v1 as pb;
use mms_proto::types::v1::{SourceTable, TableOptions, TargetPolicy, Verification, VerificationLevel};
use mms_proto::{ApiError, ErrorReason};
use pb::job_service_server::JobService;
use pb::worker_service_server::WorkerService;
use tokio_util::sync::CancellationToken;
use tonic::Request;

use super::Api;
use crate::fixture::{Fixture, Given, scheduler};
use crate::record::Spec;

fn api(fixture: &Fixture) -> Api {
    Api::new(scheduler(fixture.store.clone(), || 1_000), CancellationToken::new())
}

/// The ids of all jobs, page by page.
async fn jobs(api: &Api, filter: &str, order_by: &str, page_size: i32) -> Vec<Vec<String>> {
    let (mut pages, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = pb::ListJobsRequest {
            parent: "dataSources/-".to_owned(),
            filter: filter.to_owned(),
            order_by: order_by.to_owned(),
            page_size,
            page_token,
            ..pb::ListJobsRequest::default()
        };
        let page = api.list_jobs(Request::new(request)).await.expect("a page").into_inner();
        assert!(page.jobs.iter().all(|job| job.spec.is_none()), "not asked for");
        pages.push(page.jobs.iter().map(|job| job.name.rsplit('/').next().expect("an id").to_owned()).collect());
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return pages;
        }
    }
}

#[tokio::test]
async fn jobs_come_in_the_order_that_is_asked_for_on_every_page() {
    let fixture = Fixture::new(1).await;
    for (unit, (id, priority)) in [("k", 5), ("l", -5), ("m", 5), ("n", 1)].into_iter().enumerate() {
        let spec = Spec { priority, ..Spec::default() };
        fixture.another(id, Given { spec, ..Given::default() }, unit + 1..unit + 2, "").await;
    }
    let api = api(&fixture);
    assert_eq!(jobs(&api, "", "", 9).await, [["j", "k", "l", "m", "n"]]);
    assert_eq!(jobs(&api, "", "spec.priority desc", 2).await, [vec!["k", "m"], vec!["n", "j"], vec!["l"]]);
    assert_eq!(jobs(&api, "spec.priority > 0", "spec.priority, name desc", 2).await, [vec!["n", "m"], vec!["k"]]);
    let ask = |order_by: &str, page_token: String| {
        let (parent, order_by) = ("dataSources/-".to_owned(), order_by.to_owned());
        Request::new(pb::ListJobsRequest {
            parent,
            order_by,
            page_size: 2,
            page_token,
            ..pb::ListJobsRequest::default()
        })
    };
    let page = api.list_jobs(ask("name", String::new())).await.expect("a page").into_inner();
    let refused = api.list_jobs(ask("name desc", page.next_page_token)).await.expect_err("of another order");
    assert_eq!(ApiError::from_status(&refused).reason, ErrorReason::InvalidPageToken);
    let refused = api.list_jobs(ask("colour", String::new())).await.expect_err("no field");
    assert!(refused.message().contains("order_by"), "{refused}");
}

#[tokio::test]
async fn tables_tasks_findings_logs_and_workers_take_a_filter_and_an_order() {
    let fixture = Fixture::new(5).await;
    fixture.finish_one("a").await;
    let (api, parent) = (api(&fixture), "dataSources/lake/jobs/j".to_owned());
    let request = pb::ListTasksRequest {
        parent: parent.clone(),
        filter: "name != 'dataSources/lake/jobs/j/tasks/t000001'".to_owned(),
        order_by: "state desc, name desc".to_owned(),
        page_size: 3,
        ..pb::ListTasksRequest::default()
    };
    let tasks = api.list_tasks(Request::new(request)).await.expect("a page").into_inner().tasks;
    let numbers: Vec<&str> = tasks.iter().map(|task| task.name.rsplit_once('t').expect("a number").1).collect();
    assert_eq!(numbers, ["000000", "000004", "000003"], "the one that is furthest, then the last ones");
    let tables = async |filter: &str| {
        let (parent, filter, order_by) = (parent.clone(), filter.to_owned(), "source_bytes desc".to_owned());
        let request = pb::ListJobTablesRequest { parent, filter, order_by, ..pb::ListJobTablesRequest::default() };
        let page = api.list_job_tables(Request::new(request)).await.expect("a page").into_inner();
        assert!(page.job_tables.iter().all(|table| table.definition.is_none() && table.findings.is_empty()));
        page.job_tables.len()
    };
    assert_eq!((tables("unit_count = 5").await, tables("decision = 'BLOCKED'").await), (1, 0));
    let request =
        pb::ListFindingsRequest { parent, order_by: "severity".to_owned(), ..pb::ListFindingsRequest::default() };
    assert!(api.list_findings(Request::new(request)).await.expect("a page").into_inner().findings.is_empty());
    let request = pb::ListTaskLogsRequest {
        parent: "dataSources/lake/jobs/j/tasks/t000000".to_owned(),
        filter: "message LIKE 'leased%'".to_owned(),
        order_by: "time desc".to_owned(),
        ..pb::ListTaskLogsRequest::default()
    };
    assert_eq!(api.list_task_logs(Request::new(request)).await.expect("a page").into_inner().logs.len(), 1);
    let request = pb::ListWorkersRequest {
        filter: "slots = 10 AND name != 'workers/ddl'".to_owned(),
        order_by: "name desc".to_owned(),
        page_size: 2,
        ..pb::ListWorkersRequest::default()
    };
    let workers = api.list_workers(Request::new(request)).await.expect("a page").into_inner();
    assert_eq!(workers.workers.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["workers/part", "workers/b"]);
    assert!(!workers.next_page_token.is_empty());
}

#[tokio::test]
async fn a_spec_of_parts_and_limits_is_shown_as_it_was_given_and_judged_at_once() {
    let fixture = Fixture::new(1).await;
    let api = api(&fixture);
    let create = async |spec: pb::JobSpec| {
        let mut request = Request::new(pb::CreateJobRequest {
            parent: "dataSources/lake".to_owned(),
            job: Some(pb::Job { spec: Some(spec), ..pb::Job::default() }),
            validate_only: true,
            ..pb::CreateJobRequest::default()
        });
        let caller = mms_server::Caller { subject: "somebody".to_owned(), role: mms_proto::Role::Admin };
        request.extensions_mut().insert(caller);
        api.create_job(request).await
    };
    let partition = |source: &str| format!("dataSources/{source}/schemas/s/tables/t/partitions/day=2024-01-31");
    let parts = |source: &str| pb::JobSpec {
        scope: Some(pb::job_spec::Scope::Partitions(pb::PartitionsScope { partitions: vec![partition(source)] })),
        table_options: vec![TableOptions {
            table: Some(SourceTable { schema: "s".to_owned(), table: "T".to_owned() }),
            partition_filter: "day > '2024-01-01'".to_owned(),
            ..TableOptions::default()
        }],
        circuit_breaker: Some(pb::CircuitBreaker { failed_percent: Some(50), ..pb::CircuitBreaker::default() }),
        ..pb::JobSpec::default()
    };
    let shown =
        create(parts("lake")).await.expect("as it should be").into_inner().job.expect("shown").spec.expect("whole");
    assert_eq!((&shown.scope, &shown.table_options), (&parts("lake").scope, &parts("lake").table_options));
    let breaker = shown.circuit_breaker.expect("with its defaults");
    assert_eq!((breaker.failed_percent, breaker.burst.map(|burst| burst.count)), (Some(50), Some(100)));
    let refused = async |spec: pb::JobSpec| {
        let refused = create(spec).await.expect_err("it cannot be");
        ApiError::from_status(&refused).violations.iter().map(|one| one.field.clone()).collect::<Vec<_>>()
    };
    assert_eq!(refused(parts("other")).await, ["job.spec.partitions.partitions"]);
    let replaces = pb::JobSpec { target_policy: TargetPolicy::Replace.into(), ..parts("lake") };
    assert_eq!(refused(replaces).await, ["job.spec.target_policy"]);
    let mut broken = parts("lake");
    broken.table_options[0].partition_filter = "day >".to_owned();
    broken.circuit_breaker = Some(pb::CircuitBreaker { disabled: true, failed_percent: Some(1), ..Default::default() });
    assert_eq!(refused(broken.clone()).await, ["job.spec.circuit_breaker.disabled"]);
    broken.circuit_breaker = None;
    assert_eq!(refused(broken).await, ["job.spec.table_options[0].partition_filter"]);
    let whole = || pb::JobSpec {
        scope: Some(pb::job_spec::Scope::Schemas(pb::SchemasScope::default())),
        incremental: pb::IncrementalMode::ChangedUnits.into(),
        dropped_policy: pb::DroppedPolicy::Drop.into(),
        ..pb::JobSpec::default()
    };
    let shown = create(whole()).await.expect("as it should be").into_inner().job.expect("shown").spec.expect("whole");
    assert_eq!((shown.incremental(), shown.dropped_policy()), (whole().incremental(), whole().dropped_policy()));
    let replaces = pb::JobSpec { target_policy: TargetPolicy::Replace.into(), ..whole() };
    assert_eq!(refused(replaces).await, ["job.spec.incremental"]);
    assert_eq!(refused(pb::JobSpec { scope: parts("lake").scope, ..whole() }).await, ["job.spec.dropped_policy"]);
    let content = i32::from(pb::MigrationContent::VerificationOnly);
    assert_eq!(refused(pb::JobSpec { content, ..whole() }).await, ["job.spec.dropped_policy"]);
    let none = Some(Verification { level: VerificationLevel::None.into() });
    let compares = pb::JobSpec { content, verification: none, dropped_policy: 0, ..whole() };
    assert_eq!(refused(compares).await, ["job.spec.verification.level"]);
}
