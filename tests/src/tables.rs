//! The tables that the end-to-end tests move, and what the target must have afterwards: real tables, if the machine has
//! them, and a small set that the tests write themselves in the same layout.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context;
use serde_json::{Value, json};

use crate::peers;

/// A folder of tables, and the cases to compare at the target.
pub struct Tables {
    /// The folder of the source's tables, `<schema>/<table>`.
    pub delta_root: PathBuf,
    /// The cases for the comparison program, one JSON object per table.
    pub cases: Vec<Value>,
}

impl Tables {
    /// Compares the target, as PyODPS reads it, with what Spark reads. Without Python this is a skip that the runner
    /// counts.
    ///
    /// # Errors
    /// A table differs; the text names all that do.
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
pub const REAL: [(&str, u64, &[&str]); 9] = [
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

/// The one real table that has no rows read by Spark beside it. Its log is one commit of plain files that Spark wrote,
/// so the rows of those files are used.
const WITHOUT_EXPECTED: &str = "covid19_nyt";

/// The name of a table at the target, by the demo's mapping of characters.
pub fn mapped(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

fn expected(root: &Path, table: &str) -> anyhow::Result<PathBuf> {
    let folder = match table {
        WITHOUT_EXPECTED => root.join("delta-root/real").join(table),
        _ => root.join("expected").join(table),
    };
    let latest = folder.join("latest/table_content.parquet");
    [latest, folder]
        .into_iter()
        .find(|path| path.exists())
        .with_context(|| format!("{} has no rows of {table} to compare with", root.display()))
}

fn real_case(root: &Path, table: &str, rows: u64, partition_columns: &[&str]) -> anyhow::Result<Value> {
    // Timestamps in partition values of a Delta log have no time zone; this table was written at UTC-7.
    let shifted = if table == "data-reader-partition-values" { json!({ "as_timestamp": 7 }) } else { json!({}) };
    Ok(json!({
        "schema": "real", "table": mapped(table), "rows": rows, "partition_columns": partition_columns,
        "expected": expected(root, table)?, "shifted": shifted,
    }))
}

/// The folder of the real tables, if the machine has them.
pub fn real_folder() -> Option<PathBuf> {
    std::env::var_os("MMS_TEST_TABLES").map(PathBuf::from)
}

/// The real tables. `None`, with the line that the runner counts, if `MMS_TEST_TABLES` is not set.
///
/// # Errors
/// The folder is incomplete.
pub fn real() -> anyhow::Result<Option<Tables>> {
    let Some(root) = real_folder() else {
        println!("SKIPPED real tables: MMS_TEST_TABLES names no folder");
        return Ok(None);
    };
    let cases = REAL.iter().map(|(table, rows, levels)| real_case(&root, table, *rows, levels));
    Ok(Some(Tables { delta_root: root.join("delta-root"), cases: cases.collect::<anyhow::Result<_>>()? }))
}

/// The replacements of characters that a partition value cannot have at the target, and of `%`, which the target
/// accepts but PyODPS decodes twice when it signs, so that it could not read the partition. All other characters stay.
pub fn partition_characters() -> Value {
    json!({ "/": "_", "=": "-", "ü": "u", "ß": "s", "%": "_" })
}

/// Writes tables into a folder: with partitions, NULLs, every type, nested types, deletion vectors.
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

/// Our own tables and a large one: the real one if the machine has it, else the line items of TPC-H. Also returns the
/// large table's name at the source.
///
/// # Errors
/// The folder cannot be written.
pub fn own_and_large(folder: &Path) -> anyhow::Result<(Tables, &'static str)> {
    let mut tables = own(folder)?;
    if let Some(root) = real_folder() {
        let (table, rows, levels) = REAL[0];
        copy(&root.join("delta-root/real").join(table), &tables.delta_root.join("real").join(table))?;
        tables.cases.push(real_case(&root, table, rows, levels)?);
        return Ok((tables, table));
    }
    let (table, level) = ("lineitem", "l_shipmode");
    let written = mms_sandbox::samples::tpch(&tables.delta_root, 0.1, 1_700_000_000_000)?;
    let tpch = tables.delta_root.join("tpch");
    for other in written.iter().filter(|other| other.name != table) {
        std::fs::remove_dir_all(tpch.join(&other.name))?;
    }
    let rows = written.iter().find(|found| found.name == table).map(|found| found.rows);
    tables.cases.push(json!({
        "schema": "tpch", "table": table, "rows": rows, "partition_columns": [level], "expected": tpch.join(table),
    }));
    Ok((tables, table))
}

/// Copies a folder with everything in it.
///
/// # Errors
/// A file cannot be read or written.
pub fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy(&entry.path(), &target)?,
            false => std::fs::write(target, std::fs::read(entry.path())?)?,
        }
    }
    Ok(())
}
