//! Databricks' own SQL connector reads every sample table from a sandbox workspace, inline and through links to files.

use std::process::Command;

use mms_sandbox::workspace::sql::SqlSettings;
use mms_sandbox::workspace::{Workspace, WorkspaceConfig};
use mms_tests::peers;

#[tokio::test(flavor = "multi_thread")]
async fn the_connector_reads_rows_of_every_type() -> anyhow::Result<()> {
    let Some(python) = peers::python_databricks() else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let tables = mms_sandbox::samples::types(folder.path(), 1_700_000_000_000)?;
    let workspace = Workspace::start(WorkspaceConfig {
        page_size: 50,
        ..WorkspaceConfig::new(folder.path().join("delta-root"), "main", "dapi-test")
    })
    .await?;
    // From here on, clients that accept links to files get them.
    workspace.set_sql(SqlSettings { links_from: 0, batch_rows: 100, ..SqlSettings::default() });
    let mut command = Command::new(python);
    command.arg(peers::script("databricks_sql.py"));
    command.args([workspace.url(), workspace.http_path()]).args(["dapi-test", "main", "samples"]);
    command.arg(folder.path().join("expected"));
    let output = tokio::task::spawn_blocking(move || command.output()).await??;
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let rows: u64 = tables.iter().map(|table| table.rows).sum();
    let expected = format!("ok {} tables, {} rows", tables.len(), 3 * rows);
    assert!(output.status.success() && text.contains(&expected), "{text}");
    assert!(workspace.sql_files() > 0, "links were followed");
    workspace.shutdown().await;
    Ok(())
}
