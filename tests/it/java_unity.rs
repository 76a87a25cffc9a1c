//! The Java client of the open Unity Catalog logs in as an OAuth client, lists a sandbox workspace whose pages are so
//! small that every list takes several, and has credentials vended.

use std::collections::BTreeMap;

use anyhow::Context;
use mms_sandbox::workspace::{Client, Vending, Workspace, WorkspaceConfig};
use mms_tests::{peers, tables};
use serde_json::{Value, json};

/// A table in the account for which credentials are vended, and one that may not be used from outside.
const PLACED: [(&str, &str); 2] = [("clouded", "open"), ("closed", "shut")];

fn config(delta_root: &std::path::Path) -> WorkspaceConfig {
    let hour = std::time::Duration::from_secs(3600);
    WorkspaceConfig {
        client: Some(Client { id: "mover".to_owned(), secret: "dose-test".to_owned().into(), token_life: hour }),
        vending: Some(Vending {
            account: "lakeaccount".to_owned(),
            key: "a2V5LW9mLXRoZS1hY2NvdW50".to_owned().into(),
            life: hour,
            denied_schemas: vec!["closed".to_owned()],
        }),
        page_size: 2,
        ..WorkspaceConfig::new(delta_root.to_owned(), "main", "dapi-test")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_lists_pages_and_has_credentials_vended() -> anyhow::Result<()> {
    let Some(mut java) = peers::java("java/UnityCatalog.java") else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let written = tables::own(folder.path())?;
    for (schema, table) in PLACED {
        let folder = written.delta_root.join(schema).join(table);
        std::fs::create_dir_all(&folder)?;
        let object = json!({ "storage_location": format!("abfss://lake@lakeaccount.dfs.core.windows.net/{table}") });
        std::fs::write(folder.join("_object.json"), object.to_string())?;
    }
    let workspace = Workspace::start(config(&written.delta_root)).await?;
    java.args([workspace.url(), "mover".to_owned(), "dose-test".to_owned(), "main".to_owned()]);
    let output = tokio::task::spawn_blocking(move || peers::run(&mut java)).await??;
    let mut lines: Vec<Value> =
        String::from_utf8(output.stdout)?.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let pages = lines.pop().context("the pages")?["pages"].clone();
    for list in ["schemas", "tables"] {
        assert!(pages[list].as_u64() > Some(2), "{pages}: nothing was crossed");
    }
    let found: BTreeMap<&str, &Value> = lines.iter().filter_map(|line| Some((line["table"].as_str()?, line))).collect();
    assert_eq!(found.len(), 10 + PLACED.len(), "{:?}", found.keys());
    let vended = |table: &str| found[table]["vended"].as_str().unwrap_or_default().to_owned();
    assert_eq!(vended("clouded.open"), "ok");
    let refused = vended("closed.shut");
    assert!(refused.starts_with("403 ") && refused.contains("EXTERNAL USE SCHEMA"), "{refused}");
    let local = vended("samples.partitioned");
    assert!(local.starts_with("400 "), "files of this machine need no credential: {local}");
    let table = found["samples.partitioned"];
    assert_eq!((&table["type"], &table["format"]), (&json!("EXTERNAL"), &json!("DELTA")));
    let columns = json!([
        ["region", "STRING", "string", 0],
        ["id", "LONG", "bigint", null],
        ["day", "INT", "int", 1],
        ["note", "STRING", "string", null],
    ]);
    assert_eq!(table["columns"], columns);
    workspace.shutdown().await;
    Ok(())
}
