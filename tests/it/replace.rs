//! Target policy REPLACE, end to end: a table that fits the plan is overwritten in place; any other is dropped once per
//! job, not once per task, and all its rows arrive again. Columns that the source added at the end are added to the
//! target's table.

use std::sync::Arc;

use anyhow::Context;
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use mms_proto::FindingReason;
use mms_proto::scheduler::v1 as scheduler;
use mms_proto::scheduler::v1::job_service_client::JobServiceClient;
use mms_proto::types::v1::{SourceTable, TableOptions, TargetKind, TargetPolicy};
use mms_sandbox::samples::{DeltaWriter, TableSpec};
use mms_tests::outsider::Outsider;
use mms_tests::suite::{Suite, everything};
use mms_tests::{sandbox::Sandbox, tables};

/// The source tables whose tasks have logged that their target was dropped.
async fn replaced(suite: &Suite, job: &str) -> anyhow::Result<Vec<String>> {
    let mut client = JobServiceClient::new(suite.channel("scheduler")?);
    let mut replaced = Vec::new();
    for task in suite.tasks(job).await? {
        let request = scheduler::ListTaskLogsRequest {
            parent: task.name,
            page_size: 1000,
            ..scheduler::ListTaskLogsRequest::default()
        };
        let lines = client.list_task_logs(request).await?.into_inner().logs;
        let drops = lines.iter().filter(|line| line.message.ends_with("dropped and made anew")).count();
        replaced.extend(std::iter::repeat_n(task.table, drops));
    }
    replaced.sort();
    Ok(replaced)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_as_planned_stays_in_its_place_and_anything_else_is_dropped_once() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let moved = tables::own(folder.path())?;
    let suite = Suite::up(folder.path()).await?;
    let sandbox = Sandbox::start(folder.path(), &moved.delta_root)?;
    let source = Box::pin(suite.source(&sandbox.data_source("lake"))).await?;
    let scan = suite.begin_scan(&source).await?;
    suite.scanned(&scan).await?;
    let first = suite.begin_job(&source, everything()).await?;
    suite.done(&first).await?;
    anyhow::ensure!(replaced(&suite, &first).await?.is_empty());
    let spec = scheduler::JobSpec { target_policy: TargetPolicy::Replace as i32, force: true, ..everything() };
    let second = suite.begin_job(&source, spec.clone()).await?;
    suite.done(&second).await.context("the job that replaces tables by what they are")?;
    let gone = replaced(&suite, &second).await?;
    anyhow::ensure!(gone.is_empty(), "readers never saw them gone: {gone:?}");
    moved.compare(&sandbox.project())?;

    let tables = suite.job_tables(&second).await?;
    let other_kind = |table: &scheduler::JobTable| {
        let (_, name) = table.table.split_once("/schemas/")?;
        let (schema, table) = name.split_once("/tables/")?;
        Some(TableOptions {
            table: Some(SourceTable { schema: schema.to_owned(), table: table.to_owned() }),
            target_kind: TargetKind::Ordinary as i32,
            ..TableOptions::default()
        })
    };
    // Tables whose names are percent-encoded in resource names are left out.
    let plain = tables.iter().filter(|table| !table.table.contains('%'));
    let table_options: Vec<TableOptions> = plain.clone().filter_map(other_kind).collect();
    let mut wanted: Vec<String> = plain.map(|table| table.table.clone()).collect();
    wanted.sort();
    let third = suite.begin_job(&source, scheduler::JobSpec { table_options, ..spec }).await?;
    suite.done(&third).await.context("the job that replaces tables by others")?;
    let replaced = replaced(&suite, &third).await?;
    anyhow::ensure!(replaced == wanted && !wanted.is_empty(), "replaced: {replaced:?}, of {wanted:?}");
    let gaps = suite.job_tables(&third).await?;
    let gap = |table: &&scheduler::JobTable| {
        table.findings.iter().any(|found| found.reason() == FindingReason::ReadersSeeGap)
    };
    anyhow::ensure!(gaps.iter().filter(gap).count() == wanted.len(), "each says that readers see it gone");
    moved.compare(&sandbox.project())
}

fn schema(names: &[&str]) -> Arc<Schema> {
    let texts = names.iter().map(|name| Field::new(*name, DataType::Utf8, true));
    Arc::new(Schema::new(std::iter::once(Field::new("id", DataType::Int64, true)).chain(texts).collect::<Vec<_>>()))
}

fn rows(schema: &Arc<Schema>, ids: std::ops::Range<i64>) -> Result<RecordBatch, arrow::error::ArrowError> {
    let texts = |name: &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(ids.clone().map(|id| format!("{name}{id}"))))
    };
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(ids.clone()));
    let columns = schema.fields().iter().skip(1).map(|field| texts(field.name()));
    RecordBatch::try_new(schema.clone(), std::iter::once(numbers).chain(columns).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_that_came_to_a_table_are_added_without_a_gap() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let root = folder.path().join("delta-root");
    let (before, after) = (schema(&["a"]), schema(&["a", "b", "order"]));
    let mut table = DeltaWriter::create(&root.join("s/grows"), TableSpec::new(before.clone(), 1_700_000_000_000))?;
    table.append([rows(&before, 0..10)])?;
    let suite = Suite::up(folder.path()).await?;
    let sandbox = Sandbox::start(folder.path(), &root)?;
    let source = Box::pin(suite.source(&sandbox.data_source("lake"))).await?;
    let scan = suite.begin_scan(&source).await?;
    suite.scanned(&scan).await?;
    let first = suite.begin_job(&source, everything()).await?;
    suite.done(&first).await?;
    let outsider = Outsider::at(&sandbox)?;
    let made = outsider.info("s", "grows").await?.context("it was made")?;

    table.set_schema(after.clone())?;
    table.append([rows(&after, 10..25)])?;
    let spec = scheduler::JobSpec { target_policy: TargetPolicy::Replace as i32, ..everything() };
    let second = suite.begin_job(&source, spec).await?;
    suite.done(&second).await?;
    anyhow::ensure!(replaced(&suite, &second).await?.is_empty(), "it was dropped");
    let moved = suite.job_tables(&second).await?;
    let found: Vec<FindingReason> = moved[0].findings.iter().map(|found| found.reason()).collect();
    anyhow::ensure!(found == [FindingReason::TargetDiffers] && moved[0].target_rows == Some(25), "{moved:?}");
    let grown = outsider.info("s", "grows").await?.context("it is there")?;
    anyhow::ensure!(grown.id == made.id && grown.created == made.created, "it is another table: {grown:?}");
    let names: Vec<&str> = grown.columns.iter().map(|column| column.name.as_str()).collect();
    anyhow::ensure!(names == ["id", "a", "b", "order"], "{names:?}");
    anyhow::ensure!(outsider.texts("s", "grows", "b").await? == texts_of("b"), "the rows that came with it");
    Ok(())
}

/// The values of a text column that was added with row 10.
fn texts_of(name: &str) -> Vec<Option<String>> {
    (0..25).map(|id| (id >= 10).then(|| format!("{name}{id}"))).collect()
}
