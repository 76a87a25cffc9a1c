//! A scan reads schemas, tables, partitions and logs. One broken object does not fail the others, and what no longer exists is
//! marked deleted.

use crate::support::{SOURCE, Stand, append, create_table};
use mms_proto::catalog::v1 as pb;
use mms_proto::registry::v1::MigrationSettings;
use mms_proto::types::v1::SourceTable;
use mms_proto::{ApiError, ErrorReason};
use pb::ScanState;

#[tokio::test(flavor = "multi_thread")]
async fn everything_in_scope_is_read_and_what_vanishes_is_marked() {
    let stand = Stand::with_source().await;
    let root = stand.delta_root();
    append(&mut create_table(&root, "sales", "plain", false), &[Some("a"), Some("b")]);
    let mut parts = create_table(&root, "sales", "parts", true);
    append(&mut parts, &[Some("a b"), None, Some("c")]);
    create_table(&root, "hr", "empty", false);
    for number in 0..5 {
        append(&mut create_table(&root, "many", &format!("t{number}"), false), &[None]);
    }

    let scan = stand.scan(pb::Scan::default()).await;
    assert_eq!(scan.state(), ScanState::Done, "{scan:?}");
    let progress = scan.progress.unwrap();
    assert_eq!((progress.schemas_found, progress.tables_found, progress.tables_read), (3, 8, 8));
    assert_eq!((progress.partitions_found, progress.vanished, progress.listing_done), (3, 0, true));

    let table = stand.table("sales", "parts").await;
    assert_eq!(table.partition_columns, ["p"]);
    assert_eq!((table.row_count, table.partitions.unwrap().total), (Some(3), 3));
    assert!(table.size_bytes.unwrap() > 0 && table.version.is_some() && table.scan_error.is_empty());
    let partitions = stand
        .browse()
        .list_partitions(pb::ListPartitionsRequest { parent: table.name.clone(), ..Default::default() })
        .await
        .unwrap()
        .into_inner()
        .partitions;
    let names: Vec<_> = partitions.iter().map(|p| p.name.rsplit('/').next().unwrap().to_owned()).collect();
    assert_eq!(names, ["p", "p=a%20b", "p=c"], "NULL is a key without a value");
    assert!(partitions.iter().all(|p| p.file_count == 1 && p.row_count == Some(1)));
    assert_eq!(stand.table_names().await.len(), 8);

    let summary = stand
        .browse()
        .get_source_summary(pb::GetSourceSummaryRequest { data_source: SOURCE.to_owned() })
        .await
        .unwrap()
        .into_inner()
        .summary
        .unwrap();
    assert_eq!((summary.schemas.unwrap().total, summary.tables.unwrap().total), (3, 8));
    assert_eq!((summary.partitions.unwrap().total, summary.row_count), (3, 10));
    assert_eq!(summary.last_scan, scan.name);

    // A partition, a table and a schema are deleted; another table's log is damaged.
    std::fs::remove_dir_all(root.join("hr")).unwrap();
    std::fs::remove_dir_all(root.join("many/t3")).unwrap();
    parts.overwrite(batch(&["c", "d"])).unwrap();
    let log = root.join("many/t1/_delta_log/00000000000000000001.json");
    std::fs::write(log, "{\"add\":").unwrap();
    let scan = stand.scan(pb::Scan::default()).await;
    assert_eq!(scan.state(), ScanState::Partial, "{scan:?}");
    let progress = scan.progress.unwrap();
    assert_eq!((progress.tables_failed, progress.vanished), (1, 5), "2 partitions, hr.empty, hr, many.t3");
    assert!(!stand.table("many", "t1").await.scan_error.is_empty());
    assert!(stand.table("hr", "empty").await.delete_time.is_some());
    assert_eq!(stand.table("sales", "parts").await.partitions.unwrap().total, 2);
    assert_eq!(stand.table_names().await.len(), 6);
}

fn batch(values: &[&str]) -> arrow::array::RecordBatch {
    use std::sync::Arc;
    let ids: arrow::array::ArrayRef = Arc::new(arrow::array::Int64Array::from_iter_values(0..values.len() as i64));
    let texts: arrow::array::ArrayRef = Arc::new(arrow::array::StringArray::from(values.to_vec()));
    arrow::array::RecordBatch::try_from_iter_with_nullable([("id", ids, true), ("p", texts, true)]).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_and_scope_narrow_what_is_read() {
    let stand = Stand::start().await;
    let root = stand.delta_root();
    for (schema, table) in [("a", "x"), ("a", "y"), ("a", "tmp_1"), ("b", "x"), ("old", "x")] {
        create_table(&root, schema, table, false);
    }
    let settings = MigrationSettings {
        schema_blacklist: vec!["old".to_owned()],
        table_blacklist: vec!["tmp_*".to_owned()],
        ..MigrationSettings::default()
    };
    stand.create_source(settings).await;
    stand.start_source().await;
    let scope = pb::Scan { tables: vec![named("A", "x")], ..Default::default() };
    assert_eq!(stand.scan(scope).await.state(), ScanState::Done);
    assert_eq!(stand.table_names().await, ["a.x"]);
    assert_eq!(stand.scan(pb::Scan::default()).await.state(), ScanState::Done);
    assert_eq!(stand.table_names().await, ["a.x", "a.y", "b.x"]);
    let scope = pb::Scan { tables: vec![named("a", "nowhere")], ..Default::default() };
    let scan = stand.scan(scope).await;
    assert_eq!(scan.state(), ScanState::Failed);
    assert!(scan.error.contains("a.nowhere"), "{}", scan.error);
    assert_eq!(stand.table_names().await.len(), 3, "a scan of one table says nothing of others");
}

fn named(schema: &str, table: &str) -> SourceTable {
    SourceTable { schema: schema.to_owned(), table: table.to_owned() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_needs_a_started_source_and_a_request_id_makes_one_scan() {
    let stand = Stand::start().await;
    create_table(&stand.delta_root(), "a", "x", false);
    stand.create_source(MigrationSettings::default()).await;
    let request = pb::CreateScanRequest {
        parent: SOURCE.to_owned(),
        scan_id: "first".to_owned(),
        request_id: "r1".to_owned(),
        ..Default::default()
    };
    let refused = stand.scans().create_scan(request.clone()).await.unwrap_err();
    assert_eq!(ApiError::from_status(&refused).reason, ErrorReason::SourceNotStarted, "{refused:?}");

    stand.start_source().await;
    let made = stand.scans().create_scan(request.clone()).await.unwrap().into_inner().scan.unwrap();
    assert_eq!(stand.ended(&made.name).await.state(), ScanState::Done);
    let again = stand.scans().create_scan(request.clone()).await.unwrap().into_inner().scan.unwrap();
    assert_eq!((again.name.as_str(), again.state()), ("dataSources/lake/scans/first", ScanState::Done));
    let other = pb::CreateScanRequest { scan_id: "second".to_owned(), ..request.clone() };
    let refused = stand.scans().create_scan(other).await.unwrap_err();
    assert_eq!(ApiError::from_status(&refused).reason, ErrorReason::RequestIdReused);
    let taken = pb::CreateScanRequest { request_id: String::new(), ..request };
    let refused = stand.scans().create_scan(taken).await.unwrap_err();
    assert_eq!(ApiError::from_status(&refused).reason, ErrorReason::AlreadyExists);

    // A position that was already seen, or one of another incarnation of the store, streams only the end.
    let watch = async |position: String| {
        let request = pb::WatchScanRequest { name: made.name.clone(), position };
        let mut watch = stand.scans().watch_scan(request).await?.into_inner();
        let last = watch.message().await?.unwrap();
        assert_eq!(last.scan.unwrap().state(), ScanState::Done);
        assert!(watch.message().await?.is_none());
        Ok::<_, tonic::Status>(last.position)
    };
    let position = watch(String::new()).await.unwrap();
    assert_eq!(watch(position.clone()).await.unwrap(), position);
    assert_eq!(watch(format!("{}.5", "0".repeat(32))).await.unwrap(), position);
    let refused = watch("7".to_owned()).await.unwrap_err();
    assert_eq!(ApiError::from_status(&refused).violations[0].field, "position");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_whose_name_cannot_be_kept_spoils_its_own_table_only() {
    let stand = Stand::with_source().await;
    let root = stand.delta_root();
    append(&mut create_table(&root, "s", "good", true), &[Some("a")]);
    append(&mut create_table(&root, "s", "wide", true), &[Some("a")]);
    let value = "\u{6f22}".repeat(20_000);
    let add = serde_json::json!({"add": {
        "path": "part-wide.parquet", "partitionValues": {"p": value}, "size": 1, "modificationTime": 1_700_000_000_000_i64,
        "dataChange": true, "stats": "{\"numRecords\":1}",
    }});
    std::fs::write(root.join("s/wide/_delta_log/00000000000000000002.json"), format!("{add}\n")).unwrap();
    let scan = stand.scan(pb::Scan::default()).await;
    assert_eq!(scan.state(), ScanState::Partial, "{scan:?}");
    let progress = scan.progress.unwrap();
    assert_eq!((progress.tables_read, progress.tables_failed), (2, 1));
    let wide = stand.table("s", "wide").await;
    assert!(wide.scan_error.contains("the limit is"), "{}", wide.scan_error);
    assert_eq!(wide.row_count, Some(2), "what can be kept of it is kept");
    assert_eq!(stand.table("s", "good").await.scan_error, "");
}
