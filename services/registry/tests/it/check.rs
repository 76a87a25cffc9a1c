//! Checks: every step is told, what is wrong is found where it is, and the report stays with the source.

use std::collections::BTreeMap;

use crate::common::{Ends, Registry, access_key, local, refusal, token};
use mms_proto::ErrorReason as Reason;
use mms_proto::registry::v1 as pb;
use pb::CheckState as State;
use pb::check_data_source_request::Target;
use pb::check_data_source_response::Event;

async fn check(registry: &Registry, target: Target) -> (Vec<pb::CheckStep>, pb::CheckReport) {
    let request = pb::CheckDataSourceRequest { target: Some(target), start_cluster: false };
    let mut stream = registry.sources().check_data_source(request).await.unwrap().into_inner();
    let (mut steps, mut report) = (Vec::new(), None);
    while let Some(answer) = stream.message().await.unwrap() {
        assert!(report.is_none(), "the report is the last answer");
        match answer.event.unwrap() {
            Event::Step(step) => steps.push(step),
            Event::Report(last) => report = Some(last),
        }
    }
    (steps, report.unwrap())
}

fn states(report: &pb::CheckReport) -> BTreeMap<&str, State> {
    report.steps.iter().map(|step| (step.id.as_str(), step.state())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_source_passes_and_keeps_its_report() {
    let dir = tempfile::tempdir().unwrap();
    let (registry, ends) = (Registry::open(dir.path()).await, Ends::start().await);
    let mut source = ends.source();
    source.databricks.as_mut().unwrap().cluster_id = mms_sandbox::workspace::CLUSTER_ID.into();
    let etag = registry.create("lake", source).await.etag;
    let (steps, report) = check(&registry, Target::Name("dataSources/lake".into())).await;
    assert_eq!(report.state(), State::Ok, "{report:?}");
    for id in [
        "credentials.resolved",
        "workspace.reachable",
        "workspace.token",
        "catalog.visible",
        "grant.select",
        "grant.use_catalog",
        "cluster.usable",
        "storage.readable",
        "project.reachable",
        "project.schemas",
        "clock.source",
        "clock.target",
    ] {
        assert_eq!(states(&report).get(id), Some(&State::Ok), "{id} in {report:?}");
        assert!(steps.iter().any(|step| step.id == id && step.state() == State::Running), "{id} was not told to run");
    }
    let stored = registry.get("lake").await;
    assert_eq!(stored.last_check.unwrap().steps.len(), report.steps.len());
    assert_eq!(stored.etag, etag, "a check is no change of the configuration");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_is_found_at_its_step() {
    let dir = tempfile::tempdir().unwrap();
    let (registry, ends) = (Registry::open(dir.path()).await, Ends::start().await);
    let mut wrong = ends.source();
    wrong.databricks.as_mut().unwrap().workspace_auth = token("dapi-wrong-token");
    wrong.max_compute.as_mut().unwrap().account = access_key("wrong-key");
    let (_, report) = check(&registry, Target::DataSource(wrong)).await;
    let found = states(&report);
    assert_eq!(report.state(), State::Failed);
    assert_eq!(found["workspace.reachable"], State::Ok);
    assert_eq!(found["workspace.token"], State::Failed);
    assert_eq!(found["catalog.visible"], State::Skipped);
    assert_eq!(found["project.reachable"], State::Failed);
    assert_eq!(found["project.schemas"], State::Skipped);
    let text = format!("{report:?}");
    assert!(!text.contains("dapi-wrong-token") && !text.contains("wrong-key"), "{text}");
    assert!(report.steps.iter().filter(|step| step.state() == State::Failed).all(|step| !step.remedy.is_empty()));

    let mut wrong = ends.source();
    let databricks = wrong.databricks.as_mut().unwrap();
    databricks.catalog = "absent".into();
    databricks.storage_access = local("/no/such/folder");
    wrong.max_compute.as_mut().unwrap().default_project = "nosuchproject".into();
    let (_, report) = check(&registry, Target::DataSource(wrong)).await;
    let found = states(&report);
    assert_eq!(found["workspace.token"], State::Ok);
    assert_eq!(found["catalog.visible"], State::Failed);
    assert_eq!(found["storage.readable"], State::Failed);
    assert_eq!(found["project.reachable"], State::Failed);

    // Nobody listens there.
    let mut wrong = ends.source();
    wrong.databricks.as_mut().unwrap().workspace_url = "http://127.0.0.1:1".into();
    let (_, report) = check(&registry, Target::DataSource(wrong)).await;
    assert_eq!(states(&report)["workspace.reachable"], State::Failed);
    assert_eq!(states(&report)["workspace.token"], State::Skipped);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_of_nothing_or_of_nonsense_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::open(dir.path()).await;
    let request = |target| pb::CheckDataSourceRequest { target, start_cluster: false };
    let status = registry.sources().check_data_source(request(None)).await.unwrap_err();
    assert_eq!(refusal(&status).0, Reason::InvalidField);
    let unknown = Target::Name("dataSources/unknown".into());
    let status = registry.sources().check_data_source(request(Some(unknown))).await.unwrap_err();
    assert_eq!(refusal(&status).0, Reason::NotFound);
    let empty = Target::DataSource(pb::DataSource::default());
    let status = registry.sources().check_data_source(request(Some(empty))).await.unwrap_err();
    assert!(refusal(&status).1.contains(&"data_source.databricks".to_owned()), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reference_that_leads_nowhere_is_a_finding_not_a_failure_of_the_call() {
    let dir = tempfile::tempdir().unwrap();
    let (registry, ends) = (Registry::open(dir.path()).await, Ends::start().await);
    let mut source = ends.source();
    source.databricks.as_mut().unwrap().workspace_auth = token("env:MMS_TEST_VARIABLE_THAT_IS_NOT_SET");
    registry.create("lake", source).await;
    let (_, report) = check(&registry, Target::Name("dataSources/lake".into())).await;
    assert_eq!(states(&report)["credentials.resolved"], State::Failed);
    assert_eq!(states(&report)["workspace.reachable"], State::Skipped);
}
