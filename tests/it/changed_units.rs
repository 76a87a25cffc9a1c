//! A table written by deltalake that was moved and has changed since: the next job moves the units that changed and no others,
//! and the target then equals the source at its version. Partitions dropped at the source are reported, and dropped at the target
//! only if the policy says so.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use mms_proto::FindingReason;
use mms_proto::scheduler::v1 as pb;
use mms_proto::scheduler::v1::lineage_service_client::LineageServiceClient;
use mms_proto::types::v1::MigrationState;
use mms_tests::outsider::Outsider;
use mms_tests::peers;
use mms_tests::sandbox::Sandbox;
use mms_tests::suite::{Suite, everything};
use pb::{DroppedPolicy, IncrementalMode, JobSpec, TableDecision};
use tokio::time::Instant;

struct Ground {
    suite: Suite,
    source: String,
    outsider: Outsider,
    python: PathBuf,
    table: PathBuf,
    _sandbox: Sandbox,
}

impl Ground {
    /// Runs a step of the script that writes the source table.
    fn source(&self, step: &str) -> anyhow::Result<()> {
        write(&self.python, &self.table, step)
    }

    /// Runs a job to its end; returns its name and its only table.
    async fn moved(&self, spec: JobSpec) -> anyhow::Result<(String, pb::JobTable)> {
        let job = self.suite.begin_job(&self.source, spec).await?;
        let table = self.done(&job).await?;
        Ok((job, table))
    }

    /// Waits until a job has ended and the catalog has been told; returns the job's only table.
    async fn done(&self, job: &str) -> anyhow::Result<pb::JobTable> {
        self.suite.done(job).await?;
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            let state = self.suite.catalogued(&self.source).await?.tables.first().context("the table")?.state();
            if state == MigrationState::Done {
                break;
            }
            anyhow::ensure!(Instant::now() < until, "the catalog still says {state:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.suite.job_tables(job).await?.pop().context("a table")
    }

    async fn ids(&self) -> anyhow::Result<Vec<i64>> {
        self.outsider.ids("s", "t").await
    }

    /// The job that wrote each partition last.
    async fn writers(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let mut client = LineageServiceClient::new(self.suite.channel("scheduler")?);
        let request = pb::ListLineageRequest { parent: self.source.clone(), ..Default::default() };
        let entries = client.list_lineage(request).await?.into_inner().entries;
        let writer = |entry: pb::LineageEntry| {
            let job = entry.task.rsplit_once("/tasks/").map(|(job, _)| job.to_owned());
            Some((entry.partition.first()?.value.clone(), job?))
        };
        entries.into_iter().map(|entry| writer(entry).context("a partition of a task")).collect()
    }
}

fn write(python: &Path, table: &Path, step: &str) -> anyhow::Result<()> {
    peers::run(Command::new(python).arg(peers::script("changed_units.py")).arg(table).arg(step)).map(drop)
}

fn changed() -> JobSpec {
    JobSpec { incremental: IncrementalMode::ChangedUnits as i32, ..everything() }
}

fn told(table: &pb::JobTable, reason: FindingReason) -> anyhow::Result<String> {
    let found = table.findings.iter().find(|found| found.reason() == reason);
    Ok(found.with_context(|| format!("{reason:?} in {table:?}"))?.message.clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_is_moved_and_nothing_else() -> anyhow::Result<()> {
    let Some(python) = peers::python() else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let root = folder.path().join("delta-root");
    let table = root.join("s/t");
    std::fs::create_dir_all(table.parent().context("a folder")?)?;
    write(&python, &table, "make")?;
    let suite = Suite::processes(folder.path(), 5).await?;
    let sandbox = Sandbox::start(folder.path(), &root)?;
    let source = Box::pin(suite.source(&sandbox.data_source("lake"))).await?;
    let scan = suite.begin_scan(&source).await?;
    suite.scanned(&scan).await?;
    let outsider = Outsider::at(&sandbox)?;
    let mut ground = Ground { suite, source, outsider, python, table, _sandbox: sandbox };
    let (first, moved) = ground.moved(changed()).await?;
    anyhow::ensure!(moved.findings.is_empty(), "it was never moved: {moved:?}");
    anyhow::ensure!(ground.ids().await? == [10, 20, 21, 30, 40, 41, 60]);

    // The scheduler is killed while the second job runs, and is started again.
    ground.source("change")?;
    let second = ground.suite.begin_job(&ground.source, changed()).await?;
    ground.suite.kill("scheduler", false)?;
    ground.suite.restart("scheduler").await?;
    let moved = ground.done(&second).await?;
    let text = told(&moved, FindingReason::UnitsAtTarget)?;
    anyhow::ensure!(text.contains("2 of 5 units") && text.contains("p=1, p=2, p=5"), "{text}");
    let text = told(&moved, FindingReason::SourcePartitionsGone)?;
    anyhow::ensure!(text.contains("1 partitions") && text.contains("p=3"), "{text}");
    told(&moved, FindingReason::TargetPartitionSurplus)?;
    anyhow::ensure!((moved.source_rows, moved.target_rows, moved.rows_done) == (Some(7), Some(7), 4), "{moved:?}");
    let writers = |jobs: [&String; 6]| -> BTreeMap<String, String> {
        ["1", "2", "3", "4", "5", "6"].iter().zip(jobs).map(|(part, job)| ((*part).to_owned(), job.clone())).collect()
    };
    let expected = writers([&second, &second, &first, &first, &second, &first]);
    anyhow::ensure!(ground.writers().await? == expected, "{:?}", ground.writers().await?);
    // A partition dropped at the source stays at the target, by policy KEEP.
    anyhow::ensure!(ground.ids().await? == [10, 11, 20, 30, 40, 41, 50, 60]);

    // It is dropped by policy DROP. Nothing else happens to a table whose version is at the target already.
    let drops = JobSpec { dropped_policy: DroppedPolicy::Drop as i32, ..changed() };
    let (_, moved) = ground.moved(drops.clone()).await?;
    anyhow::ensure!(moved.decision() == TableDecision::Move && moved.rows_done == 0, "{moved:?}");
    anyhow::ensure!(ground.ids().await? == [10, 11, 20, 40, 41, 50, 60]);
    let mut expected = expected;
    expected.remove("3");
    anyhow::ensure!(ground.writers().await? == expected, "{:?}", ground.writers().await?);
    // Until a scan has seen that the source partition is gone, the catalog does not call the table UNCHANGED; nothing is moved.
    let (_, moved) = ground.moved(drops).await?;
    anyhow::ensure!(moved.rows_done == 0 && moved.finding_counts.is_some_and(|found| found.notes == 1), "{moved:?}");
    anyhow::ensure!(ground.writers().await? == expected, "{:?}", ground.writers().await?);

    // A target that somebody else changed is written as a whole, and so is a table whose log does not have the changes any more.
    let name = ground.outsider.table("s", "t");
    ground.outsider.run(&format!("ALTER TABLE {name} DROP PARTITION (p='6');")).await?;
    ground.source("append")?;
    let (third, moved) = ground.moved(changed()).await?;
    let text = told(&moved, FindingReason::ChangedUnitsWhole)?;
    anyhow::ensure!(text.contains("target was changed"), "{text}");
    anyhow::ensure!(ground.ids().await? == [10, 11, 12, 20, 40, 41, 50, 60]);
    ground.source("expire")?;
    let (fourth, moved) = ground.moved(changed()).await?;
    anyhow::ensure!(told(&moved, FindingReason::UnitsAtTarget)?.contains("4 of 5 units"), "its newest commit is there");
    anyhow::ensure!(ground.ids().await? == [10, 11, 12, 20, 40, 41, 50, 51, 60]);
    let by: Vec<String> = ground.writers().await?.into_values().collect();
    anyhow::ensure!(by == [&third, &third, &third, &fourth, &third].map(Clone::clone), "{by:?}");
    ground.source("append")?;
    ground.source("expire")?;
    let (_, moved) = ground.moved(changed()).await?;
    let text = told(&moved, FindingReason::ChangedUnitsWhole)?;
    anyhow::ensure!(text.contains("no longer in the log"), "{text}");
    anyhow::ensure!(ground.ids().await? == [10, 11, 12, 12, 20, 40, 41, 50, 51, 51, 60]);
    Ok(())
}
