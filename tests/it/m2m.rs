//! A source that is reached only as an OAuth client, with tokens so short-lived that a job needs several: its tables
//! arrive as usual, and nothing that is written shows the secret.

use mms_tests::sandbox::Sandbox;
use mms_tests::suite::{Suite, everything};
use mms_tests::tables;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_job_runs_as_an_oauth_client() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let moved = tables::own(&folder.path().join("own"))?;
    let sandbox = Sandbox::start_with(folder.path(), &moved.delta_root, &["--token-life", "1"])?;
    let secret = sandbox.told("/workspace/client_secret");
    std::fs::create_dir_all(folder.path().join("secrets"))?;
    let file = folder.path().join("secrets/client");
    std::fs::write(&file, &secret)?;
    let mut request = sandbox.data_source("lake");
    let databricks = request["data_source"]["databricks"].as_object_mut();
    let databricks = databricks.ok_or_else(|| anyhow::anyhow!("a source has a workspace"))?;
    databricks.remove("access_token");
    databricks.insert(
        "client_credentials".to_owned(),
        json!({ "client_id": sandbox.told("/workspace/client_id"), "client_secret": format!("file:{}", file.display()) }),
    );
    let suite = Suite::processes(folder.path(), 30).await?;
    let source = Box::pin(suite.source(&request)).await?;
    let scan = suite.scanned(&suite.begin_scan(&source).await?).await?;
    anyhow::ensure!(scan.progress.is_some_and(|progress| progress.tables_failed == 0), "{scan:?}");
    let job = suite.begin_job(&source, everything()).await?;
    suite.done(&job).await?;
    let logs = suite.logs();
    assert!(!secret.is_empty() && !logs.contains(&secret), "{logs}");
    moved.compare(&sandbox.project())
}
