//! A scan survives a restart and can be cancelled, and a data source has one live scan at a time.

use crate::support::{SOURCE, Stand, append, create_table};
use mms_proto::catalog::v1 as pb;
use mms_proto::{ApiError, ErrorReason};
use pb::ScanState;

fn request(id: &str) -> pb::CreateScanRequest {
    pb::CreateScanRequest { parent: SOURCE.to_owned(), scan_id: id.to_owned(), ..Default::default() }
}

fn many(stand: &Stand) {
    for number in 0..60 {
        append(&mut create_table(&stand.delta_root(), "many", &format!("t{number:02}"), false), &[Some("x")]);
    }
}

/// Waits until a scan has read some tables, or has ended.
async fn under_way(stand: &Stand, name: &str) -> pb::Scan {
    let request = pb::WatchScanRequest { name: name.to_owned(), position: String::new() };
    let mut watch = stand.scans().watch_scan(request).await.unwrap().into_inner();
    while let Some(answer) = watch.message().await.unwrap() {
        let scan = answer.scan.unwrap();
        if scan.progress.unwrap().tables_read > 0 || scan.end_time.is_some() {
            return scan;
        }
    }
    panic!("the watch ended before the scan");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_scan_goes_on_after_a_restart() {
    let mut stand = Stand::with_source().await;
    many(&stand);
    let scan = stand.scans().create_scan(request("one")).await.unwrap().into_inner().scan.unwrap();
    under_way(&stand, &scan.name).await;
    stand.restart_catalog().await;
    let ended = stand.ended(&scan.name).await;
    assert_eq!(ended.state(), ScanState::Done, "{ended:?}");
    let progress = ended.progress.unwrap();
    assert_eq!((progress.tables_found, progress.tables_read, progress.vanished), (60, 60, 0));
    assert_eq!(stand.table_names().await.len(), 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_scan_at_a_time_and_a_cancelled_one_stays_cancelled() {
    let stand = Stand::with_source().await;
    many(&stand);
    let scan = stand.scans().create_scan(request("one")).await.unwrap().into_inner().scan.unwrap();
    let refused = stand.scans().create_scan(request("two")).await;
    if let Err(refused) = refused {
        let error = ApiError::from_status(&refused);
        assert_eq!((error.reason, error.metadata["scan"].as_str()), (ErrorReason::ScanRunning, scan.name.as_str()));
    } else {
        // All sixty tables were read between the two calls, so the second was not rejected.
        assert!(stand.ended(&scan.name).await.end_time.is_some());
    }
    let cancel = pb::CancelScanRequest { name: scan.name.clone() };
    let cancelled = stand.scans().cancel_scan(cancel.clone()).await.unwrap().into_inner().scan.unwrap();
    assert!(cancelled.end_time.is_some());
    let ended = stand.ended(&scan.name).await;
    assert_eq!(ended.state(), cancelled.state(), "an end is an end");
    let again = stand.scans().cancel_scan(cancel).await.unwrap().into_inner().scan.unwrap();
    assert_eq!(again.state(), ended.state());
    let next = stand.scan(pb::Scan::default()).await;
    assert_eq!(next.state(), ScanState::Done);
    let list = pb::ListScansRequest { parent: SOURCE.to_owned(), page_size: 1, ..Default::default() };
    let page = stand.scans().list_scans(list.clone()).await.unwrap().into_inner();
    assert_eq!(page.scans[0].name, next.name, "newest first");
    let page = pb::ListScansRequest { page_token: page.next_page_token, ..list };
    assert!(!stand.scans().list_scans(page).await.unwrap().into_inner().scans.is_empty());
}
