//! Starting, stopping and using data sources: what is durable, what keeps a data source started, and what stops by itself.

use crate::common::{Ends, Registry, access_key, open_session, refusal, token};
use mms_proto::ErrorReason as Reason;
use mms_proto::registry::v1 as pb;
use pb::DataSourceState as State;

fn acquire(holder: &str) -> pb::AcquireUseRequest {
    pb::AcquireUseRequest { data_source: "dataSources/lake".into(), holder: holder.into() }
}

fn stop(force: bool) -> pb::StopDataSourceRequest {
    pb::StopDataSourceRequest { name: "dataSources/lake".into(), force }
}

fn with_settings(ends: &Ends, settings: pb::MigrationSettings) -> pb::DataSource {
    pb::DataSource { settings: Some(settings), ..ends.source() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_started_source_stays_started_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (registry, ends) = (Registry::open(dir.path()).await, Ends::start().await);
    registry.create("lake", ends.source()).await;
    assert_eq!(registry.start("lake").await.unwrap().state(), State::Started);
    assert_eq!(registry.start("lake").await.unwrap().state(), State::Started, "a started one stays started");
    registry.sessions().acquire_use(acquire("dataSources/lake/jobs/j1")).await.unwrap();
    registry.shut().await;

    let registry = Registry::open(dir.path()).await;
    assert_eq!(registry.get("lake").await.state(), State::Started);
    let uses = pb::ListUsesRequest { parent: "dataSources/lake".into(), ..Default::default() };
    let uses = registry.sessions_of_people().list_uses(uses).await.unwrap().into_inner().uses;
    assert_eq!(uses.iter().map(|each| each.holder.as_str()).collect::<Vec<_>>(), ["dataSources/lake/jobs/j1"]);
    assert!(uses[0].expire_time.is_some());
    let open = open_session("w");
    registry.sessions().open_session(open).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_refuses_fails_the_start_and_says_which() {
    let dir = tempfile::tempdir().unwrap();
    let (registry, ends) = (Registry::open(dir.path()).await, Ends::start().await);
    let mut wrong = ends.source();
    wrong.databricks_mut().unwrap().workspace_auth = token("dapi-wrong");
    registry.create("token", wrong).await;
    let status = registry.start("token").await.unwrap_err();
    assert_eq!(refusal(&status).0, Reason::SourceFailed);
    let error = mms_proto::ApiError::from_status(&status);
    assert_eq!(error.metadata["step"], "WORKSPACE_TOKEN");
    let failed = registry.get("token").await;
    assert_eq!(failed.state(), State::StartFailed);
    assert_eq!(failed.state_message, status.message());

    let mut wrong = ends.source();
    wrong.max_compute.as_mut().unwrap().account = access_key("wrong");
    registry.create("key", wrong).await;
    let status = registry.start("key").await.unwrap_err();
    assert_eq!(refusal(&status).0, Reason::TargetFailed);

    let mut mended = pb::DataSource { max_compute: ends.source().max_compute, ..Default::default() };
    mended.etag.clear();
    registry.sources().update_data_source(crate::common::update("key", mended, &["max_compute"])).await.unwrap();
    let started = registry.start("key").await.unwrap();
    assert_eq!((started.state(), started.state_message.as_str()), (State::Started, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_use_holds_off_stop_and_delete_until_it_is_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let (registry, ends) = (Registry::open(dir.path()).await, Ends::start().await);
    registry.create("lake", ends.source()).await;
    let status = registry.sessions().acquire_use(acquire("j")).await.unwrap_err();
    assert_eq!(refusal(&status).0, Reason::SourceNotStarted);
    registry.start("lake").await.unwrap();
    let answer = registry.sessions().acquire_use(acquire("j")).await.unwrap().into_inner();
    assert_eq!(answer.expire_after.unwrap().seconds, 300);
    assert_eq!(answer.data_source.unwrap().name, "dataSources/lake");

    let status = registry.sources().stop_data_source(stop(false)).await.unwrap_err();
    let error = mms_proto::ApiError::from_status(&status);
    assert_eq!((error.reason, error.metadata["holder"].as_str()), (Reason::InUse, "j"));
    let delete = pb::DeleteDataSourceRequest { name: "dataSources/lake".into(), ..Default::default() };
    let status = registry.sources().delete_data_source(delete.clone()).await.unwrap_err();
    assert_eq!(refusal(&status).0, Reason::InUse);

    let release = pb::ReleaseUseRequest { data_source: "dataSources/lake".into(), holder: "j".into() };
    registry.sessions().release_use(release.clone()).await.unwrap();
    registry.sessions().release_use(release).await.unwrap();
    let status = registry.sources().delete_data_source(delete.clone()).await.unwrap_err();
    assert_eq!(refusal(&status).0, Reason::WrongState, "it is started");
    registry.sources().stop_data_source(stop(false)).await.unwrap();
    registry.sources().delete_data_source(delete).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn force_ends_uses_and_sessions() {
    let dir = tempfile::tempdir().unwrap();
    let (registry, ends) = (Registry::open(dir.path()).await, Ends::start().await);
    registry.create("lake", ends.source()).await;
    registry.start("lake").await.unwrap();
    registry.sessions().acquire_use(acquire("j")).await.unwrap();
    let open = open_session("w");
    let session = registry.sessions().open_session(open).await.unwrap().into_inner().session.unwrap();
    registry.sources().stop_data_source(stop(true)).await.unwrap();
    let renew = pb::RenewSessionRequest { session_token: session.session_token, etag: String::new() };
    let status = registry.sessions().renew_session(renew).await.unwrap_err();
    assert_eq!(refusal(&status).0, Reason::NotFound);
    let status = registry.sessions().acquire_use(acquire("j")).await.unwrap_err();
    assert_eq!(refusal(&status).0, Reason::SourceNotStarted);
    // Uses that were ended by force are gone when the data source is started again.
    registry.start("lake").await.unwrap();
    let uses = pb::ListUsesRequest { parent: "dataSources/lake".into(), ..Default::default() };
    assert!(registry.sessions_of_people().list_uses(uses).await.unwrap().into_inner().uses.is_empty());
    registry.sessions().acquire_use(acquire("j")).await.unwrap();
    let status = registry.sources().stop_data_source(stop(false)).await.unwrap_err();
    assert_eq!(refusal(&status).0, Reason::InUse);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_source_stops_and_a_use_that_runs_out_lets_it() {
    let dir = tempfile::tempdir().unwrap();
    let config = mms_registry::Config { use_term_seconds: 2, ..crate::common::config(dir.path()) };
    let (registry, ends) = (Registry::with(dir.path(), config).await, Ends::start().await);
    let idle_stop_after = Some(prost_types::Duration { seconds: 0, nanos: 500_000_000 });
    let settings = pb::MigrationSettings { idle_stop_after, ..Default::default() };
    registry.create("lake", with_settings(&ends, settings)).await;
    let settings =
        pb::MigrationSettings { idle_stop_after: Some(prost_types::Duration::default()), ..Default::default() };
    let never = pb::DataSource { display_name: "never".into(), ..with_settings(&ends, settings) };
    registry.create("never", never).await;
    registry.start("never").await.unwrap();
    registry.start("lake").await.unwrap();
    let begun = std::time::Instant::now();
    registry.sessions().acquire_use(acquire("j")).await.unwrap();
    registry.until("lake", State::Stopped).await;
    assert!(begun.elapsed() >= std::time::Duration::from_secs(2), "the use held it for its term");
    assert_eq!(registry.get("never").await.state(), State::Started);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_use_starts_a_source_whose_settings_allow_it() {
    let dir = tempfile::tempdir().unwrap();
    let (registry, ends) = (Registry::open(dir.path()).await, Ends::start().await);
    let settings = pb::MigrationSettings { auto_start: true, ..Default::default() };
    registry.create("lake", with_settings(&ends, settings)).await;
    let answer = registry.sessions().acquire_use(acquire("j")).await.unwrap().into_inner();
    assert_eq!(answer.data_source.unwrap().state(), State::Started);
}
