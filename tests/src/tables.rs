//! The tables that the end to end tests move, with what is to be found in the target: real ones, if the machine has them,
//! and a small set that the tests write themselves, laid out in the same way.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context;

use serde_json::{Value, json};

use crate::peers;

/// A folder with `delta-root` and `expected`.
pub struct Tables {
    /// The source's tables, `<schema>/<table>`.
    pub delta_root: PathBuf,
    /// What the comparison with PyODPS is given.
    pub cases: Vec<Value>,
}

impl Tables {
    /// Compares the target, as PyODPS reads it, with what Spark reads. Nothing to compare with is a skip that counts.
    ///
    /// # Errors
    /// Every table that differs.
    pub fn compare(&self, project: &[String; 4]) -> anyhow::Result<()> {
        let Some(python) = peers::python() else { return Ok(()) };
        let mut child = Command::new(python)
            .arg(peers::script("compare_with_spark.py"))
            .args(project)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        serde_json::to_writer(child.stdin.take().context("stdin is piped")?, &self.cases)?;
        let output = child.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(output.status.success(), "{text}");
        anyhow::ensure!(text.matches(": equal").count() == self.cases.len(), "{text}");
        Ok(())
    }
}

/// The real tables: name, rows, partition columns.
const REAL: [(&str, u64, &[&str]); 9] = [
    ("covid19_nyt", 1_111_930, &[]),
    ("dv-partitioned-with-checkpoint", 35, &["part"]),
    ("table-with-columnmapping-mode-name", 6, &[]),
    ("parquet-all-types", 200, &[]),
    ("data-reader-primitives", 11, &[]),
    ("data-reader-partition-values", 3, &["as_int", "as_long", "as_byte", "as_short", "as_boolean", "as_float"]),
    ("v2-checkpoint-parquet", 10, &[]),
    ("nested_types", 5, &[]),
    ("basic_partitioned", 6, &["letter"]),
];

/// The target's name of a table, by the demo's character mapping.
pub fn mapped(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

fn expected(root: &Path, table: &str) -> Option<PathBuf> {
    let folder = root.join("expected").join(table);
    let latest = folder.join("latest/table_content.parquet");
    [latest, folder].into_iter().find(|path| path.exists())
}

/// The real tables; None, with the line that the runner counts, when `MMS_TEST_TABLES` is not set.
pub fn real() -> Option<Tables> {
    let Some(root) = std::env::var_os("MMS_TEST_TABLES").map(PathBuf::from) else {
        println!("SKIPPED real tables: MMS_TEST_TABLES names no folder");
        return None;
    };
    let case = |(table, rows, partition_columns): &(&str, u64, &[&str])| {
        // Timestamp partition values in a Delta log carry no zone; this table was written at UTC-7.
        let shifted = if *table == "data-reader-partition-values" { json!({ "as_timestamp": 7 }) } else { json!({}) };
        json!({
            "schema": "real", "table": mapped(table), "rows": rows, "partition_columns": partition_columns,
            "expected": expected(&root, table), "shifted": shifted,
        })
    };
    Some(Tables { delta_root: root.join("delta-root"), cases: REAL.iter().map(case).collect() })
}

/// What becomes of characters that a partition value cannot have at the target; and of `%`, which the target takes but
/// PyODPS decodes twice when it signs, so that it could not read the partition back.
pub fn partition_characters() -> Value {
    json!({ "/": "_", "=": "-", "ü": "u", "ß": "s", "%": "_" })
}

/// Tables that the tests write themselves into a folder: partitions, NULLs, every type, nested, deletion vectors.
///
/// # Errors
/// The folder cannot be written.
pub fn own(folder: &Path) -> anyhow::Result<Tables> {
    let written = mms_sandbox::samples::types(folder, 1_700_000_000_000)?;
    let partitions = |table: &str| -> Vec<String> {
        let log = folder.join("delta-root/samples").join(table).join("_delta_log/00000000000000000000.json");
        let text = std::fs::read_to_string(log).unwrap_or_default();
        let meta = text
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .find(|v| v["metaData"].is_object());
        let named = meta.and_then(|v| v["metaData"]["partitionColumns"].as_array().cloned()).unwrap_or_default();
        named.iter().take(6).filter_map(|v| v.as_str().map(str::to_owned)).collect()
    };
    let case = |table: &mms_sandbox::samples::SampleTable| {
        json!({
            "schema": table.schema, "table": mapped(&table.name), "rows": table.rows,
            "partition_columns": partitions(&table.name),
            "expected": folder.join("expected").join(&table.name), "characters": partition_characters(),
        })
    };
    let cases = written.iter().map(case).collect();
    Ok(Tables { delta_root: folder.join("delta-root"), cases })
}
