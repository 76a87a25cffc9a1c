//! Jobs that take only some partitions of a table, end to end: these arrive, the others stay at the target unchanged,
//! and neither the job's final check nor the catalog takes the part for the whole table.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use arrow::array::{ArrayRef, Date32Array, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use mms_proto::FindingReason;
use mms_proto::catalog::v1::Partition;
use mms_proto::scheduler::v1::job_spec::Scope;
use mms_proto::scheduler::v1::{DecisionReason, JobSpec, JobState, PartitionsScope, TableDecision};
use mms_proto::types::v1::{MigrationState, SourceTable, TableOptions};
use mms_sandbox::samples::{DeltaWriter, TableSpec};
use mms_tests::outsider::Outsider;
use mms_tests::sandbox::Sandbox;
use mms_tests::suite::{Suite, everything};

/// How long the scheduler may take to report to the catalog.
const PATIENCE: Duration = Duration::from_secs(30);
/// Days since 1970 of 2024-01-01.
const JANUARY: i32 = 19_723;

/// Rows with these ids, each on its day of January 2024.
fn rows(ids: &[(i64, i32)]) -> Result<RecordBatch, arrow::error::ArrowError> {
    let columns: [(&str, ArrayRef, bool); 2] = [
        ("id", Arc::new(Int64Array::from_iter_values(ids.iter().map(|(id, _)| *id))), true),
        ("day", Arc::new(Date32Array::from_iter_values(ids.iter().map(|(_, day)| JANUARY + day - 1))), true),
    ];
    RecordBatch::try_from_iter_with_nullable(columns)
}

fn filtered(filter: &str) -> JobSpec {
    let table = SourceTable { schema: "s".to_owned(), table: "Days".to_owned() };
    let options = TableOptions { table: Some(table), partition_filter: filter.to_owned(), ..TableOptions::default() };
    JobSpec { table_options: vec![options], ..everything() }
}

/// Waits until the catalog knows that a job has moved the second day.
async fn told_of(suite: &Suite, source: &str, job: &str) -> anyhow::Result<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        let found = suite.catalogued(source).await?.partitions;
        let told = |day: &Partition| day.task.starts_with(job) && day.state() == MigrationState::Done;
        if found.iter().any(|day| day.name.ends_with("day=2024-01-02") && told(day)) {
            return Ok(());
        }
        anyhow::ensure!(Instant::now() < until, "the catalog does not hear of it: {found:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn state(suite: &Suite, source: &str) -> anyhow::Result<MigrationState> {
    let found = suite.catalogued(source).await?;
    Ok(found.tables.first().context("the table")?.state())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_is_moved_and_nothing_else_is_touched_or_vouched_for() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let root = folder.path().join("delta-root");
    let columns = Schema::new(vec![Field::new("id", DataType::Int64, true), Field::new("day", DataType::Date32, true)]);
    let mut spec = TableSpec::new(Arc::new(columns), 1_700_000_000_000);
    spec.partition_columns = vec!["day".to_owned()];
    let mut table = DeltaWriter::create(&root.join("s/days"), spec)?;
    table.append([rows(&[(1, 1), (2, 2), (3, 3)])])?;
    let suite = Suite::up(folder.path()).await?;
    let sandbox = Sandbox::start(folder.path(), &root)?;
    let source = Box::pin(suite.source(&sandbox.data_source("lake"))).await?;
    let scan = suite.begin_scan(&source).await?;
    suite.scanned(&scan).await?;
    let outsider = Outsider::at(&sandbox)?;

    // The table is created with only the partitions that the job takes.
    let first = suite.begin_job(&source, filtered("day BETWEEN '2024-01-02' AND '2024-01-03'")).await?;
    suite.done(&first).await?;
    anyhow::ensure!(outsider.ids("s", "days").await? == [2, 3]);
    let told = &suite.job_tables(&first).await?[0];
    anyhow::ensure!((told.unit_count, told.source_rows, told.target_rows) == (2, Some(2), Some(2)), "{told:?}");
    let finding =
        told.findings.iter().find(|found| found.reason() == FindingReason::PartitionsChosen).context("told")?;
    anyhow::ensure!(
        finding.message.contains("2 of 3 partitions are taken: day=2024-01-02, day=2024-01-03"),
        "{finding:?}"
    );
    told_of(&suite, &source, &first).await?;
    anyhow::ensure!(state(&suite, &source).await? == MigrationState::PartDone, "the first day is not there");

    // The whole table, then a part of a newer version, while somebody drops a partition that the job does not take.
    let whole = suite.begin_job(&source, everything()).await?;
    suite.done(&whole).await?;
    told_of(&suite, &source, &whole).await?;
    anyhow::ensure!(outsider.ids("s", "days").await? == [1, 2, 3]);
    anyhow::ensure!(state(&suite, &source).await? == MigrationState::Done);
    outsider.run(&format!("ALTER TABLE {} DROP PARTITION (day='2024-01-01');", outsider.table("s", "days"))).await?;
    table.append([rows(&[(20, 2), (30, 3), (40, 4)])])?;
    let name = |day: u8| format!("{source}/schemas/s/tables/days/partitions/day=2024-01-0{day}");
    let scope = Scope::Partitions(PartitionsScope { partitions: vec![name(2)] });
    let part = suite.begin_job(&source, JobSpec { scope: Some(scope.clone()), ..JobSpec::default() }).await?;
    suite.done(&part).await?;
    anyhow::ensure!(outsider.ids("s", "days").await? == [2, 3, 20], "only the second day is new");
    let told = &suite.job_tables(&part).await?[0];
    anyhow::ensure!(
        told.findings.iter().all(|found| found.reason() != FindingReason::TargetPartitionSurplus),
        "what the job leaves is not beyond its plan: {told:?}"
    );
    told_of(&suite, &source, &part).await?;
    anyhow::ensure!(
        state(&suite, &source).await? == MigrationState::PartDone,
        "the fourth day, which no scan has seen"
    );

    // A job for the whole table checks all of it again, and moves what is missing.
    let again = suite.begin_job(&source, everything()).await?;
    suite.done(&again).await?;
    anyhow::ensure!(suite.job_tables(&again).await?[0].decision() == TableDecision::Move);
    anyhow::ensure!(outsider.ids("s", "days").await? == [1, 2, 3, 20, 30, 40]);

    // A filter that keeps nothing, or a partition that does not exist, fails the table with a reason.
    let gone = Scope::Partitions(PartitionsScope { partitions: vec![name(9)] });
    let gone = JobSpec { scope: Some(gone), ..JobSpec::default() };
    for (spec, reason) in [
        (filtered("day > '2025-01-01'"), FindingReason::PartitionFilterKeepsNone),
        (filtered("month = 1"), FindingReason::PartitionFilterInvalid),
        (gone, FindingReason::PartitionUnknown),
    ] {
        let job = suite.begin_job(&source, spec).await?;
        suite.until(&job, JobState::Failed).await?;
        let told = &suite.job_tables(&job).await?[0];
        anyhow::ensure!(told.decision_reason() == DecisionReason::Finding, "{told:?}");
        anyhow::ensure!(told.findings.iter().any(|found| found.reason() == reason), "{told:?}");
    }
    anyhow::ensure!(outsider.ids("s", "days").await? == [1, 2, 3, 20, 30, 40]);
    Ok(())
}
