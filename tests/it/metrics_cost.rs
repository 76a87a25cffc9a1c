//! The cost of observing: the processor time of one metrics page, and of metrics and traces together in a job.
//! `MMS_METRICS_ROUNDS` is the number of jobs run with them, and of jobs run without; from 3 on the jobs are long
//! enough to judge the difference.

#![allow(clippy::print_stdout, reason = "the proof prints its figures")]

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use mms_tests::collector::Collector;
use mms_tests::metrics;
use mms_tests::parts::Parts;
use mms_tests::process::busy;
use mms_tests::sandbox::Sandbox;
use mms_tests::suite::{SERVICES, Suite, everything};

/// Pages that are measured together, because the system counts processor time in steps of 10 ms.
const PAGES: u32 = 200;
/// Most processor time of one page, and the largest share of a job's.
const PAGE_LIMIT: Duration = Duration::from_millis(5);
const SHARE_LIMIT: f64 = 0.02;

/// Moves all tables; returns the suite, and the processor time of its four processes since they started.
async fn migrated(folder: &Path, root: &Path, settings: &[(&str, &str)]) -> anyhow::Result<(Suite, Duration)> {
    let sandbox = Sandbox::start(folder, root)?;
    let suite = Suite::processes_all_with(folder, settings).await?;
    let source = Box::pin(suite.source(&sandbox.data_source("lake"))).await?;
    let scan = suite.begin_scan(&source).await?;
    suite.scanned(&scan).await?;
    let job = suite.begin_job(&source, everything()).await?;
    suite.done(&job).await?;
    let took = suite.processes.iter().map(|(_, process)| busy(process.id())).sum::<anyhow::Result<Duration>>()?;
    Ok((suite, took))
}

/// Large tables, and one of many units, each of which is an upload, an intent and a dozen calls.
fn tables(folder: &Path, scale: f64, units: usize) -> anyhow::Result<std::path::PathBuf> {
    let root = folder.join("delta-root");
    Parts::create(&root, units)?;
    mms_sandbox::samples::tpch(&root, scale, 1_700_000_000_000)?;
    Ok(root)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_costs_little() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let root = tables(folder.path(), 0.001, 3)?;
    let (mut suite, _) = migrated(folder.path(), &root, &[("SERVER__METRICS__LISTEN", "127.0.0.1:0")]).await?;
    for (name, process) in &mut suite.processes {
        let service = SERVICES.into_iter().find(|service| service == name).context("a service")?;
        let address = metrics::address(process, service).await?;
        let (before, mut bytes) = (busy(process.id())?, 0);
        for _ in 0..PAGES {
            bytes = metrics::text(&address)?.len();
        }
        let each = (busy(process.id())? - before) / PAGES;
        println!("{service}: a page of {bytes} bytes takes {each:.2?} of CPU");
        anyhow::ensure!(each <= PAGE_LIMIT, "{service}: {each:?} a page");
    }
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    if values.len() % 2 == 1 { values[half] } else { f64::midpoint(values[half - 1], values[half]) }
}

#[tokio::test(flavor = "multi_thread")]
async fn watching_costs_little_of_a_job() -> anyhow::Result<()> {
    let rounds = std::env::var("MMS_METRICS_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    // A single short job can show only gross errors.
    let (scale, units, limit) = if rounds < 3 { (0.001, 3, 0.5) } else { (0.1, 60, SHARE_LIMIT) };
    let made = tempfile::tempdir()?;
    let root = tables(made.path(), scale, units)?;
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        // Alternating, and each kind first equally often, because other load of the machine changes slowly.
        for watched in [round % 2 == 0, round % 2 == 1] {
            let (folder, collector) = (tempfile::tempdir()?, Collector::start().await?);
            let otlp = format!("http://{}", collector.address);
            let settings = [("SERVER__METRICS__LISTEN", "127.0.0.1:0"), ("TELEMETRY__OTLP_ENDPOINT", otlp.as_str())];
            let settings = if watched { &settings[..] } else { &[] };
            let (suite, took) = Box::pin(migrated(folder.path(), &root, settings)).await?;
            drop(suite);
            println!("round {round}, {}: {took:.2?} of CPU", if watched { "watched" } else { "not watched" });
            if watched { &mut with } else { &mut without }.push(took.as_secs_f64());
        }
    }
    let (with, without) = (median(with), median(without));
    let share = with / without - 1.0;
    println!(
        "medians of {rounds}: {without:.2} s without, {with:.2} s with metrics and traces: {:+.1} %",
        share * 100.0
    );
    anyhow::ensure!(share <= limit, "{share:.3} of a job's CPU");
    Ok(())
}
