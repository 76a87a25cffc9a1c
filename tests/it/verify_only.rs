//! Jobs that only verify: the rows at the target are counted and compared with the pinned source, nothing is written, and a
//! difference fails with both values.

use std::sync::Arc;

use anyhow::Context;
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use mms_proto::ErrorReason;
use mms_proto::scheduler::v1::{JobSpec, JobState, MigrationContent, TaskState};
use mms_proto::types::v1::{MigrationState, ValueOrigin, Verdict};
use mms_sandbox::samples::{DeltaWriter, TableSpec};
use mms_tests::outsider::Outsider;
use mms_tests::sandbox::Sandbox;
use mms_tests::suite::{Suite, everything};

fn rows(of: &[(i64, &str)]) -> Result<RecordBatch, arrow::error::ArrowError> {
    let columns: [(&str, ArrayRef, bool); 2] = [
        ("id", Arc::new(Int64Array::from_iter_values(of.iter().map(|(id, _)| *id))), true),
        ("p", Arc::new(StringArray::from_iter_values(of.iter().map(|(_, part)| *part))), true),
    ];
    RecordBatch::try_from_iter_with_nullable(columns)
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_are_compared_and_nothing_is_written() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let root = folder.path().join("delta-root");
    let columns = Schema::new(vec![Field::new("id", DataType::Int64, true), Field::new("p", DataType::Utf8, true)]);
    let mut spec = TableSpec::new(Arc::new(columns), 1_700_000_000_000);
    spec.partition_columns = vec!["p".to_owned()];
    let mut table = DeltaWriter::create(&root.join("s/t"), spec)?;
    table.append([rows(&[(1, "a"), (2, "b"), (3, "b")])])?;
    let suite = Suite::up(folder.path()).await?;
    let sandbox = Sandbox::start(folder.path(), &root)?;
    let source = Box::pin(suite.source(&sandbox.data_source("lake"))).await?;
    let scan = suite.begin_scan(&source).await?;
    suite.scanned(&scan).await?;
    let outsider = Outsider::at(&sandbox)?;
    let verify = || JobSpec { content: MigrationContent::VerificationOnly as i32, ..everything() };

    // The target has no table yet, and a verification creates none.
    let none = suite.begin_job(&source, verify()).await?;
    suite.until(&none, JobState::Failed).await?;
    anyhow::ensure!(outsider.info("s", "t").await?.is_none());

    let moved = suite.begin_job(&source, everything()).await?;
    suite.done(&moved).await?;
    let equal = suite.begin_job(&source, verify()).await?;
    suite.done(&equal).await?;
    let told = suite.job_tables(&equal).await?.pop().context("a table")?;
    anyhow::ensure!((told.rows_done, told.target_rows) == (0, Some(3)), "{told:?}");
    let checks = suite.checks(&equal).await?;
    anyhow::ensure!(checks.len() == 2 && checks.iter().all(|check| check.verdict() == Verdict::Equal), "{checks:?}");

    // The source has one more row in b: each partition gets its own result, and the catalog's state does not change.
    table.append([rows(&[(4, "b")])])?;
    let differs = suite.begin_job(&source, verify()).await?;
    suite.until(&differs, JobState::Failed).await?;
    let task = suite.tasks(&differs).await?.pop().context("a task")?;
    anyhow::ensure!((task.state(), task.attempt) == (TaskState::VerificationFailed, 1), "{task:?}");
    let reason = task.reason.context("why")?;
    anyhow::ensure!(reason.reason() == ErrorReason::VerificationFailed, "{reason:?}");
    anyhow::ensure!(reason.message.contains("source 3, target 2"), "{reason:?}");
    let found: Vec<_> = suite.checks(&differs).await?;
    let seen: Vec<_> = found
        .iter()
        .map(|check| {
            (check.source_value.as_deref(), check.source_origin(), check.target_value.as_deref(), check.verdict())
        })
        .collect();
    let expected = [
        (Some("1"), ValueOrigin::Log, Some("1"), Verdict::Equal),
        (Some("3"), ValueOrigin::Log, Some("2"), Verdict::Different),
    ];
    anyhow::ensure!(seen == expected, "{seen:?}");
    anyhow::ensure!(outsider.ids("s", "t").await? == [1, 2, 3]);
    let catalogued = suite.catalogued(&source).await?;
    let table = catalogued.tables.first().context("the table")?;
    anyhow::ensure!(table.state() == MigrationState::Done, "{table:?}");
    Ok(())
}
