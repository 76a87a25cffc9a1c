//! Findings that a plan makes before a row is read: timestamps beyond the tunnel's range or the target's, types nested too deep
//! or unknown, and log files that were skipped. The tables consist of a log only, as a plan opens no data file.

use std::fs;
use std::path::Path;

use mms_proto::catalog::v1 as pb;
use mms_proto::types::v1::Severity;
use serde_json::{Value, json};

use crate::support::Stand;

fn table(root: &Path, name: &str, fields: &[Value], statistics: &Value) {
    let log = root.join("s").join(name).join("_delta_log");
    fs::create_dir_all(&log).unwrap();
    let schema = json!({ "type": "struct", "fields": fields }).to_string();
    let metadata = json!({ "id": "00000000-0000-4000-8000-000000000001", "format": { "provider": "parquet", "options": {} },
        "schemaString": schema, "partitionColumns": [], "configuration": {}, "createdTime": 0 });
    let add = json!({ "path": "a.parquet", "partitionValues": {}, "size": 1, "modificationTime": 0, "dataChange": true,
        "stats": statistics.to_string() });
    let lines = [
        json!({ "protocol": { "minReaderVersion": 1, "minWriterVersion": 2 } }),
        json!({ "metaData": metadata }),
        json!({ "add": add }),
    ];
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    fs::write(log.join("00000000000000000000.json"), text).unwrap();
}

fn field(name: &str, data_type: Value) -> Value {
    json!({ "name": name, "type": data_type, "nullable": true, "metadata": {} })
}

fn codes(pinned: &pb::PinnedTable) -> Vec<(String, String, Severity)> {
    let findings = pinned.plan.clone().unwrap_or_default().findings;
    findings
        .iter()
        .map(|f| {
            (f.reason().as_str_name().trim_start_matches("FINDING_REASON_").to_owned(), f.column.clone(), f.severity())
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_arrive_is_said_by_column_in_the_plan() {
    let stand = Stand::with_source().await;
    let root = stand.delta_root();
    let deep =
        (0..25).fold(json!("long"), |inner, _| json!({ "type": "array", "elementType": inner, "containsNull": true }));
    let inner = json!({ "type": "struct", "fields": [field("at", json!("timestamp"))] });
    let far = json!({ "numRecords": 1, "minValues": { "at": "2020-01-01T00:00:00.000Z", "s": { "at": "0001-01-01T00:00:00.000Z" } },
        "maxValues": { "at": "9999-12-31T23:59:59.999Z" } });
    table(&root, "far", &[field("id", json!("long")), field("at", json!("timestamp")), field("s", inner)], &far);
    let beyond = json!({ "numRecords": 1, "minValues": { "at": "0000-01-01T00:00:00.000Z", "past": "-0001-12-31T00:00:00.000Z" },
        "maxValues": { "at": "+10000-01-01T00:00:00.000Z", "past": "2020-01-01T00:00:00.000Z" } });
    let times = [field("id", json!("long")), field("at", json!("timestamp")), field("past", json!("timestamp"))];
    table(&root, "beyond", &times, &beyond);
    let near = json!({ "numRecords": 1, "minValues": { "at": "1700-01-01T00:00:00.000Z" }, "maxValues": { "at": "2262-01-01T00:00:00.000Z" } });
    table(&root, "near", &[field("id", json!("long")), field("at", json!("timestamp"))], &near);
    table(&root, "deep", &[field("id", json!("long")), field("d", deep)], &json!({ "numRecords": 1 }));
    table(
        &root,
        "unknown",
        &[field("id", json!("long")), field("g", json!("geometry(4326)"))],
        &json!({ "numRecords": 1 }),
    );
    table(&root, "empty_checkpoint", &[field("id", json!("long"))], &json!({ "numRecords": 1 }));
    fs::write(root.join("s/empty_checkpoint/_delta_log/00000000000000000000.checkpoint.parquet"), "").unwrap();
    stand.scan(pb::Scan::default()).await;

    let found = |code: &str, column: &str, severity| (code.to_owned(), column.to_owned(), severity);
    let (far, files) = stand.pin_table("s", "far").await;
    assert_eq!(
        codes(&far),
        [
            found("TIMESTAMP_BY_STORAGE_API", "at", Severity::Note),
            found("TIMESTAMP_BY_STORAGE_API", "s", Severity::Note)
        ]
    );
    assert_eq!(files.len(), 1, "it is moved by the other way");
    let (beyond, files) = stand.pin_table("s", "beyond").await;
    assert_eq!(
        codes(&beyond),
        [
            found("TIMESTAMP_OUT_OF_RANGE", "at", Severity::Blocker),
            found("TIMESTAMP_OUT_OF_RANGE", "past", Severity::Blocker)
        ]
    );
    assert!(files.is_empty(), "a blocked table has no files to move");
    let told = far.plan.unwrap().findings[0].message.clone();
    assert!(told.contains("9999-12-31") && told.contains("a.parquet"), "{told}");
    assert!(codes(&stand.pin_table("s", "near").await.0).is_empty());
    assert_eq!(codes(&stand.pin_table("s", "deep").await.0), [found("NESTING_TOO_DEEP", "d", Severity::Blocker)]);
    assert_eq!(codes(&stand.pin_table("s", "unknown").await.0), [found("TYPE_UNSUPPORTED", "g", Severity::Blocker)]);
    let (passed, files) = stand.pin_table("s", "empty_checkpoint").await;
    assert_eq!(codes(&passed), [found("LOG_FILE_UNREADABLE", "", Severity::Note)]);
    assert_eq!(files.len(), 1, "it is moved all the same");
}
