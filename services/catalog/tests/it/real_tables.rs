//! Tables that Spark wrote: each is scanned, planned without a blocker, and streamed completely.
#![allow(clippy::print_stderr)]

use std::path::PathBuf;

use crate::support::{Stand, demo_settings};
use mms_proto::catalog::v1 as pb;
use mms_proto::types::v1::Severity;

#[tokio::test(flavor = "multi_thread")]
async fn every_real_table_is_planned_with_all_its_rows() {
    let Some(folder) = std::env::var_os("MMS_TEST_TABLES").map(PathBuf::from) else {
        return eprintln!("SKIPPED real tables: MMS_TEST_TABLES names no folder");
    };
    let stand = Stand::over(tempfile::tempdir().unwrap(), folder.join("delta-root")).await;
    stand.create_source(demo_settings()).await;
    stand.start_source().await;
    let scan = stand.scan(pb::Scan::default()).await;
    assert_eq!(scan.state(), pb::ScanState::Done, "{scan:?}");
    for (table, rows) in [
        ("covid19_nyt", 1_111_930),
        ("dv-partitioned-with-checkpoint", 35),
        ("table-with-columnmapping-mode-name", 6),
        ("parquet-all-types", 200),
        ("data-reader-primitives", 11),
        ("data-reader-partition-values", 3),
        ("v2-checkpoint-parquet", 10),
        ("nested_types", 5),
        ("basic_partitioned", 6),
    ] {
        let (pinned, files) = stand.pin_table("real", table).await;
        let plan = pinned.plan.unwrap();
        let blockers: Vec<_> = plan.findings.iter().filter(|f| f.severity() == Severity::Blocker).collect();
        assert!(blockers.is_empty(), "{table}: {blockers:?}");
        let sent: Vec<_> = files.iter().flat_map(|unit| &unit.files).collect();
        assert_eq!(sent.len() as i64, plan.file_count, "{table}");
        // Where the log has the row count of every file, they add up to the table's.
        let counted: Option<i64> = sent.iter().map(|file| file.row_count).sum();
        assert_eq!(counted, plan.row_count, "{table}");
        assert!(plan.row_count.is_none_or(|counted| counted == rows), "{table}: {:?}", plan.row_count);
        let target = plan.target.unwrap();
        assert_eq!(target.table.unwrap().table, table.replace('-', "_"));
        assert!(stand.table("real", table).await.scan_error.is_empty());
    }
}
