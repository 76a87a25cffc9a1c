use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use mms_databricks::Credential;
use mms_http::{NetworkConnection, Url};
use pb::CheckState;

use super::*;

/// A blob storage with two tables: one can be read, the other denies access. A signature `over` has expired.
async fn storage(request: Request) -> Response {
    let (path, query) = (request.uri().path().to_owned(), request.uri().query().unwrap_or_default().to_owned());
    let refuse = |code: &str, detail: &str| {
        let body = format!(
            "<Error><Code>{code}</Code><AuthenticationErrorDetail>{detail}</AuthenticationErrorDetail></Error>"
        );
        (StatusCode::FORBIDDEN, body).into_response()
    };
    if query.contains("sig=over") {
        return refuse("AuthenticationFailed", "Signature not valid in the specified time frame");
    }
    if query.contains("prefix=secret") {
        return refuse("AuthorizationPermissionMismatch", "");
    }
    if query.contains("comp=list") {
        let blob = "<Blob><Name>t/_delta_log/0.json</Name><Properties><Content-Length>5</Content-Length><Content-Type>application/json</Content-Type>\
            <Last-Modified>Wed, 12 Nov 2025 10:00:00 GMT</Last-Modified><Etag>\"0x1\"</Etag></Properties></Blob>";
        return format!("<EnumerationResults><Blobs>{blob}</Blobs><NextMarker/></EnumerationResults>").into_response();
    }
    assert_eq!(path, "/lake/t/_delta_log/0.json");
    let headers =
        [("content-range", "bytes 0-0/5"), ("last-modified", "Wed, 12 Nov 2025 10:00:00 GMT"), ("etag", "\"0x1\"")];
    (StatusCode::PARTIAL_CONTENT, headers, "{").into_response()
}

fn tried_at(name: &str, place: &str) -> Tried {
    Tried { name: name.to_owned(), place: place.to_owned(), id: None }
}

async fn judged(tables: &[&str], sas: &str) -> Finding {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    let app = axum::Router::new().fallback(storage);
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    let client = HttpClient::new(&NetworkConnection::default()).unwrap();
    // No credential is vended in these tests.
    let workspace =
        Workspace::new(client.clone(), "http://127.0.0.1:1".parse().unwrap(), Credential::Token("t".into()));
    let settings = StorageSettings { endpoint: Some(endpoint), max_retries: 0, ..StorageSettings::new(client) };
    let place = |name: &&str| match *name {
        "elsewhere" => tried_at("s.elsewhere", "abfss://sea@acct.dfs.core.windows.net/t"),
        name => tried_at(&format!("s.{name}"), &format!("abfss://lake@acct.dfs.core.windows.net/{name}")),
    };
    let tables: Vec<_> = tables.iter().map(place).collect();
    let access = Access::AzureSas(pb::AzureSas { sas: sas.into(), ..pb::AzureSas::default() });
    let storage =
        pb::StorageAccess { location_prefix: "abfss://lake@acct.dfs.core.windows.net".into(), access: Some(access) };
    let config = pb::DatabricksSource { storage: vec![storage], ..pb::DatabricksSource::default() };
    tried(&workspace, &tables, &mms_ends::storage(&config).unwrap(), &settings).await
}

#[tokio::test]
async fn a_table_is_read_where_the_workspace_says_that_it_lies() {
    let good = judged(&["t"], "sig=good").await;
    assert_eq!(good.state, CheckState::Ok, "{good:?}");
    let over = judged(&["t"], "sig=over").await;
    assert_eq!(over.state, CheckState::Failed);
    assert!(over.message.contains("has expired") && over.remedy.contains("new signature"), "{over:?}");
    let denied = judged(&["secret"], "sig=good").await;
    assert_eq!(denied.state, CheckState::Failed);
    assert!(denied.message.contains("may not list") && denied.remedy.contains("List as well"), "{denied:?}");
    assert_eq!(judged(&["t", "secret"], "sig=good").await.state, CheckState::Warning);
    assert_eq!(judged(&[], "sig=good").await.state, CheckState::Skipped);
    let elsewhere = judged(&["elsewhere"], "sig=good").await;
    assert_eq!(elsewhere.state, CheckState::Failed);
    assert!(elsewhere.message.contains("no storage access is for"), "{elsewhere:?}");
    let broken = judged(&["t"], "no signature").await;
    assert_eq!(broken.state, CheckState::Failed);
}

#[test]
fn a_signature_is_judged_by_its_end() {
    let judged = |sas: Sas| signature(&sas, 1_000_000_000);
    let state =
        |end: i64| judged(Sas { ends_ms: (end != 0).then_some(end), ..Sas::default() }).map(|finding| finding.state);
    assert_eq!(state(999_999_999), Some(CheckState::Failed));
    assert_eq!(state(1_000_000_000 + SOON_MS / 2), Some(CheckState::Warning));
    assert_eq!(state(1_000_000_000 + SOON_MS * 2), None);
    assert_eq!(state(0), None);
    let early = judged(Sas { begins_ms: Some(1_000_600_000), ..Sas::default() }).expect("worth a word");
    assert!(early.state == CheckState::Failed && early.message.contains("begins in 11 minutes"), "{early:?}");
    let weak = judged(Sas { permissions: Some("rw".to_owned()), ..Sas::default() }).expect("worth a word");
    assert!(weak.state == CheckState::Failed && weak.message.contains("does not permit List"), "{weak:?}");
}
