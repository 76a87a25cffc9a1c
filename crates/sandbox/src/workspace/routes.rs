//! Maps paths to answers. Reading the folder blocks, so such answers are made on a blocking thread.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Extension, Path, Query as Parameters, Request, State as Shared};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{HeaderMap, Method, StatusCode, Uri, header};
use serde_json::json;
use uuid::Uuid;

use super::answer::{Answer, Refusal, json_response};
use super::auth::Caller;
use super::objects::{Query, State};
use super::sql::LINK_HEADER;
use super::{auth, compute, oauth};

/// The id of this workspace.
pub const WORKSPACE_ID: u64 = 1_000_000_000_000_001;
/// The largest body of an SQL call, in bytes.
const STATEMENT_MAX: usize = 20 << 20;

type App = Shared<Arc<State>>;
type Asked = Parameters<Query>;

pub fn router(state: Arc<State>) -> Router {
    let unity: Router<Arc<State>> = Router::new()
        .route("/catalogs", get(|app: App, query: Asked| on_disk(app, move |state| state.catalogs(&query))))
        .route(
            "/catalogs/{name}",
            get(|app: App, Path(name): Path<String>| on_disk(app, move |state| state.catalog(&name))),
        )
        .route("/schemas", get(|app: App, query: Asked| on_disk(app, move |state| state.schemas(&query))))
        .route(
            "/schemas/{name}",
            get(|app: App, Path(name): Path<String>| on_disk(app, move |state| state.schema(&name))),
        )
        .route("/tables", get(|app: App, query: Asked| on_disk(app, move |state| state.tables(&query))))
        .route(
            "/tables/{name}",
            get(|app: App, Path(name): Path<String>| on_disk(app, move |state| state.table(&name))),
        )
        .route(
            "/tables/{name}/exists",
            get(|app: App, Path(name): Path<String>| on_disk(app, move |state| state.table_exists(&name))),
        )
        .route(
            "/table-summaries",
            get(|app: App, query: Asked| on_disk(app, move |state| state.table_summaries(&query))),
        )
        .route("/metastore_summary", get(|app: App| on_disk(app, |state| Ok(state.metastore_summary()))))
        .route("/current-metastore-assignment", get(|app: App| on_disk(app, |state| Ok(state.metastore_assignment()))))
        .route(
            "/effective-permissions/{kind}/{name}",
            get(|app: App, Path((kind, name)): Path<(String, String)>, query: Asked| {
                on_disk(app, move |state| state.effective_permissions(&kind, &name, &query))
            }),
        )
        .route(
            "/temporary-table-credentials",
            post(|app: App, body: Bytes| on_disk(app, move |state| state.table_credentials(&body))),
        );
    let clusters: Router<Arc<State>> = Router::new()
        .route("/get", get(|query: Asked| async move { answered(compute::get(&query)) }))
        .route("/list", get(|| async { answered(compute::list()) }))
        .route("/start", post(|body: Bytes| async move { answered(compute::start(&body)) }));
    Router::new()
        .nest("/api/2.1/unity-catalog", unity.clone())
        .nest("/api/2.0/unity-catalog", unity)
        .nest("/api/2.1/clusters", clusters.clone())
        .nest("/api/2.0/clusters", clusters)
        .route(
            "/api/2.0/preview/scim/v2/Me",
            get(|Extension(caller): Extension<Caller>| async move { answered(Ok(me(&caller))) }),
        )
        // Requests that are sent before signing in.
        .route("/oidc/v1/token", post(token))
        .route("/oidc/.well-known/oauth-authorization-server", get(endpoints))
        .route("/.well-known/databricks-config", get(host))
        .route("/sql/protocolv1/o/{workspace}/{cluster}", post(on_cluster).layer(DefaultBodyLimit::max(STATEMENT_MAX)))
        .route("/sql/1.0/warehouses/{warehouse}", post(on_warehouse).layer(DefaultBodyLimit::max(STATEMENT_MAX)))
        .route("/results/{operation}/{piece}", get(file))
        .fallback(no_such_api)
        .method_not_allowed_fallback(no_such_api)
        .layer(from_fn_with_state(Arc::clone(&state), authenticated))
        .with_state(state)
}

async fn authenticated(Shared(state): App, mut request: Request, next: Next) -> Response {
    if ["/api/", "/sql/"].iter().any(|below| request.uri().path().starts_with(below)) {
        match auth::check(request.headers(), &state.known) {
            Ok(caller) => drop(request.extensions_mut().insert(caller)),
            Err(refusal) => {
                tracing::debug!(path = request.uri().path(), status = refusal.status.as_u16(), "request rejected");
                return refusal.into_response();
            }
        }
    }
    next.run(request).await
}

async fn token(Shared(state): App, headers: HeaderMap, form: Bytes) -> Response {
    let (status, body) = state.known.tokens.give(state.known.client.as_ref(), &headers, &form);
    json_response(status, &body)
}

async fn endpoints(headers: HeaderMap) -> Response {
    json_response(StatusCode::OK, &oauth::endpoints(&base(&headers)))
}

async fn host(headers: HeaderMap) -> Response {
    json_response(StatusCode::OK, &oauth::host(&base(&headers), WORKSPACE_ID))
}

/// The URL under which the caller reached this workspace.
fn base(headers: &HeaderMap) -> String {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    format!("http://{host}")
}

async fn on_disk(Shared(state): App, work: impl FnOnce(&State) -> Answer + Send + 'static) -> Response {
    let answer = tokio::task::spawn_blocking(move || work(&state)).await;
    answered(answer.unwrap_or_else(|error| Err(Refusal::internal(format!("the sandbox failed: {error}")))))
}

fn answered(answer: Answer) -> Response {
    match answer {
        Ok(body) => json_response(StatusCode::OK, &body),
        Err(refusal) => refusal.into_response(),
    }
}

async fn on_cluster(app: App, Path((_, cluster)): Path<(String, String)>, headers: HeaderMap, body: Bytes) -> Response {
    match compute::check(&cluster) {
        Ok(()) => statement(app, headers, body).await,
        Err(refusal) => refusal.into_response(),
    }
}

async fn on_warehouse(app: App, Path(warehouse): Path<String>, headers: HeaderMap, body: Bytes) -> Response {
    match compute::check_warehouse(&warehouse) {
        Ok(()) => statement(app, headers, body).await,
        Err(refusal) => refusal.into_response(),
    }
}

/// Answers one call of an SQL client.
async fn statement(Shared(state): App, headers: HeaderMap, body: Bytes) -> Response {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    match state.sql.call(&state, &format!("http://{host}"), &body).await {
        Ok(answer) => ([(header::CONTENT_TYPE, "application/x-thrift")], answer).into_response(),
        Err(error) => {
            let text = error.to_string();
            tracing::debug!(error = text, "an SQL call could not be read");
            let words = header::HeaderValue::from_str(&text).unwrap_or(header::HeaderValue::from_static("malformed"));
            (StatusCode::BAD_REQUEST, [("x-thriftserver-error-message", words)]).into_response()
        }
    }
}

/// Answers with a result file. As at a storage account, the link itself is the permission: a request that also has a
/// token is rejected.
async fn file(
    Shared(state): App,
    Path((operation, piece)): Path<(Uuid, usize)>,
    Parameters(query): Asked,
    headers: HeaderMap,
) -> Response {
    let (name, value) = LINK_HEADER;
    if headers.contains_key(header::AUTHORIZATION) || headers.get(name).is_none_or(|sent| sent != value) {
        return (StatusCode::BAD_REQUEST, "send the headers of the link, and no token").into_response();
    }
    let until = query.get("until").and_then(|until| until.parse().ok());
    let key = query.get("key").and_then(|key| key.parse().ok());
    let found = until.zip(key).and_then(|(until, key)| state.sql.file(operation, piece, until, key));
    match found {
        Some(Ok(bytes)) => bytes.into_response(),
        Some(Err(error)) => Refusal::internal(error.to_string()).into_response(),
        None => {
            (StatusCode::FORBIDDEN, "<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>")
                .into_response()
        }
    }
}

fn me(caller: &Caller) -> serde_json::Value {
    json!({ "id": "1", "userName": caller.0, "displayName": "Sandbox", "active": true })
}

async fn no_such_api(method: Method, uri: Uri) -> Response {
    let message = format!("No API found for '{method} {}'", uri.path());
    Refusal::new(StatusCode::NOT_FOUND, "ENDPOINT_NOT_FOUND", message).into_response()
}
