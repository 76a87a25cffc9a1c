//! Databricks' own SDK lists the sandbox workspace.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::Context;
use mms_tests::{peers, sandbox::Sandbox, tables};
use serde_json::{Value, json};

#[test]
fn the_sdk_lists_catalogs_schemas_and_tables() -> anyhow::Result<()> {
    let Some(python) = peers::python_databricks() else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let moved = tables::own(folder.path())?;
    let sandbox = Sandbox::start(folder.path(), &moved.delta_root)?;
    // The folder's own names, not the mapped ones of the target.
    let names = std::fs::read_dir(moved.delta_root.join("samples"))?;
    let names = names.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let listed: serde_json::Map<String, Value> =
        names.map(|name: anyhow::Result<String>| Ok((name?, json!({})))).collect::<anyhow::Result<_>>()?;
    let count = listed.len();
    let mut child = Command::new(python)
        .arg(peers::script("databricks_sdk.py"))
        .args(["/workspace/url", "/workspace/token", "/workspace/catalog"].map(|key| sandbox.told(key)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    child.stdin.take().context("stdin is piped")?.write_all(json!({ "samples": listed }).to_string().as_bytes())?;
    let output = child.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("ok") && count > 0, "{text}");
    Ok(())
}
