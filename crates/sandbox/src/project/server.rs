//! The HTTP server: verifies every request, streams bodies in both directions, and gives each answer a request id.
//!
//! It must never pass on a request whose signature it has not checked. `routes` decides what a request means.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use http::request::Parts;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use jiff::Timestamp;
use md5::{Digest, Md5};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

use super::auth::Signed;
use super::error::{ApiError, ApiResult};
use super::request::{Target, below_service};
use super::rest;
use super::routes::{Reply, Tunnelled, route, within_project};
use super::state::State;
use super::storage::{self, Asked};
use super::tunnel::block::Carrier;
use super::tunnel::download::{Download, Reading};
use super::tunnel::pipe::{self, BodyReader};
use super::tunnel::upload::block_id;
use super::wire::encoding::Encoding;
use super::wire::from_io;

/// The largest body that is held in memory, which is any but one of rows.
const BODY_BYTES_MAX: usize = 4 << 20;

/// Serves one request.
pub async fn serve(state: Arc<State>, request: Request<Body>) -> Response {
    let request_id = uuid::Uuid::new_v4().simple().to_string().to_uppercase();
    let (parts, body) = request.into_parts();
    let line = format!("{} {}", parts.method, parts.uri);
    let service = below_service(&parts).is_some();
    let stop = state.stop.clone();
    let answered = tokio::select! {
        biased;
        () = stop.cancelled() => Err(ApiError::new(503, "ServiceUnavailable", "the project is stopping")),
        answered = answer(state, parts, body) => answered,
    };
    let mut response = match answered {
        Ok(response) => response,
        Err(error) => {
            tracing::debug!(request = line, code = error.code, message = error.message, "request rejected");
            if service { error.of_service(&request_id) } else { error.of_tunnel(&request_id) }
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
    let state = state.asked(&target);
    if parts.method == Method::PUT && target.params.has("blockid") {
        return take_rows(body, &parts, move |encoding, rows| put_block(&state, &target, encoding, rows)).await;
    }
    if Asked::is_upload(&parts.method, &target) {
        let put = move |encoding: &str, rows: BodyReader| match Asked::of(&state, &target)? {
            Some(asked) => storage::receive(&state, &asked, &target.params, encoding, rows),
            None => Err(ApiError::invalid(format!("rows cannot be sent to {}", target.path))),
        };
        return take_rows(body, &parts, put).await;
    }
    let body = Limited::new(body, BODY_BYTES_MAX).collect().await.map_err(|error| {
        let long = error.downcast_ref::<LengthLimitError>().is_some();
        let what = if long { format!("a body of more than {BODY_BYTES_MAX} bytes") } else { error.to_string() };
        ApiError::invalid(what)
    })?;
    let body = body.to_bytes();
    check_md5(parts.headers.get("content-md5").and_then(|v| v.to_str().ok()).unwrap_or_default(), &body)?;
    let accept = text_header(&parts, header::ACCEPT_ENCODING).to_owned();
    let method = parts.method;
    let reply = blocking(move || route(&state, &method, &target, &body, &accept)).await?;
    match reply {
        Reply::Whole(response) => Ok(response),
        Reply::Rows(download, reading) => send_rows(download, reading).await,
    }
}

/// Clients send the MD5 of a body as hex, although RFC 1864 says Base64.
fn check_md5(stated: &str, body: &[u8]) -> ApiResult<()> {
    let found = hex::encode(Md5::digest(body));
    if stated.is_empty() || stated.eq_ignore_ascii_case(&found) {
        return Ok(());
    }
    Err(ApiError::invalid(format!("the body's MD5 is {found}, Content-MD5 states {stated}")))
}

fn text_header(parts: &Parts, name: header::HeaderName) -> &str {
    parts.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default()
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> ApiResult<T> + Send + 'static) -> ApiResult<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| ApiError::internal(format!("the sandbox failed: {error}")))?
}

/// Passes the rows of a body and its content encoding to `take`, while the body is still being received.
async fn take_rows(
    body: Body,
    parts: &Parts,
    take: impl FnOnce(&str, BodyReader) -> ApiResult<Response> + Send + 'static,
) -> ApiResult<Response> {
    let encoding = text_header(parts, header::CONTENT_ENCODING).to_owned();
    let (feeder, reader) = pipe::body_reader();
    let ((), done) = tokio::join!(feeder.feed(body), blocking(move || take(&encoding, reader)));
    done
}

fn put_block(state: &State, target: &Target, encoding: &str, rows: BodyReader) -> ApiResult<Response> {
    let params = &target.params;
    let carrier = if params.has("arrow") { Carrier::Arrow } else { Carrier::Records };
    let path = within_project(state, target, 0)?;
    let table = Tunnelled::table(target, &path)?;
    let upload = state.uploads.get(params.need("uploadid")?)?;
    upload.check_target(table.schema, table.name, &state.catalog, params)?;
    let block = block_id(params.need("blockid")?)?;
    let encoding = Encoding::of_upload(encoding, carrier == Carrier::Arrow)?;
    upload.put(&state.catalog, block, carrier, encoding, rows, Timestamp::now().as_second())?;
    let response = rest::answer(StatusCode::OK, "text/plain", String::new());
    let metrics = "{\"PanguIOCost\":0,\"ServerIOCost\":0,\"ServerTotalCost\":0,\"RateLimitCost\":0}";
    Ok(rest::with_header(response, "odps-tunnel-metrics", metrics))
}

async fn send_rows(download: Arc<Download>, reading: Reading) -> ApiResult<Response> {
    let encoding = reading.encoding;
    let (writer, receiver) = pipe::body_writer();
    drop(tokio::task::spawn_blocking(move || download.send(&reading, writer)));
    // The first chunk decides between rows and an error answer: after it the status can no longer change.
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

#[cfg(test)]
mod tests {
    use super::check_md5;

    #[test]
    fn a_body_is_what_its_digest_says() {
        assert_eq!(check_md5("", b"abc"), Ok(()));
        assert_eq!(check_md5("900150983CD24FB0d6963f7d28e17f72", b"abc"), Ok(()));
        assert_eq!(check_md5("900150983cd24fb0d6963f7d28e17f72", b"abd").expect_err("another body").status, 400);
    }
}
