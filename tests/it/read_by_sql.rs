//! Rows that are read by SQL, on a cluster or a warehouse: every table arrives cell by cell as if read from its files, even when
//! a worker dies while it reads. If SQL returns fewer rows than the pinned version has, nothing of them is published.

use std::path::Path;
use std::time::Duration;

use mms_proto::ErrorReason;
use mms_proto::scheduler::v1::{JobSpec, JobState, TablesScope, job_spec::Scope};
use mms_proto::transfer::v1::TransferStep;
use mms_proto::types::v1::{RateLimit, SourceTable};
use mms_sandbox::workspace::sql::SqlSettings;
use mms_sandbox::workspace::{CLUSTER_ID, WAREHOUSE_ID, Workspace, WorkspaceConfig};
use mms_tests::outsider::Outsider;
use mms_tests::sandbox::Sandbox;
use mms_tests::suite::{PATIENCE, Suite, everything};
use mms_tests::tables::{self, Tables};
use serde_json::{Value, json};
use tokio::time::Instant;

/// Sets a request for the sandbox's source to be read by SQL.
fn by_sql(mut request: Value, field: &str, value: &str) -> Value {
    request["data_source"]["databricks"]["read_path"] = json!("READ_PATH_JDBC");
    request["data_source"]["databricks"][field] = json!(value);
    request
}

/// The JDBC URL of a warehouse of a workspace.
fn jdbc_url(workspace: &str, warehouse: &str) -> String {
    let host = workspace.trim_start_matches("http://");
    format!("jdbc:databricks://{host}/default;transportMode=http;httpPath=/sql/1.0/warehouses/{warehouse}")
}

async fn scanned(suite: &Suite, source: &str) -> anyhow::Result<()> {
    let scan = suite.scanned(&suite.begin_scan(source).await?).await?;
    anyhow::ensure!(scan.progress.is_some_and(|progress| progress.tables_failed == 0), "{scan:?}");
    Ok(())
}

async fn all_logs(suite: &Suite, job: &str) -> anyhow::Result<String> {
    let mut logs = String::new();
    for task in suite.tasks(job).await? {
        for line in suite.task_logs(&task.name).await? {
            logs += &format!("{}\n", line.message);
        }
    }
    Ok(logs)
}

async fn line(suite: Suite, folder: &Path, moved: Tables, warehouse: bool) -> anyhow::Result<()> {
    let sandbox = Sandbox::start(folder, &moved.delta_root)?;
    let request = match warehouse {
        true => {
            by_sql(sandbox.data_source("lake"), "jdbc_url", &jdbc_url(&sandbox.told("/workspace/url"), WAREHOUSE_ID))
        }
        false => by_sql(sandbox.data_source("lake"), "cluster_id", CLUSTER_ID),
    };
    let source = Box::pin(suite.source(&request)).await?;
    scanned(&suite, &source).await?;
    let job = suite.begin_job(&source, everything()).await?;
    suite.done(&job).await?;
    let logs = all_logs(&suite, &job).await?;
    let place = if warehouse { "sql/1.0/warehouses/" } else { "sql/protocolv1/o/" };
    anyhow::ensure!(logs.contains(&format!("reading by SQL (JDBC) on {place}")), "{logs}");
    anyhow::ensure!(logs.contains("with an access token") && !logs.contains("reading from storage"), "{logs}");
    moved.compare(&sandbox.project())
}

#[tokio::test(flavor = "multi_thread")]
async fn real_tables_arrive_by_a_cluster() -> anyhow::Result<()> {
    let Some(moved) = tables::real()? else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    Box::pin(line(Suite::up(folder.path()).await?, folder.path(), moved, false)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_tables_arrive_by_a_warehouse() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let moved = tables::own(folder.path())?;
    Box::pin(line(Suite::processes(folder.path(), 30).await?, folder.path(), moved, true)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_dies_while_it_reads_loses_and_doubles_nothing() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (moved, large) = tables::own_and_large(folder.path())?;
    let sandbox = Sandbox::start(folder.path(), &moved.delta_root)?;
    let mut suite = Suite::processes(folder.path(), 2).await?;
    let source = Box::pin(suite.source(&by_sql(sandbox.data_source("lake"), "cluster_id", CLUSTER_ID))).await?;
    scanned(&suite, &source).await?;
    // Slow enough for the worker to be stopped while the task runs.
    let slow = RateLimit { rows_per_second: 100_000, ..RateLimit::default() };
    let job = suite.begin_job(&source, JobSpec { rate_limit: Some(slow), ..everything() }).await?;
    let until = Instant::now() + PATIENCE;
    let task = loop {
        let reads = suite.transfers().await.into_iter().map(|(_, transfer)| transfer).find(|transfer| {
            transfer.table.ends_with(large) && transfer.step() == TransferStep::Data && transfer.rows_read > 0
        });
        if let Some(transfer) = reads {
            break transfer.task;
        }
        anyhow::ensure!(Instant::now() < until, "nothing of {large} is read\n{}", suite.logs());
        tokio::time::sleep(Duration::from_millis(2)).await;
    };
    suite.kill("transfer", true)?;
    suite.restart("transfer").await?;
    suite.done(&job).await?;
    anyhow::ensure!(suite.task(&task).await?.attempt > 1, "another attempt read it from the beginning");
    moved.compare(&sandbox.project())
}

/// A workspace in this process, whose faults can be set, over the tables of a sandbox that has the project.
async fn workspace(moved: &Tables) -> anyhow::Result<Workspace> {
    Ok(Workspace::start(WorkspaceConfig::new(&moved.delta_root, "main", "dapi-faulty")).await?)
}

fn at(workspace: &Workspace, mut request: Value) -> Value {
    let databricks = &mut request["data_source"]["databricks"];
    databricks["workspace_url"] = json!(workspace.url());
    databricks["catalog"] = json!(workspace.catalog());
    databricks["access_token"] = json!({ "token": "dapi-faulty" });
    request
}

/// Waits until a job fails, and returns the reason and message of its first failed task.
async fn failure(suite: &Suite, job: &str) -> anyhow::Result<(ErrorReason, String)> {
    suite.until(job, JobState::Failed).await?;
    let tasks = suite.tasks(job).await?;
    let reason = tasks.iter().find_map(|task| task.reason.clone());
    let reason = reason.ok_or_else(|| anyhow::anyhow!("no task says why: {tasks:?}"))?;
    Ok((reason.reason(), reason.message))
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_missing_without_a_word_are_never_published() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let moved = tables::own(folder.path())?;
    let sandbox = Sandbox::start(folder.path(), &moved.delta_root)?;
    let faulty = workspace(&moved).await?;
    let suite = Suite::processes(folder.path(), 30).await?;
    let request = at(&faulty, by_sql(sandbox.data_source("lake"), "cluster_id", CLUSTER_ID));
    let source = Box::pin(suite.source(&request)).await?;
    scanned(&suite, &source).await?;
    let table = SourceTable { schema: "samples".to_owned(), table: "every_type".to_owned() };
    let scope = Scope::Tables(TablesScope { tables: vec![table] });
    let one = JobSpec { scope: Some(scope), max_attempts: 1, ..everything() };
    faulty.set_sql(SqlSettings { rows_unsaid: 1, ..SqlSettings::default() });
    let job = suite.begin_job(&source, one).await?;
    let (reason, message) = failure(&suite, &job).await?;
    anyhow::ensure!(reason == ErrorReason::SourceChanged, "{reason:?}: {message}");
    anyhow::ensure!(message.contains("rows came of") && message.contains("the log has"), "{message}");
    let outsider = Outsider::at(&sandbox)?;
    anyhow::ensure!(outsider.count("samples", "every_type").await? == 0, "nothing of it is at the target");
    // Rows missing against the server's own count are found at once, whatever the log has.
    faulty.set_sql(SqlSettings { rows_lost: 1, ..SqlSettings::default() });
    let job = suite.begin_job(&source, JobSpec { max_attempts: 1, ..everything() }).await?;
    let (reason, message) = failure(&suite, &job).await?;
    anyhow::ensure!(
        reason == ErrorReason::SourceFailed && message.contains("the server said"),
        "{reason:?}: {message}"
    );
    // The migration succeeds once the server behaves correctly.
    faulty.set_sql(SqlSettings { batch_rows: 7, links_from: 0, ended_links: 2, ..SqlSettings::default() });
    let job = suite.begin_job(&source, everything()).await?;
    suite.done(&job).await?;
    moved.compare(&sandbox.project())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warehouse_that_is_not_there_is_named() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let moved = tables::own(folder.path())?;
    let sandbox = Sandbox::start(folder.path(), &moved.delta_root)?;
    let suite = Suite::processes(folder.path(), 30).await?;
    let url = jdbc_url(&sandbox.told("/workspace/url"), "0123456789abcdef");
    let source = Box::pin(suite.source(&by_sql(sandbox.data_source("lake"), "jdbc_url", &url))).await?;
    scanned(&suite, &source).await?;
    let job = suite.begin_job(&source, JobSpec { max_attempts: 1, ..everything() }).await?;
    let (reason, message) = failure(&suite, &job).await?;
    anyhow::ensure!(
        reason == ErrorReason::SourceFailed && message.contains("0123456789abcdef"),
        "{reason:?}: {message}"
    );
    Ok(())
}
