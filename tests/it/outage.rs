//! An end that does not answer while a job is planned: the job says what it waits for, blocks no table, and goes on by itself
//! when the end is back.

use std::time::Instant;

use mms_proto::ErrorReason;
use mms_proto::scheduler::v1::{Job, JobSpec, JobState};
use mms_tests::gate::Gate;
use mms_tests::parts::Parts;
use mms_tests::sandbox::Sandbox;
use mms_tests::suite::{PATIENCE, Suite, everything};
use serde_json::json;

/// The job once it says what it waits for.
async fn waiting(suite: &Suite, job: &str) -> anyhow::Result<Job> {
    let until = Instant::now() + PATIENCE;
    loop {
        let now = suite.job(job).await?;
        if now.waiting_for.is_some() {
            return Ok(now);
        }
        anyhow::ensure!(now.state() == JobState::Planning && Instant::now() < until, "{now:?}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
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
