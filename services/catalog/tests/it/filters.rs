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
    // And so is an order, over all pages.
    let mut ordered = pb::ListTablesRequest {
        parent: format!("{SOURCE}/schemas/-"),
        order_by: "row_count desc, source_name".to_owned(),
        page_size: 2,
        ..Default::default()
    };
    let first = browse.list_tables(ordered.clone()).await.unwrap().into_inner();
    ordered.page_token = first.next_page_token;
    let second = browse.list_tables(ordered.clone()).await.unwrap().into_inner();
    assert!(second.next_page_token.is_empty());
    let names: Vec<_> = first.tables.iter().chain(&second.tables).map(|table| &*table.source_name).collect();
    assert_eq!(names, ["parts", "plain", "empty"]);
    assert!(first.tables.iter().all(|table| table.columns.is_empty()), "the view is as without an order");
    let odd = pb::ListTablesRequest { order_by: "columns".to_owned(), page_token: String::new(), ..ordered };
    let refused = ApiError::from_status(&browse.list_tables(odd).await.unwrap_err());
    assert_eq!(refused.violations[0].field, "order_by");
    let parent = format!("{SOURCE}/schemas/sales/tables/parts");
    let by_name = pb::ListPartitionsRequest { parent, order_by: "name desc".to_owned(), ..Default::default() };
    let found = browse.list_partitions(by_name).await.unwrap().into_inner().partitions;
    assert!(found.len() == 3 && found.is_sorted_by(|a, b| a.name > b.name), "{found:?}");
    let by_name = pb::ListSchemasRequest {
        parent: SOURCE.to_owned(),
        order_by: "source_name desc".to_owned(),
        ..Default::default()
    };
    let found = browse.list_schemas(by_name).await.unwrap().into_inner().schemas;
    assert_eq!(found.iter().map(|schema| &*schema.source_name).collect::<Vec<_>>(), ["sales", "hr"]);
    let oldest = pb::ListScansRequest {
        parent: SOURCE.to_owned(),
        order_by: "create_time".to_owned(),
        page_size: 1,
        ..Default::default()
    };
    assert_eq!(stand.scans().list_scans(oldest).await.unwrap().into_inner().scans.len(), 1);
    let wrong = pb::ListTablesRequest { filter: "row_count = ".to_owned(), page_token: String::new(), ..request };
    let refused = ApiError::from_status(&browse.list_tables(wrong).await.unwrap_err());
    assert_eq!(refused.violations[0].field, "filter");
    assert!(refused.violations[0].description.contains("at character"), "{refused:?}");
}
