//! The outermost layer: gives each call its id, span and deadline, and records its outcome.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use http::{HeaderMap, HeaderValue, Response};
use mms_proto::descriptor;
use tokio::time::Instant;
use tracing::Instrument;

use super::body::CallBody;
use super::outcome::Outcome;
use super::{Shared, answer};
use crate::context::{CallContext, REQUEST_ID};
use crate::listen::Connection;
use crate::{propagate, rights};

const HEALTH_CHECK: &str = "/grpc.health.v1.Health/Check";
/// The longest that a stream of reflection may stay open.
const REFLECTION_TIME: Duration = Duration::from_secs(60);

/// What the inner layers need to know of a call.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub streams: bool,
    pub context: CallContext,
}

pub(super) async fn call(State(shared): State<Arc<Shared>>, mut request: Request, next: Next) -> Response<Body> {
    let path: Arc<str> = request.uri().path().into();
    let method = descriptor::method(&path);
    // Outside the contracts there are only health and reflection. Both stream, except the plain health check.
    let open = rights::Open::of(&path);
    let streams = method.map_or(open.is_some() && path.as_ref() != HEALTH_CHECK, |method| method.streams);
    let request_id = request_id(request.headers());
    let asked = timeout(request.headers());
    let allowed = match (asked, streams) {
        // Reading descriptors takes a short time only.
        (asked, true) if open == Some(rights::Open::Reflection) => {
            Some(asked.unwrap_or(REFLECTION_TIME).min(REFLECTION_TIME))
        }
        (asked, true) => asked,
        (asked, false) => Some(asked.unwrap_or(shared.default_deadline).min(shared.max_deadline)),
    };
    let context = CallContext { request_id, deadline: allowed.map(|allowed| Instant::now() + allowed) };
    let span = tracing::info_span!(
        "call",
        otel.name = %path.trim_start_matches('/'),
        otel.kind = "server",
        otel.status_code = tracing::field::Empty,
        rpc.system = "grpc",
        rpc.grpc.status_code = tracing::field::Empty,
        service = shared.service,
        method = %path,
        request_id = %context.request_id,
        caller = tracing::field::Empty,
    );
    propagate::set_parent(&span, request.headers());
    let call = Call { streams, context: context.clone() };
    request.extensions_mut().insert(call.clone());

    let busy = request.extensions().get::<Connection>().map(Connection::busy);
    let counted = shared.calls.begin(&path);
    let outcome = Outcome::new(path, span.clone(), counted, shared.lines.clone());
    let response = context.clone().scope(next.run(request)).instrument(span).await;
    let (mut head, body) = response.into_parts();
    if let Ok(value) = HeaderValue::from_str(&context.request_id) {
        head.headers.insert(REQUEST_ID, value);
    }
    if let Some(status) = answer::settle(&mut head.headers, &context.request_id) {
        outcome.finish(&status);
        return Response::from_parts(head, body);
    }
    let permit = head.extensions.remove::<super::guard::Permit>();
    let body = CallBody::new(body, call, outcome, (permit, busy), shared.drain.clone());
    Response::from_parts(head, Body::new(body))
}

/// The caller's id if it can stand in a log line, else a new one.
fn request_id(headers: &HeaderMap) -> Arc<str> {
    let fit = |id: &&str| {
        (1..=128).contains(&id.len()) && id.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_.:".contains(&c))
    };
    match headers.get(REQUEST_ID).and_then(|value| value.to_str().ok()).filter(fit) {
        Some(id) => id.into(),
        None => uuid::Uuid::new_v4().to_string().into(),
    }
}

/// The timeout that the caller asks for, shortened by a tenth, at most 20 ms: so our answer, which has a reason,
/// arrives before the transport's own, which has none.
fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let given = parse_timeout(headers.get("grpc-timeout")?.to_str().ok()?)?;
    Some(given.saturating_sub((given / 10).min(Duration::from_millis(20))))
}

/// Parses `TimeoutValue TimeoutUnit` of the gRPC protocol: up to eight digits and one of H M S m u n.
fn parse_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let value: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(value * 3600),
        "M" => Duration::from_secs(value * 60),
        "S" => Duration::from_secs(value),
        "m" => Duration::from_millis(value),
        "u" => Duration::from_micros(value),
        "n" => Duration::from_nanos(value),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_the_protocol_writes_them() {
        assert_eq!(parse_timeout("250m"), Some(Duration::from_millis(250)));
        assert_eq!(parse_timeout("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        for wrong in ["", "m", "1", "1x", "-1m", "123456789S", "1 m"] {
            assert_eq!(parse_timeout(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_strange_request_id_is_replaced() {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, HeaderValue::from_static("job-7.retry:2"));
        assert_eq!(&*request_id(&headers), "job-7.retry:2");
        headers.insert(REQUEST_ID, HeaderValue::from_static("a b\"}"));
        assert_eq!(request_id(&headers).len(), 36);
    }
}
