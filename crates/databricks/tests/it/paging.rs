//! Lists are complete whatever their pages are: small, empty in the middle, empty at the end.

use crate::common::Running;
use mms_databricks::TableInfo;

#[tokio::test]
async fn every_table_comes_once_through_small_and_empty_pages() {
    let names: Vec<String> = (0..7).map(|n| format!("table {n}%")).collect();
    let tables: Vec<(&str, &str)> = names.iter().map(|name| ("sales", name.as_str())).collect();
    let running = Running::start(2, &tables).await;
    let workspace = running.client();

    let mut pages = workspace.list_tables("main", "sales").unwrap();
    let (mut seen, mut sizes) = (Vec::new(), Vec::new());
    while let Some(page) = pages.next().await.unwrap() {
        sizes.push(page.items.len());
        assert!(page.unreadable.is_empty());
        seen.extend(page.items.into_iter().map(|table: TableInfo| table.name));
    }
    assert!(pages.next().await.unwrap().is_none(), "the end stays the end");
    assert!(sizes.contains(&0), "an empty page was crossed: {sizes:?}");
    assert!(sizes.iter().all(|size| *size <= 2), "{sizes:?}");
    seen.sort();
    assert_eq!(seen, names);
}

#[tokio::test]
async fn schemas_and_the_bound_of_a_list() {
    let running = Running::start(1, &[("größe 1", "t"), ("b", "t_1"), ("b", "tx1")]).await;
    let workspace = running.client();
    let mut schemas: Vec<String> = workspace
        .list_schemas("main")
        .unwrap()
        .all(10)
        .await
        .unwrap()
        .items
        .into_iter()
        .map(|schema| schema.name)
        .collect();
    schemas.sort();
    assert_eq!(schemas, ["b", "größe 1", "information_schema"]);

    assert_eq!(workspace.get_catalog("main").await.unwrap().name, "main");
    let too_many = workspace.list_schemas("main").unwrap().all(2).await.unwrap_err();
    assert!(too_many.to_string().contains("more than 2"), "{too_many}");
}

#[tokio::test]
async fn a_broken_table_still_lists_beside_the_others() {
    let running = Running::start(50, &[("s", "good"), ("s", "broken")]).await;
    std::fs::write(running.root.path().join("s/broken/_delta_log/00000000000000000000.json"), "{\"metaData\":")
        .unwrap();
    let tables = running.client().list_tables("main", "s").unwrap().all(10).await.unwrap().items;
    let columns = |name: &str| tables.iter().find(|table| table.name == name).unwrap().columns.len();
    assert_eq!((columns("good"), columns("broken")), (2, 0));
}
