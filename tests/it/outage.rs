//! A source or target that does not answer while a job is planned: the job says what it waits for, blocks no table, and
//! resumes by itself when the answers come again. A source that is stopped by force: its jobs and their transfers stop,
//! and can be resumed later.

use std::time::Instant;

use mms_proto::registry::v1 as registry;
use mms_proto::registry::v1::data_source_service_client::DataSourceServiceClient;
use mms_proto::scheduler::v1::job_service_client::JobServiceClient;
use mms_proto::scheduler::v1::{CreateJobRequest, Job, JobSpec, JobState, StartJobRequest};
use mms_proto::{ApiError, ErrorReason};
use mms_tests::gate::Gate;
use mms_tests::outsider::Outsider;
use mms_tests::parts::Parts;
use mms_tests::sandbox::Sandbox;
use mms_tests::suite::{PATIENCE, Suite, everything};
use serde_json::json;

/// The job, as soon as it says what it waits for.
async fn waiting(suite: &Suite, job: &str) -> anyhow::Result<Job> {
    let waits = |now: &Job| {
        let waits = now.waiting_for.is_some();
        anyhow::ensure!(waits || now.state() == JobState::Planning, "{now:?}");
        Ok(waits)
    };
    suite.once(job, waits).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_far_end_that_is_away_is_waited_for_and_blocks_no_table() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let root = folder.path().join("delta-root");
    let parts = Parts::create(&root, 2)?;
    let sandbox = Sandbox::start(folder.path(), &root)?;
    let (workspace, project) = (Gate::start().await?, Gate::start().await?);
    workspace.lead_to(&sandbox.told("/workspace/url"))?;
    project.lead_to(&sandbox.told("/project/endpoint"))?;
    let suite = Suite::up(folder.path()).await?;
    let mut request = sandbox.data_source("lake");
    request["data_source"]["databricks"]["workspace_url"] = json!(workspace.url);
    request["data_source"]["max_compute"]["endpoint"] = json!(format!("{}/api", project.url));
    let source = Box::pin(suite.source(&request)).await?;
    let scan = suite.begin_scan(&source).await?;
    suite.scanned(&scan).await?;
    for (gate, name) in [(&project, "target project"), (&workspace, "workspace")] {
        gate.shut();
        let job = suite.begin_job(&source, JobSpec { force: true, ..everything() }).await?;
        let reason = waiting(&suite, &job).await?.waiting_for.unwrap_or_default();
        anyhow::ensure!(reason.reason() == ErrorReason::Unavailable && reason.message.contains(name), "{reason:?}");
        gate.open();
        suite.done(&job).await?;
        let tables = suite.job_tables(&job).await?;
        anyhow::ensure!(tables.len() == 1 && tables[0].target_rows == Some(parts.rows() as i64), "{tables:?}");
    }
    Ok(())
}

/// The error of a service that cannot reach another one names that one and its URL, with the reason that the contract
/// states.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_does_not_reach_another_names_it_and_its_url() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let root = folder.path().join("delta-root");
    std::fs::create_dir(&root)?;
    let sandbox = Sandbox::start(folder.path(), &root)?;
    let mut suite = Suite::processes(folder.path(), 30).await?;
    let source = Box::pin(suite.source(&sandbox.data_source("lake"))).await?;
    let registry = suite.endpoint("registry");
    suite.kill("registry", false)?;
    let job = Job { spec: Some(everything()), ..Job::default() };
    let request = CreateJobRequest { parent: source, job: Some(job), ..CreateJobRequest::default() };
    let refused = JobServiceClient::new(suite.channel("scheduler")?).create_job(request).await;
    let error = ApiError::from_status(&refused.expect_err("nobody says that the source is there"));
    let told = format!("the scheduler cannot reach the registry at {registry}: Connection refused");
    anyhow::ensure!(error.message.starts_with(&told), "{error:?}");
    let service = error.metadata.get("service").map(String::as_str);
    anyhow::ensure!((error.reason, service) == (ErrorReason::Unavailable, Some("registry")), "{error:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_stopped_by_force_stops_its_jobs_and_their_transfers() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let root = folder.path().join("delta-root");
    let parts = Parts::create(&root, 60)?;
    let sandbox = Sandbox::start(folder.path(), &root)?;
    let project = Gate::start().await?;
    project.lead_to(&sandbox.told("/project/endpoint"))?;
    let suite = Suite::processes(folder.path(), 30).await?;
    let mut request = sandbox.data_source("lake");
    request["data_source"]["max_compute"]["endpoint"] = json!(format!("{}/api", project.url));
    let source = Box::pin(suite.source(&request)).await?;
    let scan = suite.begin_scan(&source).await?;
    suite.scanned(&scan).await?;
    let job = suite.begin_job(&source, JobSpec { max_partitions_per_task: 1, ..everything() }).await?;
    suite.until(&job, JobState::Running).await?;
    project.shut();
    let mut registry = DataSourceServiceClient::new(suite.channel("registry")?);
    let stop = |force| registry::StopDataSourceRequest { name: source.clone(), force };
    let refused = registry.stop_data_source(stop(false)).await;
    anyhow::ensure!(refused.is_err(), "the job uses it");
    registry.stop_data_source(stop(true)).await?;
    let stopped = suite.until(&job, JobState::Stopped).await?;
    let reason = stopped.reason.unwrap_or_default();
    anyhow::ensure!(reason.reason() == ErrorReason::SourceNotStarted, "{reason:?}");
    let patience = Instant::now() + PATIENCE;
    // Transfers that have ended are still listed.
    while let Some((_, runs)) = suite.transfers().await.into_iter().find(|(_, transfer)| transfer.end_time.is_none()) {
        anyhow::ensure!(Instant::now() < patience, "{runs:?}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    project.open();
    let start = registry::StartDataSourceRequest { name: source.clone(), ..Default::default() };
    registry.start_data_source(start).await?;
    let mut jobs = JobServiceClient::new(suite.channel("scheduler")?);
    jobs.start_job(StartJobRequest { name: job.clone(), ..StartJobRequest::default() }).await?;
    let done = suite.done(&job).await?;
    anyhow::ensure!(done.reason.is_none(), "{done:?}");
    let ids = Outsider::at(&sandbox)?.ids("s", "parts").await?;
    anyhow::ensure!(ids == (0..parts.rows() as i64).collect::<Vec<_>>(), "{} rows", ids.len());

    // A job that has ended releases its source at once, so that it can be stopped without force.
    let patience = Instant::now() + std::time::Duration::from_secs(5);
    while let Err(refused) = registry.stop_data_source(stop(false)).await {
        anyhow::ensure!(Instant::now() < patience, "{refused}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    Ok(())
}
