//! PyODPS creates, writes and reads tables in the sandbox's project.

use std::process::Command;

use mms_tests::{peers, sandbox::Sandbox};

#[test]
fn pyodps_creates_writes_and_reads() -> anyhow::Result<()> {
    run("pyodps_project.py")
}

#[test]
fn pyodps_writes_and_reads_by_the_storage_api() -> anyhow::Result<()> {
    run("pyodps_storage.py")
}

fn run(script: &str) -> anyhow::Result<()> {
    let Some(python) = peers::python() else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let root = folder.path().join("delta-root");
    std::fs::create_dir_all(root.join("empty"))?;
    let sandbox = Sandbox::start(folder.path(), &root)?;
    peers::run(Command::new(python).arg(peers::script(script)).args(sandbox.project()))?;
    Ok(())
}
