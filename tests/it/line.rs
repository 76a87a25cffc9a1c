//! The whole migration, end to end: every table arrives, every cell is what Spark reads, and the catalog knows which
//! version is at the target, whether the suite runs as one process or as four.

use std::path::Path;
use std::time::{Duration, Instant};

use mms_proto::types::v1::MigrationState;
use mms_tests::calls::Catalogued;
use mms_tests::suite::{PATIENCE, Suite, everything};
use mms_tests::tables::Tables;
use mms_tests::{sandbox::Sandbox, tables};

/// Whether everything is marked as done, from partitions up to schemas.
fn rolled_up(found: &Catalogued) -> bool {
    found.schemas.iter().all(|schema| schema.state() == MigrationState::Done)
        && found.tables.iter().all(|table| table.state() == MigrationState::Done)
        && found.partitions.iter().all(|partition| partition.state() == MigrationState::Done)
}

async fn migrate(suite: &Suite, sandbox: &Sandbox, count: usize) -> anyhow::Result<()> {
    let source = Box::pin(suite.source(&sandbox.data_source("lake"))).await?;
    let scan = suite.begin_scan(&source).await?;
    let scan = suite.scanned(&scan).await?;
    anyhow::ensure!(scan.progress.is_some_and(|p| p.tables_failed == 0), "{scan:?}");
    let job = suite.begin_job(&source, everything()).await?;
    let job = suite.done(&job).await?;
    for table in suite.job_tables(&job.name).await? {
        anyhow::ensure!(table.source_rows.is_none() || table.source_rows == table.target_rows, "{table:?}");
    }
    // The scheduler reports to the catalog after the job has ended.
    let until = Instant::now() + PATIENCE;
    let mut found = suite.catalogued(&source).await?;
    while !rolled_up(&found) {
        anyhow::ensure!(Instant::now() < until, "the catalog does not hear of it: {found:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
        found = suite.catalogued(&source).await?;
    }
    assert_eq!(found.tables.len(), count);
    assert_eq!(found.schemas.iter().filter_map(|schema| schema.tables).map(|t| t.done).sum::<i64>(), count as i64);
    for table in &found.tables {
        assert!(table.version.is_some() && table.migrated_version == table.version && !table.changed, "{table:?}");
    }
    assert!(!found.partitions.is_empty());
    for partition in &found.partitions {
        assert!(partition.migrated_version.is_some() && !partition.changed, "{partition:?}");
    }
    Ok(())
}

async fn line(suite: Suite, folder: &Path, moved: Tables) -> anyhow::Result<()> {
    let mut sandbox = Sandbox::start(folder, &moved.delta_root)?;
    Box::pin(migrate(&suite, &sandbox, moved.cases.len())).await?;
    // The comparison must not depend on the sandbox's memory: the restarted one has only what is on its disk.
    sandbox.kill()?;
    sandbox.restart()?;
    moved.compare(&sandbox.project())
}

#[tokio::test(flavor = "multi_thread")]
async fn real_tables_through_one_process() -> anyhow::Result<()> {
    let Some(moved) = tables::real()? else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    Box::pin(line(Suite::up(folder.path()).await?, folder.path(), moved)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn real_tables_through_four_processes() -> anyhow::Result<()> {
    let Some(moved) = tables::real()? else { return Ok(()) };
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
