//! The metrics of four real processes while they scan and migrate: each page has exactly the metrics of
//! docs/metrics.md, and every metric changes as documented there. The OTLP collector receives the same names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use mms_proto::scheduler::v1::JobSpec;
use mms_proto::types::v1::MigrationState;
use mms_server::{Client, ClientConfig};
use mms_tests::collector::Collector;
use mms_tests::metrics::{self, Page, Row};
use mms_tests::parts::Parts;
use mms_tests::sandbox::Sandbox;
use mms_tests::suite::{PATIENCE, SERVICES, Suite, everything};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

/// Most jobs that are run until every metric has changed: some change only for milliseconds.
const JOBS: usize = 20;

/// Pause between two scrapes of a page, because each one costs the process time.
const PACE: Duration = Duration::from_millis(10);

/// What was seen on a page over time.
#[derive(Clone, Default)]
struct Seen {
    first: Option<Page>,
    last: Page,
    /// Metrics with a series that changed between two scrapes, and those whose total fell.
    changed: BTreeSet<String>,
    fell: BTreeSet<String>,
}

impl Seen {
    fn look(&mut self, page: Page) {
        for (name, family) in &page {
            let Some(before) = self.last.get(name) else { continue };
            if before != family {
                self.changed.insert(name.clone());
            }
            if family.total() < before.total() {
                self.fell.insert(name.clone());
            }
        }
        self.first.get_or_insert_with(|| page.clone());
        self.last = page;
    }

    /// Whether a metric has moved as its type must: a counter or histogram up and never down, a gauge in any direction.
    fn moved(&self, row: &Row) -> bool {
        let total = |page: &Page| page.get(&row.name).map_or(0.0, metrics::Family::total);
        match row.kind.as_str() {
            "gauge" => self.changed.contains(&row.name),
            _ => self.first.as_ref().map_or(0.0, total) < total(&self.last) && !self.fell.contains(&row.name),
        }
    }
}

/// Scrapes one page all the time, on a thread of its own.
struct Watched {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
    thread: std::thread::JoinHandle<anyhow::Result<()>>,
}

impl Watched {
    fn begin(address: String) -> Self {
        let (stop, seen): (Arc<AtomicBool>, Arc<Mutex<Seen>>) = Default::default();
        let (stopped, keep) = (stop.clone(), seen.clone());
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let page = metrics::read(&metrics::text(&address)?)?;
                keep.lock().unwrap_or_else(PoisonError::into_inner).look(page);
                std::thread::sleep(PACE);
            }
            Ok(())
        });
        Self { stop, seen, thread }
    }

    fn seen(&self) -> Seen {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn end(self) -> anyhow::Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow::anyhow!("the watcher panicked"))?
    }
}

/// Where a service's page differs from the table.
fn faults(service: &str, table: &[Row], seen: &Seen) -> Vec<String> {
    let last = &seen.last;
    let own = |row: &&Row| row.services.iter().any(|name| name == service);
    let known: BTreeSet<&String> = table.iter().filter(own).map(|row| &row.name).collect();
    let mut faults: Vec<String> = last
        .keys()
        .filter(|name| !known.contains(name))
        .map(|name| format!("{service} serves {name}, which its table does not have"))
        .collect();
    for row in table.iter().filter(own) {
        let Some(family) = last.get(&row.name) else {
            faults.push(format!("{service} does not serve {}", row.name));
            continue;
        };
        if family.kind != row.kind || family.help != row.help {
            faults.push(format!("{service}: {} is {family:?}, documented as {row:?}", row.name));
        }
        if family.labels() != row.labels {
            faults.push(format!("{service}: {} has labels {:?}, not {:?}", row.name, family.labels(), row.labels));
        }
        if row.in_job == "still" && seen.changed.contains(&row.name) {
            faults.push(format!("{service}: {} changed", row.name));
        }
    }
    faults
}

/// The metrics that are documented as moving, and moved in no service.
fn unmoved(table: &[Row], watched: &BTreeMap<&str, Watched>) -> Vec<String> {
    let seen: BTreeMap<&str, Seen> = watched.iter().map(|(name, watched)| (*name, watched.seen())).collect();
    let moves = |row: &&Row| row.services.iter().any(|service| seen[service.as_str()].moved(row));
    table.iter().filter(|row| row.in_job == "moves" && !moves(row)).map(|row| row.name.clone()).collect()
}

async fn migrate(suite: &Suite, source: &str) -> anyhow::Result<()> {
    let scan = suite.begin_scan(source).await?;
    suite.scanned(&scan).await?;
    let job = suite.begin_job(source, JobSpec { force: true, ..everything() }).await?;
    suite.done(&job).await?;
    let until = Instant::now() + PATIENCE;
    // Until the scheduler has reported to the catalog.
    loop {
        anyhow::ensure!(Instant::now() < until, "the catalog does not hear of it");
        let found = suite.catalogued(source).await?;
        if found.tables.iter().all(|table| table.state() == MigrationState::Done) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn tables(folder: &Path) -> anyhow::Result<std::path::PathBuf> {
    let root = folder.join("delta-root");
    Parts::create(&root, 30)?;
    mms_sandbox::samples::tpch(&root, 0.01, 1_700_000_000_000)?;
    Ok(root)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_moves_every_metric_as_documented() -> anyhow::Result<()> {
    let (folder, collector) = (tempfile::tempdir()?, Collector::start().await?);
    let sandbox = Sandbox::start(folder.path(), &tables(folder.path())?)?;
    let otlp = format!("http://{}", collector.address);
    let settings = [("SERVER__METRICS__LISTEN", "127.0.0.1:0"), ("TELEMETRY__OTLP_ENDPOINT", &otlp)];
    let mut suite = Suite::processes_all_with(folder.path(), &settings).await?;
    let table = metrics::table()?;
    let mut watched = BTreeMap::new();
    for (name, process) in &mut suite.processes {
        let service = SERVICES.into_iter().find(|service| service == name).context("a service")?;
        watched.insert(service, Watched::begin(metrics::address(process, service).await?));
    }
    // A job makes no call to the worker, so its RPC metrics need this one.
    for service in SERVICES {
        let channel = Client::new(&ClientConfig::to(suite.endpoint(service)), None)?;
        HealthClient::new(channel).check(HealthCheckRequest::default()).await?;
    }
    let source = Box::pin(suite.source(&sandbox.data_source("lake"))).await?;
    let mut left = Vec::new();
    for _ in 0..JOBS {
        migrate(&suite, &source).await?;
        left = unmoved(&table, &watched);
        if left.is_empty() {
            break;
        }
    }
    anyhow::ensure!(left.is_empty(), "these do not move: {left:?}");
    let mut wrong = Vec::new();
    for (service, watched) in watched {
        wrong.extend(faults(service, &table, &watched.seen()));
        watched.end()?;
    }
    anyhow::ensure!(wrong.is_empty(), "{}", wrong.join("\n"));

    // A process that ends sends its last metrics.
    for service in ["transfer", "scheduler", "catalog", "registry"] {
        suite.stop(service)?;
    }
    let sent = String::from_utf8_lossy(&collector.got()).into_owned();
    let missing: Vec<&Row> = table.iter().filter(|row| !sent.contains(&row.name)).collect();
    anyhow::ensure!(missing.is_empty(), "the collector did not get {missing:?}");
    for service in SERVICES {
        anyhow::ensure!(sent.contains(&format!("mms-{service}")), "nothing of {service}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_suite_in_one_process_has_a_page_for_each_service() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut suite = Suite::up(folder.path()).await?;
    let told: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(folder.path().join("up/endpoints.json"))?)?;
    let table = metrics::table()?;
    for service in SERVICES {
        let address = metrics::address(&mut suite.processes[0].1, service).await?;
        assert_eq!(told["metrics"][service], format!("http://{address}/metrics"));
        let channel = Client::new(&ClientConfig::to(suite.endpoint(service)), None)?;
        HealthClient::new(channel).check(HealthCheckRequest::default()).await?;
        let page = metrics::read(&metrics::text(&address)?)?;
        let known =
            |name: &String| table.iter().any(|row| row.name == *name && row.services.iter().any(|by| by == service));
        let strange: Vec<_> = page.keys().filter(|name| !known(name)).collect();
        anyhow::ensure!(strange.is_empty(), "{service} serves {strange:?}");
        let build = page["mms_build_info"].samples.keys().next().context("a version")?;
        anyhow::ensure!(build.contains(&format!("service=\"{service}\"")), "{build}");
    }
    Ok(())
}
