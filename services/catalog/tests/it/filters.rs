//! The List methods filter by the fields that they show, also across pages.

use crate::support::{SOURCE, Stand, append, create_table};
use mms_proto::catalog::v1 as pb;
use mms_proto::{ApiError, ErrorReason};

#[tokio::test(flavor = "multi_thread")]
async fn each_list_shows_what_passes() {
    let stand = Stand::with_source().await;
    let root = stand.delta_root();
    append(&mut create_table(&root, "sales", "parts", true), &[Some("a"), Some("b"), None]);
    append(&mut create_table(&root, "sales", "plain", false), &[Some("a")]);
    create_table(&root, "hr", "empty", false);
    let scan = stand.scan(pb::Scan::default()).await;
    let mut browse = stand.browse();

    let mut request = pb::ListTablesRequest {
        parent: format!("{SOURCE}/schemas/-"),
        filter: "row_count >= 1 AND state = 'INIT' AND source_schema != 'hr'".to_owned(),
        page_size: 1,
        ..Default::default()
    };
    let mut found = Vec::new();
    loop {
        let page = browse.list_tables(request.clone()).await.unwrap().into_inner();
        found.extend(page.tables.into_iter().map(|table| table.source_name));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(found, ["parts", "plain"]);
    let other = pb::ListTablesRequest { filter: "row_count >= 2".to_owned(), ..request.clone() };
    let refused = browse.list_tables(other).await.unwrap_err();
    assert_eq!(ApiError::from_status(&refused).reason, ErrorReason::InvalidPageToken, "a token goes with its filter");

    let parent = format!("{SOURCE}/schemas/sales/tables/parts");
    let filter = "name LIKE '%p=b'".to_owned();
    let partitions = pb::ListPartitionsRequest { parent, filter, ..Default::default() };
    assert_eq!(browse.list_partitions(partitions).await.unwrap().into_inner().partitions.len(), 1);
    let schemas = pb::ListSchemasRequest {
        parent: SOURCE.to_owned(),
        filter: "source_name = 'hr'".to_owned(),
        ..Default::default()
    };
    assert_eq!(browse.list_schemas(schemas).await.unwrap().into_inner().schemas.len(), 1);
    for (filter, count) in [("state = 'DONE'", 1), ("state = 'FAILED' OR progress.tables_read < 3", 0)] {
        let scans = pb::ListScansRequest { parent: SOURCE.to_owned(), filter: filter.to_owned(), ..Default::default() };
        let scans = stand.scans().list_scans(scans).await.unwrap().into_inner().scans;
        assert_eq!(scans.iter().filter(|found| found.name == scan.name).count(), count, "{filter}");
    }
    let wrong = pb::ListTablesRequest { filter: "row_count = ".to_owned(), page_token: String::new(), ..request };
    let refused = ApiError::from_status(&browse.list_tables(wrong).await.unwrap_err());
    assert_eq!(refused.violations[0].field, "filter");
    assert!(refused.violations[0].description.contains("at character"), "{refused:?}");
}
