use super::*;
use crate::fixture::snapshot;

#[tokio::test]
async fn whoever_comes_second_takes_what_the_first_has_read() {
    let folder = tempfile::tempdir().unwrap();
    let surveys = Surveys::new(1 << 20, 1 << 20);
    let first = surveys.for_scan(&snapshot(folder.path(), &[(1, 1), (2, 2)]).await).await.unwrap();
    let again = surveys.for_plan(&snapshot(folder.path(), &[(1, 1), (2, 2)]).await).await.unwrap();
    // Rewriting the files has changed their times, so it could be another log.
    assert!(!Arc::ptr_eq(&first, &again));
    let opened = snapshot(folder.path(), &[(1, 1), (2, 2), (3, 3)]).await;
    let scanned = surveys.for_scan(&opened).await.unwrap();
    assert_eq!(scanned.totals.all().files, 3);
    let planned = surveys.for_plan(&opened).await.unwrap();
    assert!(Arc::ptr_eq(&scanned, &planned), "it is read once");
    assert!(planned.list.is_whole() && planned.list.gather(planned.list.buckets(), |_| true).is_ok());
    assert_eq!(surveys.scanning.taken(), 0, "what is kept is counted with what is kept");
}

#[tokio::test]
async fn what_takes_too_much_is_read_by_each() {
    let folder = tempfile::tempdir().unwrap();
    let opened = snapshot(folder.path(), &[(1, 1), (2, 2)]).await;
    let surveys = Surveys::new(1 << 20, 0);
    let scanned = surveys.for_scan(&opened).await.unwrap();
    assert!(!scanned.list.is_whole(), "a scan keeps what there is room for");
    let planned = surveys.for_plan(&opened).await.unwrap();
    assert!(planned.list.is_whole(), "a plan has room of its own");
    assert_eq!((scanned.totals.all(), &scanned.digests), (planned.totals.all(), &planned.digests));
    assert!(!Arc::ptr_eq(&planned, &surveys.for_plan(&opened).await.unwrap()));
}
