//! Single objects of the sandbox workspace, as the client reads them.

use crate::common::Running;
use mms_databricks::{DatabricksError, RefusalKind, Securable, TableId, TableKind};
use mms_sandbox::workspace::{CLUSTER_ID, USER_NAME};

#[tokio::test]
async fn a_table_with_columns_partitions_and_place() {
    let odd = "50% of größe";
    let running = Running::start(50, &[("s", odd)]).await;
    let workspace = running.client();
    let table = workspace.get_table("main", "s", odd).await.unwrap();
    assert_eq!((table.name.as_str(), &table.table_type), (odd, &TableKind::External));
    assert_eq!(table.data_source_format.as_deref(), Some("DELTA"));
    assert_eq!(table.columns[0].type_text.as_deref(), Some("bigint"));
    assert!(!table.columns[0].nullable);
    let partitions = table.partition_columns();
    assert_eq!((partitions[0].name.as_str(), partitions[0].type_text.as_deref()), ("day", Some("date")));
    assert_eq!(partitions[0].comment.as_deref(), Some("of sale"));
    assert_eq!(table.properties["owner"], "us");
    assert_eq!(table.created_at, Some(1_700_000_000_000));
    let place = url::Url::parse(table.storage_location.as_deref().unwrap()).unwrap().to_file_path().unwrap();
    assert!(place.join("_delta_log").is_dir(), "{place:?}");

    let again = workspace.get_table("main", "s", odd).await.unwrap();
    assert_eq!(table.table_id, again.table_id);
}

#[tokio::test]
async fn what_does_not_exist_is_named() {
    let running = Running::start(50, &[("s", "t")]).await;
    let workspace = running.client();
    for (error, part) in [
        (workspace.get_table("main", "s", "gone").await.unwrap_err(), "main.s.gone"),
        (workspace.get_table("main", "nowhere", "t").await.unwrap_err(), "main.nowhere"),
        (workspace.get_catalog("other").await.unwrap_err(), "other"),
        (workspace.list_tables("main", "nowhere").unwrap().next().await.unwrap_err(), "nowhere"),
    ] {
        assert!(error.is_not_found() && error.to_string().contains(part), "{error}");
    }
    for name in ["", "..", "a\nb"] {
        let error = workspace.get_table("main", "s", name).await.unwrap_err();
        assert!(matches!(error, DatabricksError::Name { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_wrong_token_and_no_token() {
    let running = Running::start(50, &[("s", "t")]).await;
    let error = crate::common::client(&running.sandbox.url(), "dapi-wrong").current_user().await.unwrap_err();
    assert_eq!(error.refusal(), Some(RefusalKind::Unauthenticated), "{error}");
    assert!(!format!("{error:?}").contains("dapi-wrong"));
    let user = running.client().current_user().await.unwrap();
    assert_eq!(user.user_name, USER_NAME);
}

#[tokio::test]
async fn rights_cluster_and_credentials() {
    let running = Running::start(50, &[("s", "t")]).await;
    let workspace = running.client();
    let rights = workspace.effective_privileges(Securable::Table("main", "s", "t"), Some(USER_NAME)).await.unwrap();
    let select = rights.iter().find(|right| right.privilege == "SELECT").unwrap();
    assert_eq!(select.inherited_from_type.as_deref(), Some("CATALOG"));
    assert!(workspace.effective_privileges(Securable::Catalog("main"), Some("stranger")).await.unwrap().is_empty());

    let cluster = workspace.get_cluster(CLUSTER_ID).await.unwrap();
    assert!(cluster.is_usable() && cluster.has_unity_access());
    workspace.start_cluster(CLUSTER_ID).await.unwrap();
    assert_eq!(workspace.get_cluster("nope").await.unwrap_err().refusal(), Some(RefusalKind::Invalid));

    let id = workspace.get_table("main", "s", "t").await.unwrap().table_id.unwrap();
    let denied = workspace.table_credentials(&id).await.unwrap_err();
    assert_eq!(denied.refusal(), Some(RefusalKind::PermissionDenied), "{denied}");
    let unknown = workspace.table_credentials(&TableId::from("0")).await.unwrap_err();
    assert!(unknown.is_not_found(), "{unknown}");
}
