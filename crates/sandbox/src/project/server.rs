//! HTTP: verifies, routes, and answers every request with a request id.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use http::request::Parts;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use jiff::Timestamp;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

use super::auth::Signed;
use super::catalog::DEFAULT_SCHEMA;
use super::error::{ApiError, ApiResult};
use super::request::{Params, Target};
use super::rest;
use super::state::State;
use super::tunnel::block::Carrier;
use super::tunnel::download::{Download, Reading};
use super::tunnel::upload::{Purpose, block_id};
use super::tunnel::{addressed, pipe};
use super::wire::encoding::Encoding;
use super::wire::from_io;

/// Largest body that is held in memory: everything but blocks.
const BODY_BYTES_MAX: usize = 4 << 20;

/// Serves one request.
pub async fn serve(state: Arc<State>, request: Request<Body>) -> Response {
    let request_id = uuid::Uuid::new_v4().simple().to_string().to_uppercase();
    let (parts, body) = request.into_parts();
    let line = format!("{} {}", parts.method, parts.uri);
    let mut response = match answer(state, parts, body).await {
        Ok(response) => response,
        Err(error) => {
            tracing::debug!(request = line, code = error.code, message = error.message, "refused");
            error.response(&request_id)
        }
    };
    if let Ok(value) = HeaderValue::from_str(&request_id) {
        response.headers_mut().insert("x-odps-request-id", value);
    }
    response
}

async fn answer(state: Arc<State>, parts: Parts, body: Body) -> ApiResult<Response> {
    let target = Target::parse(&parts)?;
    let signed =
        Signed { method: &parts.method, path: &target.path, params: &target.params.0, headers: &parts.headers };
    state.account.verify(&signed, Timestamp::now())?;
    let is_block = parts.method == Method::PUT && target.params.has("blockid");
    if is_block {
        return put_block(state, target, &parts, body).await;
    }
    let body = Limited::new(body, BODY_BYTES_MAX).collect().await.map_err(|error| {
        let long = error.downcast_ref::<LengthLimitError>().is_some();
        let what = if long { format!("a body of more than {BODY_BYTES_MAX} bytes") } else { error.to_string() };
        ApiError::invalid(what)
    })?;
    let body = body.to_bytes();
    let accept = text_header(&parts, header::ACCEPT_ENCODING).to_owned();
    let method = parts.method;
    let reply = blocking(move || route(&state, &method, &target, &body, &accept)).await?;
    match reply {
        Reply::Whole(response) => Ok(response),
        Reply::Rows(download, reading) => send_rows(download, reading).await,
    }
}

fn text_header(parts: &Parts, name: header::HeaderName) -> &str {
    parts.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default()
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> ApiResult<T> + Send + 'static) -> ApiResult<T> {
    tokio::task::spawn_blocking(work).await.map_err(|error| ApiError::internal(format!("a fault here: {error}")))?
}

enum Reply {
    Whole(Response),
    Rows(Arc<Download>, Reading),
}

/// The schema and table that a tunnel path names, after `projects/P`.
fn table_path(rest: &[&str]) -> Option<(String, String)> {
    match rest {
        ["schemas", schema, "tables", table] => Some(((*schema).to_owned(), (*table).to_owned())),
        ["tables", table] => Some((String::new(), (*table).to_owned())),
        _ => None,
    }
}

fn schema_of(path: &str, params: &Params) -> String {
    let named = if path.is_empty() { params.get("curr_schema").unwrap_or_default() } else { path };
    if named.is_empty() { DEFAULT_SCHEMA.to_owned() } else { named.to_owned() }
}

/// What follows `projects/P`, for this project.
fn within_project<'t>(state: &State, target: &'t Target) -> ApiResult<Vec<&'t str>> {
    let segments: Vec<&str> = target.segments.iter().map(String::as_str).collect();
    match segments.as_slice() {
        ["projects", project, rest @ ..] if project.eq_ignore_ascii_case(&state.name) => Ok(rest.to_vec()),
        ["projects", project, ..] => {
            Err(ApiError::new(404, "NoSuchProject", format!("ODPS-0420111:Project not found - '{project}'")))
        }
        _ => Err(no_such_path(target)),
    }
}

fn no_such_path(target: &Target) -> ApiError {
    ApiError::new(404, "NoSuchObject", format!("nothing is served at {}", target.path))
}

fn whole(response: Response) -> ApiResult<Reply> {
    Ok(Reply::Whole(response))
}

fn text(body: String) -> Response {
    rest::answer(StatusCode::OK, "text/plain", body)
}

fn route(state: &State, method: &Method, target: &Target, body: &[u8], accept: &str) -> ApiResult<Reply> {
    let params = &target.params;
    let first: Vec<&str> = target.segments.iter().map(String::as_str).collect();
    match first.as_slice() {
        ["tenants"] => return whole(rest::tenant(state)),
        ["logview", "host"] => return whole(text(format!("http://{}", state.host))),
        _ => {}
    }
    let path = within_project(state, target)?;
    if let Some((schema, table)) = table_path(&path) {
        return table_route(state, method, &schema_of(&schema, params), &table, params, accept);
    }
    let now = Timestamp::now().as_second();
    match (method.as_str(), path.as_slice()) {
        ("GET", []) => whole(rest::project(state)),
        ("GET", ["tunnel"]) => whole(text(state.host.clone())),
        ("PUT" | "POST" | "GET", ["logs" | "logview" | "authorization", ..]) => whole(text(String::new())),
        ("GET", ["schemas"]) => whole(rest::schemas(state, params)?),
        ("POST", ["schemas"]) => whole(rest::create_schema(state, body, now)?),
        ("GET", ["schemas", schema]) => whole(rest::schema(state, schema)?),
        ("DELETE", ["schemas", schema]) => {
            state.catalog.drop_schema(schema, false)?;
            whole(text(String::new()))
        }
        ("GET", ["tables"]) => whole(rest::tables::list(state, &schema_of("", params), params)?),
        ("GET", ["schemas", schema, "tables"]) => whole(rest::tables::list(state, schema, params)?),
        ("POST", ["instances"]) => whole(rest::instances::create(state, params.get("curr_schema"), body)?),
        (_, ["instances", id]) => instance_route(state, method, id, params, accept),
        _ => Err(no_such_path(target)),
    }
}

fn read(state: &State, params: &Params, accept: &str) -> ApiResult<Reply> {
    let download = state.downloads.get(params.need("downloadid")?)?;
    if !params.has("data") {
        return whole(rest::json_answer(&download.describe()));
    }
    let reading = download.reading(params, accept)?;
    Ok(Reply::Rows(download, reading))
}

fn instance_route(state: &State, method: &Method, id: &str, params: &Params, accept: &str) -> ApiResult<Reply> {
    use super::instance::Outcome;
    let instance = state.instances.get(id)?;
    match method.as_str() {
        "POST" if params.has("downloads") => match &instance.outcome {
            Outcome::Success(Some(rows)) => {
                whole(rest::json_answer(&state.downloads.keep(Download::of_result(rows)?).describe()))
            }
            _ => Err(ApiError::invalid(format!("instance {id} has no rows: it was no SELECT, or failed"))),
        },
        "GET" if params.has("downloadid") => read(state, params, accept),
        "GET" => whole(rest::instances::get(&instance, params)),
        // Every statement has ended when its id is known: there is nothing left to stop.
        "PUT" => whole(text(String::new())),
        other => Err(ApiError::new(405, "MethodNotAllowed", format!("{other} on an instance"))),
    }
}

fn table_route(
    state: &State,
    method: &Method,
    schema: &str,
    name: &str,
    params: &Params,
    accept: &str,
) -> ApiResult<Reply> {
    let table = state.catalog.table(schema, name)?;
    let upload = |id: &str| {
        let upload = state.uploads.get(id)?;
        upload.check_target(schema, name).map(|()| upload)
    };
    match method.as_str() {
        "POST" if params.has("uploads") => {
            let meta = table.meta();
            let purpose = Purpose {
                schema: schema.to_owned(),
                table: name.to_owned(),
                key: addressed(&meta, params)?,
                overwrite: params.is_true("overwrite"),
                create_partition: params.is_true("create_partition"),
            };
            let upload = state.uploads.create(&table, purpose)?;
            let response = rest::json_answer(&upload.describe(&state.catalog)?);
            whole(rest::with_header(response, "odps-tunnel-date-transform", "false"))
        }
        "POST" if params.has("uploadid") => {
            let upload = upload(params.need("uploadid")?)?;
            upload.commit(&state.catalog)?;
            whole(rest::json_answer(&upload.describe(&state.catalog)?))
        }
        "GET" if params.has("uploadid") => {
            whole(rest::json_answer(&upload(params.need("uploadid")?)?.describe(&state.catalog)?))
        }
        "POST" if params.has("downloads") => {
            let meta = table.meta();
            let key = addressed(&meta, params)?;
            let part =
                table.get(&key).ok_or_else(|| ApiError::no_partition(&super::partition::key_text(&meta, &key)))?;
            whole(rest::json_answer(&state.downloads.keep(Download::of_part(&meta, &part)).describe()))
        }
        "GET" if params.has("downloadid") => read(state, params, accept),
        "GET" if params.has("partitions") => whole(rest::tables::partitions(&table, params)?),
        "GET" if params.has("partition") => whole(rest::tables::partition(&table, params.need("partition")?)?),
        "GET" => whole(rest::tables::get(&table, params.has("extended"))),
        other => Err(ApiError::new(405, "MethodNotAllowed", format!("{other} on a table with these parameters"))),
    }
}

async fn put_block(state: Arc<State>, target: Target, parts: &Parts, body: Body) -> ApiResult<Response> {
    let carrier = if target.params.has("arrow") { Carrier::Arrow } else { Carrier::Records };
    let encoding_name = text_header(parts, header::CONTENT_ENCODING).to_owned();
    let (feeder, reader) = pipe::body_reader();
    let work = blocking(move || {
        let params = &target.params;
        let path = within_project(&state, &target)?;
        let (schema, table) = table_path(&path).ok_or_else(|| no_such_path(&target))?;
        let upload = state.uploads.get(params.need("uploadid")?)?;
        upload.check_target(&schema_of(&schema, params), &table)?;
        let block = block_id(params.need("blockid")?)?;
        let encoding = Encoding::of_upload(&encoding_name, carrier == Carrier::Arrow)?;
        upload.put(&state.catalog, block, carrier, encoding, reader)
    });
    let ((), done) = tokio::join!(feeder.feed(body), work);
    done?;
    let response = text(String::new());
    let metrics = "{\"PanguIOCost\":0,\"ServerIOCost\":0,\"ServerTotalCost\":0,\"RateLimitCost\":0}";
    Ok(rest::with_header(response, "odps-tunnel-metrics", metrics))
}

async fn send_rows(download: Arc<Download>, reading: Reading) -> ApiResult<Response> {
    let encoding = reading.encoding;
    let (writer, receiver) = pipe::body_writer();
    drop(tokio::task::spawn_blocking(move || download.send(&reading, writer)));
    // The first chunk decides between an answer and a refusal.
    let mut chunks = ReceiverStream::new(receiver);
    let first = match chunks.next().await {
        Some(Ok(bytes)) => bytes,
        Some(Err(error)) => return Err(from_io(error)),
        None => return Err(ApiError::internal("the rows could not be read")),
    };
    let body = Body::from_stream(tokio_stream::once(Ok(first)).chain(chunks));
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    if let Some(name) = encoding.header() {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(name));
    }
    Ok(response)
}
