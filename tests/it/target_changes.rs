//! The target is changed by somebody else: tables and partitions are dropped and created anew, during jobs and between
//! them. No job is DONE while rows are missing, and nobody else's table is written to.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use mms_proto::scheduler::v1 as pb;
use mms_proto::scheduler::v1::job_service_client::JobServiceClient;
use mms_proto::types::v1::TargetPolicy;
use mms_proto::{ApiError, ErrorReason, FindingReason};
use mms_tests::outsider::Outsider;
use mms_tests::parts::{Parts, ROWS};
use mms_tests::sandbox::Sandbox;
use mms_tests::suite::{PATIENCE, Suite, everything};
use pb::{DecisionReason, JobSpec, JobState, TableDecision};

/// Partitions of the table, each moved by a task of its own, and the rows of all.
const PARTITIONS: usize = 30;
const ALL: u64 = (PARTITIONS * ROWS) as u64;

struct Ground {
    suite: Suite,
    outsider: Outsider,
    source: String,
    table: Parts,
    _sandbox: Sandbox,
}

/// A suite and a source with one table of many partitions.
async fn ground(folder: &Path) -> anyhow::Result<Ground> {
    let root = folder.join("delta-root");
    let table = Parts::create(&root, PARTITIONS)?;
    let suite = Suite::up(folder).await?;
    let sandbox = Sandbox::start(folder, &root)?;
    let source = Box::pin(suite.source(&sandbox.data_source("lake"))).await?;
    let scan = suite.begin_scan(&source).await?;
    suite.scanned(&scan).await?;
    Ok(Ground { suite, outsider: Outsider::at(&sandbox)?, source, table, _sandbox: sandbox })
}

/// One partition per task and one task at a time, so that the job takes a while in small steps.
fn slow() -> JobSpec {
    JobSpec { max_partitions_per_task: 1, max_concurrent_tasks: 1, force: true, ..everything() }
}

impl Ground {
    /// Waits until so many tasks of a job are done; fails if too few are left for the test.
    async fn at_work(&self, job: &str, done: i32) -> anyhow::Result<()> {
        let until = Instant::now() + PATIENCE;
        loop {
            let now = self.suite.job(job).await?;
            let progress = now.progress.unwrap_or_default();
            if progress.tasks_done >= done {
                let left = progress.tasks_total - progress.tasks_done;
                anyhow::ensure!(now.state() == JobState::Running && left > 2, "it went too fast: {progress:?}");
                return Ok(());
            }
            anyhow::ensure!(Instant::now() < until, "the job does not go on: {now:?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn drop_table(&self) -> anyhow::Result<()> {
        self.outsider.run(&format!("DROP TABLE {};", self.outsider.table("s", "parts"))).await?;
        Ok(())
    }

    async fn whole(&self) -> anyhow::Result<()> {
        let partitions = self.outsider.partitions("s", "parts").await?;
        anyhow::ensure!(partitions.len() == PARTITIONS, "{partitions:?}");
        let rows = self.outsider.count("s", "parts").await?;
        anyhow::ensure!(rows == ALL, "{rows} of {ALL} rows are there");
        Ok(())
    }

    /// Runs a job to its end; returns the decision about the table.
    async fn decided(&self, spec: JobSpec) -> anyhow::Result<(TableDecision, DecisionReason)> {
        let job = self.suite.begin_job(&self.source, spec).await?;
        self.suite.done(&job).await?;
        let table = self.suite.job_tables(&job).await?.pop().context("a table")?;
        Ok((table.decision(), table.decision_reason()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_dropped_while_it_is_written_arrives_whole() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let ground = ground(folder.path()).await?;
    let job = ground.suite.begin_job(&ground.source, slow()).await?;
    ground.at_work(&job, 3).await?;
    ground.drop_table().await?;
    ground.suite.done(&job).await?;
    ground.whole().await?;
    let tasks = ground.suite.tasks(&job).await?;
    anyhow::ensure!(tasks.iter().any(|task| task.attempt > 1), "somebody noticed: {tasks:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_is_dropped_after_its_task_is_found_missing_and_written_again() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let ground = ground(folder.path()).await?;
    let job = ground.suite.begin_job(&ground.source, slow()).await?;
    ground.at_work(&job, 3).await?;
    let done = ground.suite.tasks(&job).await?.into_iter().filter(|task| task.units_done > 0).collect::<Vec<_>>();
    let name = &done.first().context("a unit that is published")?.units[0].partition[0].value;
    ground
        .outsider
        .run(&format!("ALTER TABLE {} DROP PARTITION (`pt`='{name}');", ground.outsider.table("s", "parts")))
        .await?;
    let ended = ground.suite.done(&job).await?;
    ground.whole().await?;
    anyhow::ensure!(ended.reason.is_none(), "{ended:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn unchanged_is_said_only_of_what_nobody_touched() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let ground = ground(folder.path()).await?;
    let moved = (TableDecision::Move, DecisionReason::TargetChanged);
    let unchanged = (TableDecision::Unchanged, DecisionReason::AtTarget);
    let first = ground.decided(everything()).await?;
    anyhow::ensure!(first.0 == TableDecision::Move && first.1 != DecisionReason::TargetChanged, "{first:?}");
    let again = ground.decided(everything()).await?;
    anyhow::ensure!(again == unchanged, "nobody touched it after the first job: {again:?}");
    ground.drop_table().await?;
    anyhow::ensure!(ground.decided(everything()).await? == moved, "the table is gone");
    ground.whole().await?;
    let again = ground.decided(everything()).await?;
    anyhow::ensure!(again == unchanged, "nobody touched what was written anew: {again:?}");
    let table = ground.outsider.table("s", "parts");
    ground.outsider.run(&format!("ALTER TABLE {table} DROP PARTITION (`pt`='p00');")).await?;
    anyhow::ensure!(ground.decided(everything()).await? == moved, "a partition is gone");
    ground.whole().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_of_somebody_else_is_left_as_it_is() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let ground = ground(folder.path()).await?;
    let job = ground.suite.begin_job(&ground.source, slow()).await?;
    ground.at_work(&job, 3).await?;
    let table = ground.outsider.table("s", "parts");
    ground.drop_table().await?;
    // It has our columns, and its partitions get the names of ours.
    let make = format!("CREATE TABLE {table} (`id` BIGINT) PARTITIONED BY (`pt` STRING);");
    if ground.outsider.run(&make).await.is_err() {
        // The suite was faster and has created its own table again, so it is dropped once more.
        ground.drop_table().await?;
        ground.outsider.run(&make).await?;
    }
    let ended = ground.suite.done(&job).await;
    anyhow::ensure!(ended.is_err(), "{ended:?}");
    let tables = ground.suite.job_tables(&job).await?;
    let reasons: Vec<_> =
        tables.iter().filter_map(|table| table.reason.clone()).map(|reason| reason.reason()).collect();
    anyhow::ensure!(reasons == [ErrorReason::TargetConflict], "{tables:?}");
    let rows = ground.outsider.count("s", "parts").await?;
    anyhow::ensure!(rows == 0, "{rows} rows are in a table that is not ours");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_that_no_plan_has_are_told_and_replaced_ones_go() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let ground = ground(folder.path()).await?;
    let forced = JobSpec { force: true, ..everything() };
    ground.decided(forced.clone()).await?;
    let before = ground.outsider.info("s", "parts").await?.context("a table")?;
    let table = ground.outsider.table("s", "parts");
    ground.outsider.run(&format!("ALTER TABLE {table} ADD PARTITION (`pt`='zz');")).await?;
    let job = ground.suite.begin_job(&ground.source, forced.clone()).await?;
    ground.suite.done(&job).await?;
    let found = ground.suite.job_tables(&job).await?.pop().context("a table")?.findings;
    let told = found.iter().find(|found| found.reason() == FindingReason::TargetPartitionSurplus);
    anyhow::ensure!(told.is_some_and(|told| told.message.contains("zz")), "{found:?}");
    let partitions = ground.outsider.partitions("s", "parts").await?;
    anyhow::ensure!(partitions.contains(&"pt=zz".to_owned()), "nobody asked to drop it: {partitions:?}");
    ground.decided(JobSpec { target_policy: TargetPolicy::Replace as i32, ..forced }).await?;
    ground.whole().await?;
    let after = ground.outsider.info("s", "parts").await?.context("a table")?;
    anyhow::ensure!(before.id == after.id, "a table that is as planned is replaced in its place");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_job_does_not_write_over_a_newer_version() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut ground = ground(folder.path()).await?;
    let old = ground.suite.begin_job(&ground.source, slow()).await?;
    ground.at_work(&old, 3).await?;
    let mut client = JobServiceClient::new(ground.suite.channel("scheduler")?);
    client.stop_job(pb::StopJobRequest { name: old.clone() }).await?;
    let until = Instant::now() + PATIENCE;
    while ground.suite.job(&old).await?.state() != JobState::Stopped {
        anyhow::ensure!(Instant::now() < until, "it does not stop");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    ground.table.append(0..1)?;
    ground.decided(JobSpec { force: true, ..everything() }).await?;
    let start = pb::StartJobRequest { name: old.clone(), ..pb::StartJobRequest::default() };
    let refused = client.start_job(start).await.err().context("it is older")?;
    let told = ApiError::from_status(&refused);
    anyhow::ensure!(told.reason == ErrorReason::TargetNewer, "{told:?}");
    anyhow::ensure!(ground.suite.job(&old).await?.state() == JobState::Stopped);
    let rows = ground.outsider.count("s", "parts").await?;
    anyhow::ensure!(rows == ALL + ROWS as u64, "{rows}");
    Ok(())
}
