//! What the workspace reports about a table can keep it from being read from its files: each case is its own finding, with a
//! remedy.

use mms_proto::catalog::v1 as pb;
use mms_proto::types::v1::{FindingReason, Severity};
use serde_json::{Value, json};

use crate::support::{SOURCE, Stand, create_table};

/// Tables with the workspace's report about each, and the finding that follows.
fn told() -> [(&'static str, Value, FindingReason); 8] {
    use FindingReason::{
        FormatUnsupported, KindUnsupported, RowFilterOrMask, ShallowCloneUnsupported, StorageUnreadable,
    };
    let kind = |kind: &str| json!({ "table_type": kind });
    let masked = json!({ "name": "id", "position": 0, "type_text": "bigint", "mask": { "function_name": "main.s.f" } });
    [
        ("view", json!({ "table_type": "VIEW", "storage_location": null }), KindUnsupported),
        ("foreign", json!({ "table_type": "FOREIGN", "storage_location": null }), KindUnsupported),
        ("stream", kind("STREAMING_TABLE"), KindUnsupported),
        ("clone", kind("MANAGED_SHALLOW_CLONE"), ShallowCloneUnsupported),
        ("csv", json!({ "data_source_format": "CSV" }), FormatUnsupported),
        (
            "filtered",
            json!({ "row_filter": { "function_name": "main.s.f", "input_column_names": [] } }),
            RowFilterOrMask,
        ),
        ("masked", json!({ "columns": [masked] }), RowFilterOrMask),
        ("far", json!({ "storage_location": "s3://bucket/t" }), StorageUnreadable),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn each_is_a_blocker_with_its_reason_and_a_remedy() {
    let stand = Stand::with_source().await;
    let folder = stand.delta_root().join("s-1");
    for (name, object, _) in told() {
        create_table(&stand.delta_root(), "s-1", name, false);
        std::fs::write(folder.join(name).join("_object.json"), object.to_string()).unwrap();
    }
    create_table(&stand.delta_root(), "s-1", "plain", false);
    stand.scan(pb::Scan::default()).await;
    for (name, _, reason) in told() {
        let (pinned, files) = stand.pin_table("s-1", name).await;
        let plan = pinned.plan.unwrap();
        let blocker = plan.findings.iter().find(|finding| finding.severity() == Severity::Blocker);
        let blocker = blocker.unwrap_or_else(|| panic!("{name}: {plan:?}"));
        assert_eq!(blocker.reason(), reason, "{name}: {blocker:?}");
        assert!(
            !blocker.remedy.is_empty() && blocker.table == format!("{SOURCE}/schemas/s-1/tables/{name}"),
            "{blocker:?}"
        );
        assert!(plan.target.is_none() && files.is_empty(), "{name}");
    }
    let plan = stand.pin_table("s-1", "plain").await.0.plan.unwrap();
    let renamed = plan.findings.iter().find(|finding| finding.reason() == FindingReason::SchemaRenamed);
    assert_eq!(renamed.map(|finding| finding.severity()), Some(Severity::Note), "{plan:?}");
}
