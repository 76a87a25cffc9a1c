//! Timestamps that the tunnel cannot carry, such as 0001-01-01 and 9999-12-31 that often stand for "always", arrive
//! exactly by the Storage API: at once if the log's bounds show them, else after the unit was begun by the tunnel. A
//! worker that is killed after such a commit, before it got the answer, leaves a unit that its successor finds
//! published.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use anyhow::Context;
use arrow::array::TimestampMicrosecondArray;
use arrow::array::{ArrayRef, Int64Array, ListBuilder, RecordBatch, StringArray, TimestampMicrosecondBuilder};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use arrow::error::ArrowError;
use mms_sandbox::samples::{DeltaWriter, TableSpec};
use mms_tests::held::Held;
use mms_tests::peers;
use mms_tests::sandbox::Sandbox;
use mms_tests::suite::{Suite, everything};
use serde_json::{Value, json};

const WRITTEN_MS: i64 = 1_700_000_000_000;
/// 0001-01-01, 9999-12-31 23:59:59.999999, 2024-02-29 12:34:56.789012 and none, in microseconds since 1970.
const TIMES: [Option<i64>; 4] =
    [Some(-62_135_596_800_000_000), Some(253_402_300_799_999_999), Some(1_709_210_096_789_012), None];
const SHOWN: [Option<&str>; 4] =
    [Some("0001-01-01 00:00:00.000000"), Some("9999-12-31 23:59:59.999999"), Some("2024-02-29 12:34:56.789012"), None];

fn ids(rows: usize) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values((0..).take(rows)))
}

fn instant() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// A table with two timestamp columns in three partitions; in the first two, the log has the bounds of one column.
fn told(root: &Path) -> anyhow::Result<()> {
    let at = root.join("s/told");
    let fields = vec![
        Field::new("id", DataType::Int64, true),
        Field::new("at", instant(), true),
        Field::new("wall", DataType::Timestamp(TimeUnit::Microsecond, None), true),
        Field::new("pt", DataType::Utf8, true),
    ];
    let schema = Arc::new(Schema::new(fields));
    let spec = TableSpec { partition_columns: vec!["pt".to_owned()], ..TableSpec::new(schema.clone(), WRITTEN_MS) };
    let mut table = DeltaWriter::create(&at, spec)?;
    for (part, times) in [("far", TIMES), ("farther", TIMES), ("near", [TIMES[2]; 4])] {
        let instants: ArrayRef = Arc::new(TimestampMicrosecondArray::from(times.to_vec()).with_timezone("UTC"));
        let walls: ArrayRef = Arc::new(TimestampMicrosecondArray::from(times.to_vec()));
        let parts: ArrayRef = Arc::new(StringArray::from(vec![part; times.len()]));
        let batch = RecordBatch::try_new(schema.clone(), vec![ids(times.len()), instants, walls, parts]);
        table.append([batch])?;
    }
    let bounds = json!({ "numRecords": 4, "minValues": { "at": "0001-01-01T00:00:00.000Z" },
        "maxValues": { "at": "9999-12-31T23:59:59.999Z" }, "nullCount": { "at": 1 } });
    for version in 1..=2 {
        let log = at.join(format!("_delta_log/{version:020}.json"));
        let mut lines = String::new();
        for line in std::fs::read_to_string(&log)?.lines() {
            let mut action: Value = serde_json::from_str(line)?;
            if let Some(told) = action.pointer_mut("/add/stats") {
                *told = bounds.to_string().into();
            }
            lines += &format!("{action}\n");
        }
        std::fs::write(&log, lines)?;
    }
    Ok(())
}

/// A table with lists of timestamps, for which no log has bounds; the far ones are not in its first file.
fn hidden(root: &Path) -> anyhow::Result<()> {
    let item = Arc::new(Field::new("element", instant(), true));
    let fields = vec![Field::new("id", DataType::Int64, true), Field::new("times", DataType::List(item.clone()), true)];
    let schema = Arc::new(Schema::new(fields));
    let mut table = DeltaWriter::create(&root.join("s/hidden"), TableSpec::new(schema.clone(), WRITTEN_MS))?;
    for (first, times) in [(0, [TIMES[2]; 4]), (4, TIMES)] {
        let values = TimestampMicrosecondBuilder::new().with_timezone("UTC");
        let mut lists = ListBuilder::new(values).with_field(item.clone());
        times.into_iter().for_each(|time| lists.append_value([time, None]));
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(first..first + 4));
        table.append([RecordBatch::try_new(schema.clone(), vec![ids, Arc::new(lists.finish())])])?;
    }
    Ok(())
}

fn near(root: &Path) -> anyhow::Result<()> {
    let schema =
        Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, true), Field::new("at", instant(), true)]));
    let mut table = DeltaWriter::create(&root.join("s/near"), TableSpec::new(schema.clone(), WRITTEN_MS))?;
    let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![TIMES[2], None]).with_timezone("UTC"));
    let batch: Result<RecordBatch, ArrowError> = RecordBatch::try_new(schema, vec![ids(2), times]);
    table.append([batch])?;
    Ok(())
}

/// The cells of a table, as PyODPS reads them; `None` if PyODPS is not installed.
fn read(sandbox: &Sandbox, table: &str, columns: &[&str]) -> anyhow::Result<Option<Value>> {
    let Some(python) = peers::python() else { return Ok(None) };
    let mut command = Command::new(python);
    command.arg(peers::script("pyodps_storage.py")).args(sandbox.project()).args(["--read", table]).args(columns);
    Ok(Some(serde_json::from_slice(&peers::run(&mut command)?.stdout)?))
}

#[tokio::test(flavor = "multi_thread")]
async fn they_arrive_exact_by_the_way_that_carries_them() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let root = folder.path().join("delta-root");
    told(&root)?;
    hidden(&root)?;
    near(&root)?;
    let sandbox = Sandbox::start(folder.path(), &root)?;
    let endpoint = sandbox.told("/project/endpoint");
    let upstream = endpoint.trim_start_matches("http://").split('/').next().unwrap_or_default().parse()?;
    let held = Held::start(upstream, &["POST /api/storage/v1/", "/tables/told/commit?"]).await?;
    let mut suite = Suite::processes(folder.path(), 2).await?;
    let mut request = sandbox.data_source("lake");
    request["data_source"]["max_compute"]["tunnel_endpoint"] = json!(held.url);
    let source = Box::pin(suite.source(&request)).await?;
    let scan = suite.begin_scan(&source).await?;
    suite.scanned(&scan).await?;
    let job = suite.begin_job(&source, everything()).await?;
    // The commit was applied, and its worker is killed before it gets the answer, with its data folder.
    tokio::time::timeout(mms_tests::process::PATIENCE, held.done).await.context("no commit came")??;
    suite.kill("transfer", true)?;
    suite.restart("transfer").await?;
    suite.done(&job).await?;

    let tables = suite.job_tables(&job).await?;
    let rows: Vec<_> = tables.iter().map(|table| (table.source_rows, table.target_rows)).collect();
    anyhow::ensure!(rows.len() == 3 && rows.iter().all(|(source, target)| source == target), "{rows:?}");
    let log = suite.processes.iter().find(|(name, _)| name == "transfer").context("a worker")?.1.whole_log();
    let resolved = log.lines().any(|line| line.contains(" resolved ") && line.contains("COMMIT_OUTCOME_COMMITTED"));
    anyhow::ensure!(resolved, "the commit that nobody heard of was found open, and settled\n{log}");
    let mut lines = Vec::new();
    for task in suite.tasks(&job).await? {
        lines.extend(suite.task_logs(&task.name).await?.into_iter().map(|line| line.message));
    }
    for said in [
        "by the Storage API: by the log `at` reaches 0001-01-01T00:00:00.000Z in file",
        "by the Storage API: column `times`: 0001-01-01T00:00:00 lies outside 1677-09-21 to 2262-04-11",
        "bytes sent through the tunnel",
    ] {
        anyhow::ensure!(lines.iter().any(|line| line.contains(said)), "nobody said `{said}`: {lines:#?}");
    }

    let cells = |at: usize| json!([at % 4, SHOWN[at % 4], SHOWN[at % 4]]);
    let ordinary = |id: usize| json!([id, SHOWN[2], SHOWN[2]]);
    let mut all: Vec<Value> = (0..4).flat_map(|at| [cells(at), cells(at), ordinary(at)]).collect();
    all.sort_by_key(Value::to_string);
    if let Some(found) = read(&sandbox, "s.told", &["id", "at", "wall"])? {
        let mut found = found.as_array().cloned().unwrap_or_default();
        found.sort_by_key(Value::to_string);
        anyhow::ensure!(found == all, "{found:#?}");
    }
    let list = |id: usize, shown: Option<&str>| json!([id, [shown, null]]);
    let wanted: Vec<Value> =
        (0..4).map(|id| list(id, SHOWN[2])).chain((0..4).map(|at| list(at + 4, SHOWN[at]))).collect();
    if let Some(found) = read(&sandbox, "s.hidden", &["id", "times"])? {
        anyhow::ensure!(found == json!(wanted), "{found:#?}");
    }
    if let Some(found) = read(&sandbox, "s.near", &["id", "at"])? {
        anyhow::ensure!(found == json!([[0, SHOWN[2]], [1, null]]), "{found:#?}");
    }
    Ok(())
}
