//! Answers of a workspace, or of something in between, other than the requested one: retried, replaced by a fallback, or
//! named.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::common::{TOKEN, client};
use axum::Router;
use axum::http::{StatusCode, Uri, header};
use axum::response::{Html, IntoResponse};
use axum::routing::{get, post};
use mms_databricks::{DatabricksError, NotVended, RefusalKind, StorageSecret, TableId, Workspace};
use secrecy::ExposeSecret;

const USER: &str = "/api/2.0/preview/scim/v2/Me";

async fn workspace(app: Router) -> Workspace {
    let listener =
        tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap_or_else(|error| panic!("no port: {error}"));
    let url = listener.local_addr().map(|address| format!("http://{address}/?o=7")).unwrap_or_default();
    tokio::spawn(async move { axum::serve(listener, app).await });
    client(&url, TOKEN)
}

#[tokio::test]
async fn overload_is_waited_out_and_a_plain_500_is_not() {
    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    let app = Router::new()
        .route(
            USER,
            get(move || async move {
                match count.fetch_add(1, Ordering::SeqCst) {
                    0 => (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "0")], "busy").into_response(),
                    _ => r#"{"userName":"m"}"#.into_response(),
                }
            }),
        )
        .route(
            "/api/2.1/unity-catalog/catalogs/c",
            get(|| async { (StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_ERROR: x") }),
        );
    let workspace = workspace(app).await;
    assert_eq!(workspace.current_user().await.unwrap().user_name, "m");
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    let error = workspace.get_catalog("c").await.unwrap_err();
    assert_eq!(error.refusal(), Some(RefusalKind::Internal));
    assert!(error.to_string().contains("INTERNAL_ERROR: x"), "{error}");
}

#[tokio::test]
async fn login_pages_and_private_links_are_named() {
    let away = |target: &'static str| get(move || async move { (StatusCode::FOUND, [(header::LOCATION, target)]) });
    let app = Router::new()
        .route(USER, get(|| async { Html("<html><title>Sign in</title></html>") }))
        .route("/api/2.1/unity-catalog/catalogs/a", away("https://login.example/?secret=1"))
        .route("/api/2.1/unity-catalog/catalogs/b", away("https://login.example/?error=private-link-validation-error"));
    let workspace = workspace(app).await;
    for (error, part) in [
        (workspace.current_user().await.unwrap_err(), "Sign in"),
        (workspace.get_catalog("a").await.unwrap_err(), "redirect to https://login.example/)"),
        (workspace.get_catalog("b").await.unwrap_err(), "private link"),
    ] {
        assert!(matches!(error, DatabricksError::NotAnApi { .. }) && error.to_string().contains(part), "{error}");
    }
}

#[tokio::test]
async fn credentials_fall_back_to_the_older_path_and_stay_secret() {
    let vended = r#"{"url":"abfss://c@a.dfs.core.windows.net/t","expiration_time":1900000000000,
        "azure_user_delegation_sas":{"sas_token":"sv=1&sig=very-secret"}}"#;
    let app =
        Router::new().route("/api/2.0/unity-catalog/temporary-table-credentials", post(move || async move { vended }));
    let credentials = workspace(app).await.table_credentials(&TableId::from("t-1")).await.unwrap();
    assert!(!format!("{credentials:?}").contains("very-secret"));
    let StorageSecret::AzureSas(sas) = &credentials.secret else { panic!("{credentials:?}") };
    assert_eq!(sas.expose_secret(), "sv=1&sig=very-secret");
}

#[tokio::test]
async fn why_nothing_is_vended_is_told_apart() {
    let off = r#"{"error_code":"PERMISSION_DENIED","message":"External Data Access from non Databricks Compute environment is disabled for metastore m.",
        "details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"EXTERNAL_ACCESS_DISABLED_ON_METASTORE"}]}"#;
    let no_use =
        r#"{"error_code":"PERMISSION_DENIED","message":"User does not have EXTERNAL USE SCHEMA on Schema 'c.s'."}"#;
    // The wording from before the privilege had a name; only the metastore tells the reason then.
    let older = r#"{"error_code":"UNAUTHENTICATED","message":"Request to generate access credential from outside is denied",
        "details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"UNITY_CATALOG_EXTERNAL_GENERATE_TABLE_CREDENTIALS_DENIED"}]}"#;
    let masked = r#"{"error_code":"PERMISSION_DENIED","message":"Table has a row filter."}"#;
    for (status, body, enabled, why) in [
        (403, off, true, Some(NotVended::ExternalAccessOff)),
        (403, no_use, true, Some(NotVended::NoExternalUse)),
        (401, older, false, Some(NotVended::ExternalAccessOff)),
        (401, older, true, None),
        (403, masked, true, None),
    ] {
        let answer = move || async move { (StatusCode::from_u16(status).unwrap(), body) };
        let metastore = move || async move { format!(r#"{{"external_access_enabled":{enabled}}}"#) };
        let app = Router::new()
            .route("/api/2.1/unity-catalog/temporary-table-credentials", post(answer))
            .route("/api/2.1/unity-catalog/metastore_summary", get(metastore));
        let error = workspace(app).await.table_credentials(&TableId::from("t-1")).await.unwrap_err();
        assert_eq!(error.refusal(), Some(RefusalKind::PermissionDenied), "{error}");
        let told = match &error {
            DatabricksError::NotVended { why, .. } => Some(*why),
            _ => None,
        };
        assert_eq!(told, why, "{error}");
        assert!(why.is_none_or(|why| error.to_string().ends_with(why.remedy())), "{error}");
    }
}

#[tokio::test]
async fn constraints_unreadable_objects_and_lists_without_end() {
    let table = r#"{"name":"t","catalog_name":"c","schema_name":"s","table_type":"MANAGED","table_constraints":[
        {"primary_key_constraint":{"name":"pk","child_columns":["a","b"],"rely":true}},
        {"foreign_key_constraint":{"name":"fk","child_columns":["a"],"parent_table":"c.s.p","parent_columns":["x"]}},
        {"named_table_constraint":{"name":"other"}}]}"#;
    let app = Router::new()
        .route("/api/2.1/unity-catalog/tables/c.s.t", get(move || async move { table }))
        .route(
            "/api/2.1/unity-catalog/tables",
            get(|| async { r#"{"tables":[{"full_name":"c.s.bad","columns":5},{"name":"g","catalog_name":"c","schema_name":"s","table_type":"VIEW"}]}"# }),
        )
        .route(
            "/api/2.1/unity-catalog/schemas",
            get(|uri: Uri| async move {
                assert!(uri.query().is_some_and(|query| query.contains("max_results=0")));
                r#"{"next_page_token":"again"}"#
            }),
        );
    let workspace = workspace(app).await;
    let table = workspace.get_table("c", "s", "t").await.unwrap();
    assert_eq!(table.table_constraints.len(), 3);
    let key = table.table_constraints[0].primary_key_constraint.as_ref().unwrap();
    assert_eq!((key.child_columns.len(), key.rely), (2, true));
    assert!(table.table_constraints[1].primary_key_constraint.is_none());

    let page = workspace.list_tables("c", "s").unwrap().next().await.unwrap().unwrap();
    assert_eq!((page.items.len(), page.unreadable[0].name.as_deref()), (1, Some("c.s.bad")));

    let error = workspace.list_schemas("c").unwrap().all(10).await.unwrap_err();
    assert!(matches!(error, DatabricksError::Endless { .. }), "{error}");
}
