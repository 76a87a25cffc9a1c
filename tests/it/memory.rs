//! A worker's memory does not grow with the table: neither with its rows nor with the length of its texts.
//! `MMS_MEMORY_SCALE` is the TPC-H scale of the smaller of two runs; the larger is ten times that.

#![allow(clippy::print_stdout, reason = "the proof prints its figures")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use mms_proto::scheduler::v1::JobTable;
use mms_sandbox::samples::{DeltaWriter, SampleError, TableSpec};
use mms_tests::process::busy;
use mms_tests::sandbox::Sandbox;
use mms_tests::suite::{Suite, everything};

/// The measurements of a migration of all tables under a root.
pub struct Figures {
    rows: i64,
    took: Duration,
    /// The worker's peak memory in MiB: before the job, and in all.
    idle: u64,
    pub peak: u64,
    /// The processor time that the worker used.
    busy: Duration,
}

/// The peak memory of a process in MiB, from `/proc/PID/status`.
fn peak_mib(pid: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? / 1024)
}

/// Moves all tables under a root.
pub async fn transfer(folder: &Path, root: &Path) -> anyhow::Result<Figures> {
    let sandbox = Sandbox::start(folder, root)?;
    let suite = Suite::processes(folder, 60).await?;
    let source = Box::pin(suite.source(&sandbox.data_source("lake"))).await?;
    let scan = suite.begin_scan(&source).await?;
    suite.scanned(&scan).await?;
    let worker = suite.processes.iter().find(|(name, _)| name == "transfer").context("a worker")?.1.id();
    let idle = peak_mib(worker)?;
    let start = Instant::now();
    let job = suite.begin_job(&source, everything()).await?;
    suite.done(&job).await?;
    let took = start.elapsed();
    let tables: Vec<JobTable> = suite.job_tables(&job).await?;
    anyhow::ensure!(tables.iter().all(|t| t.source_rows == t.target_rows), "{tables:?}");
    let rows = tables.iter().filter_map(|table| table.target_rows).sum();
    Ok(Figures { rows, took, idle, peak: peak_mib(worker)?, busy: busy(worker)? })
}

/// Prints the figures.
pub fn tell(what: &str, figures: &Figures) {
    let Figures { rows, took, idle, peak, busy } = figures;
    let rate = *rows as f64 / took.as_secs_f64();
    println!(
        "{what}: {rows} rows in {took:.1?} ({rate:.0} a second), worker {busy:.1?} of CPU, {peak} MiB at its peak, \
         {idle} MiB before"
    );
}

/// The scale of TPC-H; the sizes of the other tables follow it.
pub fn scale() -> f64 {
    std::env::var("MMS_MEMORY_SCALE").ok().and_then(|text| text.parse().ok()).unwrap_or(0.02)
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_times_the_rows_take_no_more_memory() -> anyhow::Result<()> {
    let scale = scale();
    let mut peaks = Vec::new();
    for scale in [scale, scale * 10.0] {
        let folder = tempfile::tempdir()?;
        let root = folder.path().join("delta-root");
        mms_sandbox::samples::tpch(&root, scale, 1_700_000_000_000)?;
        let figures = Box::pin(transfer(folder.path(), &root)).await?;
        tell(&format!("TPC-H scale {scale}"), &figures);
        peaks.push(figures.peak);
    }
    // The larger tables have full row groups, the smaller ones do not: so the peak may differ by this much.
    anyhow::ensure!(peaks[1] <= peaks[0] * 2 + 64, "{peaks:?} MiB");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn long_texts_are_read_a_few_rows_at_a_time() -> anyhow::Result<()> {
    const ROWS: i64 = 800;
    const BYTES: usize = 512 << 10;
    let folder = tempfile::tempdir()?;
    let root = folder.path().join("delta-root");
    let batch = |at: i64| {
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(at..at + 100));
        let text = |i: i64| format!("{i} {}", "x".repeat(BYTES));
        let texts: ArrayRef = Arc::new(StringArray::from_iter_values((at..at + 100).map(text)));
        RecordBatch::try_from_iter([("id", ids), ("text", texts)]).map_err(SampleError::from)
    };
    let spec = TableSpec { rows_per_file: 800, ..TableSpec::new(batch(0)?.schema(), 0) };
    DeltaWriter::create(&root.join("long/texts"), spec)?.append((0..ROWS / 100).map(|i| batch(i * 100)))?;
    let figures = Box::pin(transfer(folder.path(), &root)).await?;
    tell("400 MiB of texts of 512 KiB", &figures);
    anyhow::ensure!(figures.rows == ROWS, "{} rows", figures.rows);
    anyhow::ensure!(figures.peak < 160, "{} MiB for batches of 4 MiB", figures.peak);
    Ok(())
}
