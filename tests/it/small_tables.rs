//! The cost of a small table, from its scan to the final check of its target: processor time of each service, commits
//! and flushes of their stores, requests to source and target. `MMS_SMALL_TABLES` is the number of tables. The counts
//! are judged in every run, because they are reproducible; the times are printed, beside that of a script that does the
//! same with deltalake and PyODPS.

#![allow(clippy::print_stdout, reason = "the proof prints its figures")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use mms_proto::scheduler::v1::JobSpec;
use mms_sandbox::samples::{DeltaWriter, TableSpec};
use mms_tests::metrics::{self, Page};
use mms_tests::peers;
use mms_tests::process::busy;
use mms_tests::sandbox::Sandbox;
use mms_tests::suite::{SERVICES, Suite, everything};

/// Most flushes per table, over all stores.
const FLUSHES: f64 = 20.0;
/// Most requests per table, to the workspace and to the project.
const REQUESTS: [(&str, f64); 2] = [("workspace", 8.0), ("project", 16.0)];

/// Creates tables of one file with ten rows each.
fn tables(root: &Path, count: usize) -> anyhow::Result<()> {
    let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, true)]));
    for number in 0..count {
        let folder = root.join(format!("small/t{number:05}"));
        let mut table = DeltaWriter::create(&folder, TableSpec::new(schema.clone(), 1_700_000_000_000))?;
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..10));
        table.append([RecordBatch::try_from_iter_with_nullable([("id", ids, true)])])?;
    }
    Ok(())
}

/// The processor time and metrics of a service at one moment.
struct Reading {
    busy: Duration,
    page: Page,
}

impl Reading {
    fn total(&self, name: &str) -> f64 {
        self.page.get(name).map_or(0.0, metrics::Family::total)
    }
}

async fn readings(suite: &mut Suite) -> anyhow::Result<BTreeMap<&'static str, Reading>> {
    let mut all = BTreeMap::new();
    for (name, process) in &mut suite.processes {
        let service = SERVICES.into_iter().find(|service| service == name).context("a service")?;
        let address = metrics::address(process, service).await?;
        let page = metrics::read(&metrics::text(&address)?)?;
        all.insert(service, Reading { busy: busy(process.id())?, page });
    }
    Ok(all)
}

/// Processor time of the script, in ms per table; `None` if Python is not installed.
fn script(sandbox: &Sandbox, root: &Path, count: usize) -> anyhow::Result<Option<f64>> {
    let Some(python) = peers::python() else { return Ok(None) };
    let mut command = Command::new(python);
    command
        .arg(peers::script("small_tables_peer.py"))
        .args(sandbox.project())
        .arg(root)
        .arg(count.min(200).to_string());
    let output = command.output()?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    Ok(Some(said["cpu_ms"].as_f64().context("cpu_ms")?))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_table_costs_few_flushes_and_requests() -> anyhow::Result<()> {
    let count: usize = std::env::var("MMS_SMALL_TABLES").ok().and_then(|text| text.parse().ok()).unwrap_or(20);
    let folder = tempfile::tempdir()?;
    let root = folder.path().join("delta-root");
    tables(&root, count)?;
    let sandbox = Sandbox::start(folder.path(), &root)?;
    let settings = [("SERVER__METRICS__LISTEN", "127.0.0.1:0")];
    let mut suite = Suite::processes_all_with(folder.path(), &settings).await?;
    let source = Box::pin(suite.source(&sandbox.data_source("lake"))).await?;
    let before = readings(&mut suite).await?;
    let start = Instant::now();
    let scan = suite.begin_scan(&source).await?;
    suite.scanned(&scan).await?;
    let scanned = start.elapsed();
    let job = suite.begin_job(&source, JobSpec { max_concurrent_tasks: 8, ..everything() }).await?;
    let done = suite.done(&job).await?;
    let took = start.elapsed();
    let after = readings(&mut suite).await?;
    let progress = done.progress.unwrap_or_default();
    anyhow::ensure!(usize::try_from(progress.tables_done)? == count, "{progress:?}");

    let many = f64::from(u32::try_from(count)?);
    println!("{count} tables of one file: scan {scanned:.2?}, all {took:.2?}");
    println!("{:>10} {:>9} {:>9} {:>9}", "a table", "CPU ms", "commits", "flushes");
    let (mut cpu, mut flushes, mut requests) = (0.0, 0.0, BTreeMap::<String, f64>::new());
    for (service, now) in &after {
        let was = &before[service];
        let each = |name: &str| (now.total(name) - was.total(name)) / many;
        let own = (now.busy - was.busy).as_secs_f64() * 1_000.0 / many;
        let flushed = each("mms_store_flush_duration_seconds");
        println!("{service:>10} {own:>9.2} {:>9.2} {flushed:>9.2}", each("mms_store_commits_total"));
        (cpu, flushes) = (cpu + own, flushes + flushed);
        for (series, value) in now.page.get("mms_far_end_requests_total").iter().flat_map(|family| &family.samples) {
            let end = series.split("far_end=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default();
            let before = was.page.get("mms_far_end_requests_total").and_then(|family| family.samples.get(series));
            *requests.entry(end.to_owned()).or_default() += (value - before.unwrap_or(&0.0)) / many;
        }
    }
    println!("{:>10} {cpu:>9.2} {:>9} {flushes:>9.2}", "all", "");
    println!("requests a table: {requests:.2?}");
    if let Some(script) = script(&sandbox, &root.join("small"), count)? {
        println!("a script with deltalake and PyODPS: {script:.2} ms, this suite {:.2} times that", cpu / script);
    }
    anyhow::ensure!(flushes <= FLUSHES, "{flushes:.2} flushes a table");
    for (end, most) in REQUESTS {
        let found = requests.get(end).copied().context("requests to both ends")?;
        anyhow::ensure!(found <= most, "{found:.2} requests a table to the {end}");
    }
    Ok(())
}
