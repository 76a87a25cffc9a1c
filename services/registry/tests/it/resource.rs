//! Data sources as resources: create, read, list, change, delete, restore.

use crate::common::{Registry, access_key, refusal, source, token, update};
use mms_proto::ErrorReason as Reason;
use mms_proto::registry::v1 as pb;
use mms_proto::types::v1::{TimeOfDay, TimeWindow};

#[tokio::test(flavor = "multi_thread")]
async fn a_source_goes_through_its_whole_life() {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::open(dir.path()).await;
    let made = registry.create("my-lake", source()).await;
    assert_eq!((made.name.as_str(), made.display_name.as_str()), ("dataSources/my-lake", "mylake"));
    assert_eq!(made.state(), pb::DataSourceState::Stopped);
    assert_eq!(registry.get("my-lake").await, made);

    let taken = pb::CreateDataSourceRequest {
        data_source_id: "other".into(),
        data_source: Some(pb::DataSource { display_name: "mylake".into(), ..source() }),
        ..Default::default()
    };
    let status = registry.sources().create_data_source(taken).await.unwrap_err();
    assert_eq!(refusal(&status).0, Reason::AlreadyExists);

    let delete = pb::DeleteDataSourceRequest { name: made.name.clone(), etag: "0".into(), force: false };
    let status = registry.sources().delete_data_source(delete.clone()).await.unwrap_err();
    assert_eq!(refusal(&status).0, Reason::EtagMismatch);
    let delete = pb::DeleteDataSourceRequest { etag: made.etag, ..delete };
    let gone = registry.sources().delete_data_source(delete).await.unwrap().into_inner().data_source.unwrap();
    assert!(gone.delete_time.is_some());
    assert!(list(&registry, false).await.is_empty());
    assert_eq!(list(&registry, true).await, ["dataSources/my-lake"]);
    let status = registry.start("my-lake").await.unwrap_err();
    assert_eq!(refusal(&status).0, Reason::NotFound);

    let back = pb::UndeleteDataSourceRequest { name: gone.name };
    registry.sources().undelete_data_source(back.clone()).await.unwrap();
    let status = registry.sources().undelete_data_source(back).await.unwrap_err();
    assert_eq!(refusal(&status).0, Reason::WrongState);
    assert_eq!(list(&registry, false).await, ["dataSources/my-lake"]);
}

async fn list(registry: &Registry, show_deleted: bool) -> Vec<String> {
    let request = pb::ListDataSourcesRequest { show_deleted, ..Default::default() };
    let listed = registry.sources().list_data_sources(request).await.unwrap().into_inner();
    listed.data_sources.into_iter().map(|source| source.name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_show_each_source_once_and_a_foreign_token_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::open(dir.path()).await;
    for id in ["a", "b", "c", "d", "e"] {
        registry.create(id, source()).await;
    }
    let (mut names, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = pb::ListDataSourcesRequest { page_size: 2, page_token, ..Default::default() };
        let page = registry.sources().list_data_sources(request).await.unwrap().into_inner();
        assert!(page.data_sources.len() <= 2);
        names.extend(page.data_sources.into_iter().map(|source| source.name));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(names, ["a", "b", "c", "d", "e"].map(|id| format!("dataSources/{id}")));
    let foreign = pb::ListDataSourcesRequest { page_token: "0".repeat(18), ..Default::default() };
    let status = registry.sources().list_data_sources(foreign).await.unwrap_err();
    assert_eq!(refusal(&status).0, Reason::InvalidPageToken);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_answers_as_the_first_did() {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::open(dir.path()).await;
    let request =
        pb::CreateDataSourceRequest { data_source: Some(source()), request_id: "r1".into(), ..Default::default() };
    let first = registry.sources().create_data_source(request.clone()).await.unwrap().into_inner();
    registry.shut().await;
    let registry = Registry::open(dir.path()).await;
    let again = registry.sources().create_data_source(request.clone()).await.unwrap().into_inner();
    assert_eq!(first, again);
    assert_eq!(list(&registry, true).await.len(), 1);

    let mut other = request;
    other.data_source.as_mut().unwrap().databricks_mut().unwrap().workspace_auth = token("another");
    let status = registry.sources().create_data_source(other).await.unwrap_err();
    assert_eq!(refusal(&status).0, Reason::RequestIdReused, "only the secret differs");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_changes_what_the_mask_names_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::open(dir.path()).await;
    let made = registry.create("lake", source()).await;
    let mut new = pb::DataSource { etag: made.etag.clone(), display_name: "ignored".into(), ..Default::default() };
    new.settings = Some(pb::MigrationSettings { max_concurrent_tasks: 7, auto_start: true, ..Default::default() });
    let request = update("lake", new, &["settings.max_concurrent_tasks"]);
    let changed = registry.sources().update_data_source(request.clone()).await.unwrap().into_inner();
    let changed = changed.data_source.unwrap();
    let settings = changed.settings.clone().unwrap();
    assert_eq!((settings.max_concurrent_tasks, settings.auto_start), (7, false));
    assert_eq!(changed.display_name, "lake");
    assert_eq!(changed.source, made.source);
    assert_ne!(changed.etag, made.etag);
    let status = registry.sources().update_data_source(request).await.unwrap_err();
    assert_eq!(refusal(&status).0, Reason::EtagMismatch, "the etag is that of before");

    let mut new = source();
    new.databricks_mut().unwrap().catalog = "other".into();
    new.databricks_mut().unwrap().workspace_url = "ftp://nowhere".into();
    let status = registry.sources().update_data_source(update("lake", new, &["databricks"])).await.unwrap_err();
    let (reason, fields) = refusal(&status);
    assert_eq!(reason, Reason::InvalidField);
    for field in ["data_source.databricks.catalog", "data_source.databricks.workspace_url"] {
        assert!(fields.iter().any(|found| found == field), "{fields:?}");
    }
    assert_eq!(registry.get("lake").await, changed);
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_is_wrong_is_told_at_once_and_nothing_is_stored() {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::open(dir.path()).await;
    let mut wrong = source();
    wrong.display_name = "not valid!".into();
    wrong.network_connection = "networks/x".into();
    let databricks = wrong.databricks_mut().unwrap();
    databricks.workspace_url = "http://adb-1.azuredatabricks.net".into();
    databricks.workspace_auth = token("env:not a name");
    databricks.storage = Vec::new();
    let max_compute = wrong.max_compute.as_mut().unwrap();
    max_compute.endpoint = "https://service.cn-shanghai.maxcompute.aliyun.com".into();
    max_compute.account = access_key("");
    max_compute.projects = vec!["1abc".into(), "x".into(), "X".into()];
    wrong.settings = Some(pb::MigrationSettings {
        max_concurrent_tasks: -1,
        table_names: Some(pb::CharacterMapping {
            characters: [("ab".to_owned(), "_".to_owned()), ("%".to_owned(), "!".to_owned())].into(),
            other: String::new(),
            prefix: "1".into(),
        }),
        table_whitelist: vec!["a.b.c".into()],
        time_windows: vec![TimeWindow {
            start: Some(TimeOfDay { hour: 25, minute: 0 }),
            end: Some(TimeOfDay { hour: 6, minute: 0 }),
            time_zone: "Moon/Base".into(),
            ..TimeWindow::default()
        }],
        ..Default::default()
    });
    // An answer lists a bounded number of violations: judge the source and target first, then the settings.
    let settings = pb::DataSource { settings: wrong.settings.take(), ..source() };
    let mut fields = Vec::new();
    for wrong in [wrong, settings] {
        let request = pb::CreateDataSourceRequest {
            data_source_id: "Wrong".into(),
            data_source: Some(wrong),
            ..Default::default()
        };
        let status = registry.sources().create_data_source(request).await.unwrap_err();
        let (reason, found) = refusal(&status);
        assert_eq!(reason, Reason::InvalidField);
        fields.extend(found);
    }
    for field in [
        "data_source_id",
        "data_source.display_name",
        "data_source.network_connection",
        "data_source.databricks.workspace_url",
        "data_source.databricks.access_token.token",
        "data_source.databricks.storage",
        "data_source.max_compute.endpoint",
        "data_source.max_compute.access_key.access_key_secret",
        "data_source.max_compute.projects[0]",
        "data_source.max_compute.projects[2]",
        "data_source.settings.max_concurrent_tasks",
        "data_source.settings.table_names.characters[\"ab\"]",
        "data_source.settings.table_names.characters[\"%\"]",
        "data_source.settings.table_names.prefix",
        "data_source.settings.table_whitelist[0]",
        "data_source.settings.time_windows[0].start.hour",
        "data_source.settings.time_windows[0].time_zone",
    ] {
        assert!(fields.iter().any(|found| found == field), "{field} is not in {fields:?}");
    }
    assert!(list(&registry, true).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_allowed_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let config = mms_registry::Config { allow_local_files: false, ..crate::common::config(dir.path()) };
    let registry = Registry::with(dir.path(), config).await;
    let create = |source| pb::CreateDataSourceRequest { data_source: Some(source), ..Default::default() };
    let status = registry.sources().create_data_source(create(source())).await.unwrap_err();
    assert_eq!(refusal(&status).1, ["data_source.databricks.storage[0].local_files"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_filtered_over_the_fields_that_they_show() {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::open(dir.path()).await;
    for id in ["one", "two", "three"] {
        registry.create(id, pb::DataSource { display_name: id.into(), ..source() }).await;
        let request = pb::CreateNetworkConnectionRequest {
            network_connection_id: id.into(),
            network_connection: Some(pb::NetworkConnection { display_name: id.into(), ..Default::default() }),
            ..Default::default()
        };
        registry.networks().create_network_connection(request).await.unwrap();
    }
    let filter = "display_name LIKE 't%' AND state IN ('STOPPED', 'STARTED') AND databricks.catalog = 'main'";
    let mut request = pb::ListDataSourcesRequest { filter: filter.into(), page_size: 1, ..Default::default() };
    let mut found = Vec::new();
    loop {
        let page = registry.sources().list_data_sources(request.clone()).await.unwrap().into_inner();
        found.extend(page.data_sources.into_iter().map(|source| source.display_name));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(found, ["three", "two"]);
    let networks = pb::ListNetworkConnectionsRequest { filter: "display_name = 'one'".into(), ..Default::default() };
    let found = registry.networks().list_network_connections(networks).await.unwrap().into_inner();
    assert_eq!(found.network_connections.len(), 1);
    // And so they are put in order, page by page.
    let mut ordered =
        pb::ListDataSourcesRequest { order_by: "create_time desc".into(), page_size: 2, ..Default::default() };
    let first = registry.sources().list_data_sources(ordered.clone()).await.unwrap().into_inner();
    ordered.page_token = first.next_page_token;
    let second = registry.sources().list_data_sources(ordered).await.unwrap().into_inner();
    let found: Vec<_> = first.data_sources.iter().chain(&second.data_sources).map(|one| &*one.display_name).collect();
    assert_eq!(found, ["three", "two", "one"]);
    let networks = pb::ListNetworkConnectionsRequest { order_by: "display_name desc".into(), ..Default::default() };
    let found = registry.networks().list_network_connections(networks).await.unwrap().into_inner();
    assert_eq!(found.network_connections[0].display_name, "two");
    let items = pb::ListConfigItemsRequest {
        filter: "required = TRUE".into(),
        order_by: "key desc".into(),
        ..Default::default()
    };
    let found = registry.sources().list_config_items(items).await.unwrap().into_inner();
    assert!(found.items.len() > 2 && found.total_size.is_none());
    assert!(found.items.iter().all(|item| item.required) && found.items.is_sorted_by(|a, b| a.key > b.key));
    request.filter = "state = 'STARTING' OR colour = 'red'".into();
    let status = registry.sources().list_data_sources(request).await.unwrap_err();
    assert_eq!(refusal(&status).1, ["filter"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn validate_only_stores_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::open(dir.path()).await;
    let request = pb::CreateDataSourceRequest {
        data_source_id: "lake".into(),
        data_source: Some(source()),
        validate_only: true,
        ..Default::default()
    };
    let shown = registry.sources().create_data_source(request).await.unwrap().into_inner().data_source.unwrap();
    assert_eq!((shown.name.as_str(), shown.etag.as_str()), ("dataSources/lake", ""));
    assert!(list(&registry, true).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_by_sql_has_a_place_of_its_own_workspace_to_run() {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::open(dir.path()).await;
    let of = |url: &str, cluster: &str| {
        let mut source = source();
        let databricks = source.databricks_mut().unwrap();
        (databricks.jdbc_url, databricks.cluster_id) = (url.into(), cluster.into());
        databricks.set_read_path(mms_proto::types::v1::ReadPath::Jdbc);
        pb::CreateDataSourceRequest { data_source: Some(source), ..Default::default() }
    };
    let url = "jdbc:databricks://adb-1.2.azuredatabricks.net:443/default";
    for (jdbc_url, cluster, field) in [
        ("", "", "cluster_id"),
        (url, "", "cluster_id"),
        ("", "../c", "cluster_id"),
        (&format!("{url};httpPath=sql/protocolv1/o/1/other"), "c", "cluster_id"),
        ("jdbc:databricks://evil.example:443/default;httpPath=sql/1.0/warehouses/a", "", "jdbc_url"),
        ("jdbc:hive2://adb-1.2.azuredatabricks.net:443/default", "c", "jdbc_url"),
        (&format!("{url};httpPath=../api"), "c", "jdbc_url"),
        (&format!("{url};httpPath=sql/1.0/warehouses/a;PWD=dapi"), "", "jdbc_url"),
    ] {
        let status = registry.sources().create_data_source(of(jdbc_url, cluster)).await.unwrap_err();
        let expected = format!("data_source.databricks.{field}");
        assert_eq!(refusal(&status), (Reason::InvalidField, vec![expected]), "{jdbc_url:?} {cluster:?}");
    }
    let warehouse = format!("{url};transportMode=http;httpPath=/sql/1.0/warehouses/a?o=1");
    for (at, (jdbc_url, cluster)) in [(warehouse.as_str(), ""), ("", "c"), (url, "c")].into_iter().enumerate() {
        let request = pb::CreateDataSourceRequest { data_source_id: format!("s{at}"), ..of(jdbc_url, cluster) };
        registry.sources().create_data_source(request).await.unwrap();
    }
}
