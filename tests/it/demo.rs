//! The demo as the README describes it, also over the real tables: its kept project, served again, has what Spark
//! reads.

use std::path::Path;
use std::process::Command;

use anyhow::Context;
use mms_tests::process::{Process, program};
use mms_tests::tables::REAL;
use mms_tests::{peers, sandbox::Sandbox, tables};
use serde_json::Value;

fn demo(args: &[&str]) -> anyhow::Result<String> {
    let mut command = Command::new(program("mms")?);
    command.arg("demo").args(args).env_remove("MMS_TEST_TABLES");
    Ok(String::from_utf8(peers::run(&mut command)?.stdout)?)
}

fn text(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("a path of text")
}

#[test]
fn real_tables_all_arrive() -> anyhow::Result<()> {
    let Some(moved) = tables::real()? else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let kept = folder.path().join("kept");
    // The demo succeeds only if every table was moved.
    let said = demo(&["--json", "--keep", text(&kept)?, "--delta-root", text(&moved.delta_root)?])?;
    let results = said.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    assert_eq!(results.len(), REAL.len(), "{said}");
    for (table, rows, _) in REAL {
        let found = results.iter().find(|result| result["table"] == table).with_context(|| said.clone())?;
        assert_eq!((&found["schema"], &found["state"]), (&"real".into(), &"DONE".into()), "{found}");
        let rows = Value::from(rows.to_string());
        assert_eq!((&found["sourceRows"], &found["targetRows"]), (&rows, &rows), "{found}");
        assert!(found["deltaVersion"].is_string() && found["reasons"].is_null(), "{found}");
    }
    let sandbox = Sandbox::serve(&kept)?;
    moved.compare(&sandbox.project())
}

/// Follows the demo's instructions to read its largest table with PyODPS; checks the rows of each partition.
async fn read_as_told(said: &str, folder: &Path) -> anyhow::Result<()> {
    let Some(python) = peers::python() else { return Ok(()) };
    let (_, told) = said.split_once("Read it with PyODPS, while the project is served:").context("how to read")?;
    let (serve, program_text) = told.split_once("\n\nfrom odps").context("a program")?;
    let mut command = Command::new(program("mms")?);
    command.args(serve.trim().split(' ').skip(1));
    let mut served = Process::start("served", &mut command, folder)?;
    served.says(|line| line.contains("accessKeySecret").then_some(())).await?;
    let script = folder.join("read.py");
    std::fs::write(&script, format!("from odps{program_text}"))?;
    let read = String::from_utf8(peers::run(Command::new(python).arg(&script))?.stdout)?;
    let counts: Vec<u64> = read.lines().filter_map(|line| line.rsplit(' ').next()?.parse().ok()).collect();
    assert_eq!((counts.len(), counts.iter().sum::<u64>()), (7, 600_572), "{read}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_command_of_the_readme() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let kept = folder.path().join("kept");
    let said = demo(&["--keep", text(&kept)?])?;
    let done = said.lines().filter(|line| line.contains("tpch.") && line.contains("DONE")).count();
    assert_eq!(done, 8, "{said}");
    for part in ["600,572", "CREATE TABLE IF NOT EXISTS", "from odps import ODPS"] {
        assert!(said.contains(part), "{part} in {said}");
    }
    read_as_told(&said, folder.path()).await
}
