//! A worker in Python does SCHEMA-only tasks beside the Rust worker, and what it held when it is killed passes on.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::Context;
use mms_proto::scheduler::v1::{JobSpec, MigrationContent};
use mms_tests::suite::{Suite, everything};
use mms_tests::{peers, sandbox::Sandbox, tables};

struct PythonWorker {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
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
        let lines = BufReader::new(child.stdout.take().context("stdout is piped")?).lines();
        let mut worker = Self { child, lines };
        anyhow::ensure!(worker.line()? == "registered", "the worker did not register");
        Ok(worker)
    }

    fn line(&mut self) -> anyhow::Result<String> {
        Ok(self.lines.next().context("the worker ended")??)
    }
}

impl Drop for PythonWorker {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn schema_only(pool: &str) -> JobSpec {
    JobSpec { content: MigrationContent::SchemaOnly as i32, force: true, pool: pool.to_owned(), ..everything() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_passes_on_from_a_killed_python_worker() -> anyhow::Result<()> {
    let Some(python) = peers::python() else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let moved = tables::own(folder.path())?;
    let sandbox = Sandbox::start(folder.path(), &moved.delta_root)?;
    let mut suite = Suite::processes(folder.path(), 2).await?;
    let source = Box::pin(suite.source(&sandbox.data_source("lake"))).await?;
    let scan = suite.begin_scan(&source).await?;
    suite.scanned(&scan).await?;

    // The Rust worker is away for a moment, so that the first tasks are Python's.
    suite.stop("transfer")?;
    let mut held = PythonWorker::start(&python, &suite, "python-held", &["--hold"])?;
    let mut works = PythonWorker::start(&python, &suite, "python-works", &["--tasks", "1"])?;
    let job = suite.begin_job(&source, schema_only("")).await?;
    let leased = held.line()?;
    let task = leased.strip_prefix("leased ").context("a lease")?.to_owned();
    let first = works.line()?;
    assert!(first.starts_with("leased "), "{first}");
    assert_eq!(works.line()?, first.replace("leased", "done"));
    drop(held);

    suite.start("transfer", "transfer")?;
    suite.done(&job).await?;
    let tasks = suite.tasks(&job).await?;
    let passed_on = tasks.iter().find(|found| found.name == task).context("the held task")?;
    assert!(passed_on.attempt > 1, "{passed_on:?}");
    let tables = suite.job_tables(&job).await?;
    assert_eq!(tables.len(), moved.cases.len());
    Ok(())
}
