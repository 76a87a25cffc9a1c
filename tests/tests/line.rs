//! The line, end to end: every table arrives, cell by cell what Spark reads, whether the suite runs as one process or as
//! four.

use std::path::Path;

use mms_tests::suite::{Suite, everything};
use mms_tests::tables::Tables;
use mms_tests::{sandbox::Sandbox, tables};

async fn migrate(suite: &Suite, sandbox: &Sandbox) -> anyhow::Result<()> {
    let source = Box::pin(suite.source(&sandbox.data_source("lake"))).await?;
    let scan = suite.begin_scan(&source).await?;
    let scan = suite.scanned(&scan).await?;
    anyhow::ensure!(scan.progress.is_some_and(|p| p.tables_failed == 0), "{scan:?}");
    let job = suite.begin_job(&source, everything()).await?;
    let job = suite.done(&job).await?;
    for table in suite.job_tables(&job.name).await? {
        anyhow::ensure!(table.source_rows.is_none() || table.source_rows == table.target_rows, "{table:?}");
    }
    Ok(())
}

async fn line(suite: Suite, folder: &Path, moved: Tables) -> anyhow::Result<()> {
    let sandbox = Sandbox::start(folder, &moved.delta_root)?;
    Box::pin(migrate(&suite, &sandbox)).await?;
    moved.compare(&sandbox.project())
}

#[tokio::test(flavor = "multi_thread")]
async fn real_tables_through_one_process() -> anyhow::Result<()> {
    let Some(moved) = tables::real() else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    Box::pin(line(Suite::up(folder.path()).await?, folder.path(), moved)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn real_tables_through_four_processes() -> anyhow::Result<()> {
    let Some(moved) = tables::real() else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    Box::pin(line(Suite::processes(folder.path(), 30).await?, folder.path(), moved)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_tables_through_one_process() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let moved = tables::own(folder.path())?;
    Box::pin(line(Suite::up(folder.path()).await?, folder.path(), moved)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_tables_through_four_processes() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let moved = tables::own(folder.path())?;
    Box::pin(line(Suite::processes(folder.path(), 30).await?, folder.path(), moved)).await
}
