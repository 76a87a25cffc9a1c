//! A worker in Python does tasks beside the Rust worker, knowing only the contract: tasks with SCHEMA only, and whole
//! tasks with their rows. When it is killed, another worker gets the task that it held.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::Context;
use mms_proto::scheduler::v1::{JobSpec, JobState, MigrationContent, TablesScope, job_spec};
use mms_proto::types::v1::{SourceTable, Verdict};
use mms_tests::suite::{PATIENCE, Suite, everything};
use mms_tests::tables::{self, Tables};
use mms_tests::{peers, sandbox::Sandbox};
use serde_json::json;

/// Most jobs until both workers have finished a task, and the worker that holds its lease has got one.
const JOBS_MAX: usize = 20;

struct PythonWorker {
    child: Child,
    lines: Receiver<String>,
}

impl PythonWorker {
    fn start(python: &Path, suite: &Suite, id: &str, flags: &[&str]) -> anyhow::Result<Self> {
        let address = |service: &str| suite.endpoint(service).trim_start_matches("http://").to_owned();
        let mut child = Command::new(python)
            .arg(peers::script("python_worker.py"))
            .args([address("scheduler"), address("registry")])
            .arg(suite.token_file())
            .arg(id)
            .args(flags)
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().context("stdout is piped")?;
        let (send, lines) = channel();
        std::thread::spawn(move || {
            BufReader::new(output).lines().map_while(Result::ok).try_for_each(|line| send.send(line))
        });
        let worker = Self { child, lines };
        let first = worker.lines.recv_timeout(PATIENCE).context("the worker ended")?;
        anyhow::ensure!(first == "registered", "the worker did not register: {first}");
        Ok(worker)
    }
}

impl Drop for PythonWorker {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn schema_only() -> JobSpec {
    JobSpec { content: MigrationContent::SchemaOnly as i32, force: true, ..everything() }
}

/// The workers that a task was leased to, in order, by its log. The last one finished it, because others are fenced.
async fn holders(suite: &Suite, task: &str) -> anyhow::Result<Vec<String>> {
    let logs = suite.task_logs(task).await?;
    let leased = |message: &str| Some(message.strip_prefix("leased to workers/")?.split(',').next()?.to_owned());
    Ok(logs.iter().filter_map(|log| leased(&log.message)).collect())
}

async fn finishers(suite: &Suite, job: &str) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for task in suite.tasks(job).await? {
        found.extend(holders(suite, &task.name).await?.pop());
    }
    Ok(found)
}

#[tokio::test(flavor = "multi_thread")]
async fn both_workers_finish_tasks_and_a_lease_passes_on() -> anyhow::Result<()> {
    let Some(python) = peers::python() else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let moved = tables::own(folder.path())?;
    let sandbox = Sandbox::start(folder.path(), &moved.delta_root)?;
    let suite = Suite::processes(folder.path(), 2).await?;
    let source = Box::pin(suite.source(&sandbox.data_source("lake"))).await?;
    let scan = suite.begin_scan(&source).await?;
    suite.scanned(&scan).await?;

    // The worker that asks first gets a task: after a few jobs both have finished some.
    let works = PythonWorker::start(&python, &suite, "python-works", &[])?;
    let (mut ours, mut theirs, mut jobs) = (0, 0, 0);
    while ours == 0 || theirs == 0 {
        jobs += 1;
        anyhow::ensure!(jobs <= JOBS_MAX, "in {JOBS_MAX} jobs Rust finished {ours} tasks, Python {theirs}");
        let job = suite.begin_job(&source, schema_only()).await?;
        suite.done(&job).await?;
        let finished = finishers(&suite, &job).await?;
        assert!(finished.len() >= moved.cases.len(), "{finished:?}");
        theirs += finished.iter().filter(|worker| *worker == "python-works").count();
        ours += finished.iter().filter(|worker| !worker.starts_with("python-")).count();
    }
    drop(works);

    // A worker that only holds its lease, beside the Rust worker, and is killed.
    let held = PythonWorker::start(&python, &suite, "python-held", &["--hold"])?;
    let until = Instant::now() + PATIENCE;
    let mut job = suite.begin_job(&source, schema_only()).await?;
    let task = loop {
        if let Ok(line) = held.lines.recv_timeout(Duration::from_millis(20)) {
            break line.strip_prefix("leased ").context("a lease")?.to_owned();
        }
        anyhow::ensure!(Instant::now() < until, "the worker that holds gets no task");
        if suite.job(&job).await?.state() == JobState::Done {
            job = suite.begin_job(&source, schema_only()).await?;
        }
    };
    assert_eq!(holders(&suite, &task).await?, ["python-held"]);
    drop(held);
    suite.done(&job).await?;
    let after = holders(&suite, &task).await?;
    assert!(after.len() > 1 && after.last().is_some_and(|last| !last.starts_with("python-")), "{after:?}");
    Ok(())
}

/// Small unpartitioned tables of TPC-H: integers, texts and decimals.
fn small(folder: &Path) -> anyhow::Result<Tables> {
    const KEPT: [&str; 3] = ["region", "nation", "supplier"];
    let delta_root = folder.join("delta-root");
    let written = mms_sandbox::samples::tpch(&delta_root, 0.001, 1_700_000_000_000)?;
    let tpch = delta_root.join("tpch");
    for other in written.iter().filter(|other| !KEPT.contains(&other.name.as_str())) {
        std::fs::remove_dir_all(tpch.join(&other.name))?;
    }
    let kept = written.iter().filter(|table| KEPT.contains(&table.name.as_str()));
    let case = |table: &mms_sandbox::samples::SampleTable| {
        json!({
            "schema": "tpch", "table": table.name, "rows": table.rows, "partition_columns": [],
            "expected": tpch.join(&table.name),
        })
    };
    Ok(Tables { cases: kept.map(case).collect(), delta_root })
}

/// A job for one pool of workers.
fn of(pool: &str, tables: &[&str]) -> JobSpec {
    let table = |table: &&str| SourceTable { schema: "tpch".to_owned(), table: (*table).to_owned() };
    let tables = TablesScope { tables: tables.iter().map(table).collect() };
    JobSpec { scope: Some(job_spec::Scope::Tables(tables)), pool: pool.to_owned(), force: true, ..everything() }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_moved_by_the_contract_alone() -> anyhow::Result<()> {
    let Some(python) = peers::python() else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let moved = small(folder.path())?;
    let sandbox = Sandbox::start(folder.path(), &moved.delta_root)?;
    let suite = Suite::processes(folder.path(), 2).await?;
    let source = Box::pin(suite.source(&sandbox.data_source("lake"))).await?;
    let scan = suite.begin_scan(&source).await?;
    suite.scanned(&scan).await?;
    let _works = PythonWorker::start(&python, &suite, "python-rows", &["--rows", "--pool", "python"])?;

    // Each worker moves other tables at the same time; then Python moves all of them, over what either wrote.
    let ours = suite.begin_job(&source, of("", &["nation"])).await?;
    let theirs = suite.begin_job(&source, of("python", &["region", "supplier"])).await?;
    suite.done(&ours).await?;
    suite.done(&theirs).await?;
    moved.compare(&sandbox.project())?;
    let all = suite.begin_job(&source, of("python", &["region", "nation", "supplier"])).await?;
    suite.done(&all).await?;
    moved.compare(&sandbox.project())?;
    for (job, tasks) in [(&theirs, 2), (&all, 3)] {
        assert_eq!(finishers(&suite, job).await?, vec!["python-rows"; tasks]);
        let checks = suite.checks(job).await?;
        assert!(checks.len() == tasks && checks.iter().all(|check| check.verdict() == Verdict::Equal), "{checks:?}");
    }
    assert!(finishers(&suite, &ours).await?.iter().all(|worker| worker != "python-rows"));
    Ok(())
}
