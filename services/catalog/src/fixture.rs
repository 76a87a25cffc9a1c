//! Writes small Delta logs for unit tests.

use std::path::Path;
use std::sync::Arc;

use mms_delta::{DeltaTable, Snapshot};
use serde_json::json;

/// Opens a table that is partitioned by `p` and `q`, with one commit for each file of `spec`. The last file has statistics of
/// 70,000 bytes, so that a list without memory must drop its files.
pub async fn snapshot(folder: &Path, spec: &[(u8, u8)]) -> Snapshot {
    let log = folder.join("_delta_log");
    std::fs::create_dir_all(&log).unwrap();
    let column = |name: &str| json!({ "name": name, "type": "string", "nullable": true, "metadata": {} });
    let schema = json!({ "type": "struct", "fields": [column("p"), column("q"), column("v")] }).to_string();
    let first = [
        json!({ "protocol": { "minReaderVersion": 1, "minWriterVersion": 2 } }),
        json!({ "metaData": { "id": "1", "format": { "provider": "parquet", "options": {} }, "schemaString": schema,
            "partitionColumns": ["p", "q"], "configuration": {}, "createdTime": 0 } }),
    ];
    let line = |actions: &[serde_json::Value]| actions.iter().map(|action| format!("{action}\n")).collect::<String>();
    std::fs::write(log.join("00000000000000000000.json"), line(&first)).unwrap();
    for (number, (p, q)) in spec.iter().enumerate() {
        let p = (*p > 0).then(|| format!("v{p}"));
        let long = if number + 1 == spec.len() { 70_000 } else { 0 };
        let stats = json!({ "numRecords": 1, "minValues": { "v": "a" }, "of": "x".repeat(long) }).to_string();
        let add = json!({ "add": { "path": format!("f{number}"), "partitionValues": { "p": p, "q": q.to_string() }, "size": 1,
            "modificationTime": 0, "dataChange": true, "stats": stats } });
        std::fs::write(log.join(format!("{:020}.json", number + 1)), line(&[add])).unwrap();
    }
    let root = url::Url::from_directory_path(folder.canonicalize().unwrap()).unwrap();
    let store = Arc::new(object_store::local::LocalFileSystem::new());
    DeltaTable::open(store, &root, None).await.unwrap()
}
