//! Databricks' own SDK logs in with a token and as an OAuth client, and lists a sandbox workspace whose pages are so
//! small that every list takes several.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::Context;
use mms_sandbox::workspace::{Client, Workspace, WorkspaceConfig};
use mms_tests::{peers, tables};
use serde_json::{Value, json};

/// Columns as the workspace must show them: name, type_name, type_text, partition_index.
fn columns(of: &[(&str, &str, &str)], partition_columns: &[&str]) -> Value {
    let index = |name: &str| partition_columns.iter().position(|column| *column == name);
    let shown = of.iter().map(|(name, kind, text)| json!([name, kind, text, index(name)]));
    json!({ "columns": shown.collect::<Vec<_>>() })
}

const NUMBERS: &[(&str, &str, &str)] = &[("id", "LONG", "bigint"), ("name", "STRING", "string")];

/// Every table of the samples, written down by hand: nothing is computed with the code under test.
fn expected() -> Value {
    let every_type = [
        ("id", "LONG", "bigint"),
        ("a_boolean", "BOOLEAN", "boolean"),
        ("a_byte", "BYTE", "tinyint"),
        ("a_short", "SHORT", "smallint"),
        ("an_integer", "INT", "int"),
        ("a_long", "LONG", "bigint"),
        ("a_float", "FLOAT", "float"),
        ("a_double", "DOUBLE", "double"),
        ("a_price", "DECIMAL", "decimal(9,2)"),
        ("a_balance", "DECIMAL", "decimal(18,4)"),
        ("a_huge", "DECIMAL", "decimal(38,18)"),
        ("a_string", "STRING", "string"),
        ("a_binary", "BINARY", "binary"),
        ("a_date", "DATE", "date"),
        ("an_instant", "TIMESTAMP", "timestamp"),
        ("a_wall_clock", "TIMESTAMP_NTZ", "timestamp_ntz"),
    ];
    let nested = [
        ("id", "LONG", "bigint"),
        ("list", "ARRAY", "array<int>"),
        ("struct", "STRUCT", "struct<x:int,y:string>"),
        ("map", "MAP", "map<string,int>"),
        ("structs", "ARRAY", "array<struct<n:int,s:string>>"),
        ("lists", "ARRAY", "array<array<int>>"),
        ("map_of_structs", "MAP", "map<int,struct<n:int,s:string>>"),
    ];
    let partitioned =
        [("region", "STRING", "string"), ("id", "LONG", "bigint"), ("day", "INT", "int"), ("note", "STRING", "string")];
    let partition_types = [
        ("id", "LONG", "bigint"),
        ("p_boolean", "BOOLEAN", "boolean"),
        ("p_byte", "BYTE", "tinyint"),
        ("p_short", "SHORT", "smallint"),
        ("p_integer", "INT", "int"),
        ("p_long", "LONG", "bigint"),
        ("p_float", "FLOAT", "float"),
        ("p_double", "DOUBLE", "double"),
        ("p_decimal", "DECIMAL", "decimal(9,2)"),
        ("p_string", "STRING", "string"),
        ("p_date", "DATE", "date"),
        ("p_instant", "TIMESTAMP", "timestamp"),
    ];
    let inside = "struct<first, name:int,zweiter;Name:int>";
    let listed = format!("array<{inside}>");
    let mapped = [
        ("the id", "LONG", "bigint"),
        ("part of, it", "STRING", "string"),
        ("Größe {cm}", "INT", "int"),
        ("in(side)", "STRUCT", inside),
        ("list=ed", "ARRAY", &listed),
    ];
    let all: Vec<&str> = partition_types[1..].iter().map(|(name, ..)| *name).collect();
    json!({
        "every_type": columns(&every_type, &[]),
        "nested": columns(&nested, &[]),
        "partitioned": columns(&partitioned, &["region", "day"]),
        "every_partition_type": columns(&partition_types, &all),
        "deleted_inline": columns(NUMBERS, &[]),
        "deleted_file": columns(NUMBERS, &[]),
        "mapped": columns(&mapped, &["part of, it"]),
        "rewritten": columns(NUMBERS, &[]),
        "widened": columns(&[NUMBERS, &[("later", "STRING", "string")]].concat(), &[]),
        "empty": columns(NUMBERS, &[]),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sdk_lists_catalogs_schemas_and_tables() -> anyhow::Result<()> {
    let Some(python) = peers::python_databricks() else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let written = tables::own(folder.path())?;
    for schema in ["first", "second", "third"] {
        std::fs::create_dir_all(written.delta_root.join(schema))?;
    }
    let workspace = Workspace::start(WorkspaceConfig {
        client: Some(Client {
            id: "mover".to_owned(),
            secret: "dose-test".to_owned().into(),
            token_life: std::time::Duration::from_secs(3600),
        }),
        page_size: 2,
        ..WorkspaceConfig::new(written.delta_root.clone(), "main", "dapi-test")
    })
    .await?;
    let expected = json!({ "samples": expected(), "first": {}, "second": {}, "third": {} });
    let arguments =
        [workspace.url(), "dapi-test".to_owned(), "main".to_owned(), "mover".to_owned(), "dose-test".to_owned()];
    let output = tokio::task::spawn_blocking(move || -> anyhow::Result<_> {
        let mut child = Command::new(python)
            .arg(peers::script("databricks_sdk.py"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        child.stdin.take().context("stdin is piped")?.write_all(expected.to_string().as_bytes())?;
        Ok(child.wait_with_output()?)
    })
    .await??;
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("ok 4 schemas, 10 tables, and as mover"), "{text}");
    workspace.shutdown().await;
    Ok(())
}
