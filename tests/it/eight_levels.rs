//! A table with eight partition columns, of which the target has six: three source partitions, told apart by the seventh and
//! eighth column, make one target partition. All rows arrive, however many target partitions a task has.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::Context;
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use mms_proto::FindingReason;
use mms_proto::scheduler::v1::{JobSpec, TaskState};
use mms_sandbox::samples::{DeltaWriter, TableSpec};
use mms_tests::outsider::Outsider;
use mms_tests::sandbox::Sandbox;
use mms_tests::suite::{Suite, everything};

const LEVELS: usize = 8;
/// Number of target partitions.
const UNITS: usize = 16;
/// The last two levels of the source partitions that make a target partition.
const SPLIT: [[&str; 2]; 3] = [["a", "x"], ["a", "y"], ["b", "x"]];

/// Two rows in each source partition, with unique ids.
fn rows() -> Result<RecordBatch, arrow::error::ArrowError> {
    let places: Vec<(usize, usize)> =
        (0..UNITS).flat_map(|unit| (0..2 * SPLIT.len()).map(move |row| (unit, row))).collect();
    let ids = Int64Array::from_iter_values((0_i64..).take(places.len()));
    let mut columns: Vec<(String, ArrayRef, bool)> = vec![("id".to_owned(), Arc::new(ids), true)];
    for level in 0..LEVELS {
        let value = |(unit, row): &(usize, usize)| match level.checked_sub(6) {
            // Four of the first six levels tell the units apart.
            None => format!("{}", (unit >> level.min(4)) & 1),
            Some(last) => SPLIT[row % SPLIT.len()][last].to_owned(),
        };
        columns.push((format!("p{level}"), Arc::new(StringArray::from_iter_values(places.iter().map(value))), true));
    }
    RecordBatch::try_from_iter_with_nullable(columns)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_source_splits_further_arrives_whole() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let root = folder.path().join("delta-root");
    let mut fields = vec![Field::new("id", DataType::Int64, true)];
    fields.extend((0..LEVELS).map(|level| Field::new(format!("p{level}"), DataType::Utf8, true)));
    let mut spec = TableSpec::new(Arc::new(Schema::new(fields)), 1_700_000_000_000);
    spec.partition_columns = (0..LEVELS).map(|level| format!("p{level}")).collect();
    let mut table = DeltaWriter::create(&root.join("s/deep"), spec)?;
    table.append([rows()])?;
    let suite = Suite::up(folder.path()).await?;
    let sandbox = Sandbox::start(folder.path(), &root)?;
    let source = Box::pin(suite.source(&sandbox.data_source("lake"))).await?;
    let scan = suite.begin_scan(&source).await?;
    suite.scanned(&scan).await?;
    let outsider = Outsider::at(&sandbox)?;
    let expected: Vec<i64> = (0_i64..).take(2 * UNITS * SPLIT.len()).collect();
    let partitions = suite.catalogued(&source).await?.partitions.len();
    anyhow::ensure!(partitions == UNITS * SPLIT.len(), "{partitions} source partitions");
    for (bound, tasks) in [(50, 1), (1, UNITS)] {
        let spec = JobSpec { max_partitions_per_task: bound, force: true, ..everything() };
        let job = suite.begin_job(&source, spec).await?;
        suite.done(&job).await?;
        let told = suite.tasks(&job).await?;
        anyhow::ensure!(told.len() == tasks, "{} tasks of {bound}", told.len());
        for task in told {
            anyhow::ensure!(task.state() == TaskState::Done, "{task:?}");
            let full = suite.task(&task.name).await?;
            anyhow::ensure!(full.units.iter().all(|unit| unit.source_partitions.len() == SPLIT.len()), "{full:?}");
        }
        let table = suite.job_tables(&job).await?.pop().context("a table")?;
        anyhow::ensure!(usize::try_from(table.unit_count)? == UNITS, "{table:?}");
        anyhow::ensure!(table.findings.iter().all(|found| found.reason() != FindingReason::TargetPartitionSplit));
        anyhow::ensure!(outsider.ids("s", "deep").await? == expected, "{bound} in a task");
        let there: BTreeSet<String> = outsider.partitions("s", "deep").await?.into_iter().collect();
        anyhow::ensure!(there.len() == UNITS, "{there:?}");
    }
    Ok(())
}
