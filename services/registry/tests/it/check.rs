//! CheckDataSource reports every step, finds what is wrong at the right step, and stores its report with the data source.

use std::collections::BTreeMap;

use crate::common::{CLIENT, CLIENT_SECRET, Ends, Registry, access_key, client, local, refusal, token};
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

/// A step as a text: its id, and its subject if it has one.
fn id_of(step: &pb::CheckStep) -> String {
    let id = step.id().as_str_name().trim_start_matches("CHECK_STEP_ID_").to_owned();
    if step.subject.is_empty() { id } else { format!("{id} {}", step.subject) }
}

fn states(report: &pb::CheckReport) -> BTreeMap<String, State> {
    report.steps.iter().map(|step| (id_of(step), step.state())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_source_passes_and_keeps_its_report() {
    let dir = tempfile::tempdir().unwrap();
    let (registry, ends) = (Registry::open(dir.path()).await, Ends::start().await);
    let mut source = ends.source();
    source.databricks_mut().unwrap().cluster_id = mms_sandbox::workspace::CLUSTER_ID.into();
    let etag = registry.create("lake", source).await.etag;
    let (steps, report) = check(&registry, Target::Name("dataSources/lake".into())).await;
    assert_eq!(report.state(), State::Ok, "{report:?}");
    for id in [
        "CREDENTIALS_RESOLVED",
        "WORKSPACE_REACHABLE",
        "WORKSPACE_TOKEN",
        "CATALOG_VISIBLE",
        "GRANT SELECT",
        "GRANT USE_CATALOG",
        "CLUSTER_USABLE",
        "STORAGE_READABLE",
        "PROJECT_REACHABLE",
        "PROJECT_SCHEMAS",
        "TUNNEL_REACHABLE",
        "STATEMENTS_RUN",
        "CLOCK_SOURCE",
        "CLOCK_TARGET",
    ] {
        assert_eq!(states(&report).get(id), Some(&State::Ok), "{id} in {report:?}");
        assert!(
            steps.iter().any(|step| id_of(step) == id && step.state() == State::Running),
            "{id} was not told to run"
        );
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
    wrong.databricks_mut().unwrap().workspace_auth = token("dapi-wrong-token");
    wrong.max_compute.as_mut().unwrap().account = access_key("wrong-key");
    let (_, report) = check(&registry, Target::DataSource(wrong)).await;
    let found = states(&report);
    assert_eq!(report.state(), State::Failed);
    assert_eq!(found["WORKSPACE_REACHABLE"], State::Ok);
    assert_eq!(found["WORKSPACE_TOKEN"], State::Failed);
    assert_eq!(found["CATALOG_VISIBLE"], State::Skipped);
    assert_eq!(found["PROJECT_REACHABLE"], State::Failed);
    assert_eq!(found["PROJECT_SCHEMAS"], State::Skipped);
    let text = format!("{report:?}");
    assert!(!text.contains("dapi-wrong-token") && !text.contains("wrong-key"), "{text}");
    assert!(report.steps.iter().filter(|step| step.state() == State::Failed).all(|step| !step.remedy.is_empty()));

    let mut wrong = ends.source();
    let databricks = wrong.databricks_mut().unwrap();
    databricks.catalog = "absent".into();
    databricks.storage = local("/no/such/folder");
    wrong.max_compute.as_mut().unwrap().default_project = "nosuchproject".into();
    let (_, report) = check(&registry, Target::DataSource(wrong)).await;
    let found = states(&report);
    assert_eq!(found["WORKSPACE_TOKEN"], State::Ok);
    assert_eq!(found["CATALOG_VISIBLE"], State::Failed);
    assert_eq!(found["STORAGE_READABLE"], State::Failed);
    assert_eq!(found["PROJECT_REACHABLE"], State::Failed);

    // Nothing listens at this address.
    let mut wrong = ends.source();
    wrong.databricks_mut().unwrap().workspace_url = "http://127.0.0.1:1".into();
    let (_, report) = check(&registry, Target::DataSource(wrong)).await;
    assert_eq!(states(&report)["WORKSPACE_REACHABLE"], State::Failed);
    assert_eq!(states(&report)["WORKSPACE_TOKEN"], State::Skipped);
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
    assert!(refusal(&status).1.contains(&"data_source.source".to_owned()), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reference_that_leads_nowhere_is_a_finding_not_a_failure_of_the_call() {
    let dir = tempfile::tempdir().unwrap();
    let (registry, ends) = (Registry::open(dir.path()).await, Ends::start().await);
    let mut source = ends.source();
    source.databricks_mut().unwrap().workspace_auth = token("env:MMS_TEST_VARIABLE_THAT_IS_NOT_SET");
    registry.create("lake", source).await;
    let (_, report) = check(&registry, Target::Name("dataSources/lake".into())).await;
    assert_eq!(states(&report)["CREDENTIALS_RESOLVED"], State::Failed);
    assert_eq!(states(&report)["WORKSPACE_REACHABLE"], State::Skipped);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oauth_client_passes_and_a_wrong_one_is_told_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let (registry, ends) = (Registry::open(dir.path()).await, Ends::start().await);
    let mut source = ends.source();
    source.databricks_mut().unwrap().workspace_auth = client(CLIENT, CLIENT_SECRET);
    let stored = registry.create("lake", source).await;
    assert!(!format!("{stored:?}").contains(CLIENT_SECRET), "{stored:?}");
    let (_, report) = check(&registry, Target::Name("dataSources/lake".into())).await;
    assert_eq!(report.state(), State::Ok, "{report:?}");
    let token = report.steps.iter().find(|step| id_of(step) == "WORKSPACE_TOKEN").unwrap();
    assert_eq!(token.message, format!("the token belongs to {CLIENT}"));
    for (id, secret) in [(CLIENT, "dose-wrong-secret"), ("another-client", CLIENT_SECRET)] {
        let mut source = ends.source();
        source.databricks_mut().unwrap().workspace_auth = client(id, secret);
        let (_, report) = check(&registry, Target::DataSource(source)).await;
        let found = states(&report);
        assert_eq!((found["WORKSPACE_REACHABLE"], found["WORKSPACE_TOKEN"]), (State::Ok, State::Failed), "{report:?}");
        let step = report.steps.iter().find(|step| id_of(step) == "WORKSPACE_TOKEN").unwrap();
        assert!(step.message.contains(&format!("OAuth client {id}: 401 invalid_client")), "{step:?}");
        assert!(step.remedy.contains("client_id") && step.remedy.contains("not Entra ID"), "{step:?}");
        assert!(!format!("{report:?}").contains(secret), "{report:?}");
    }
}
