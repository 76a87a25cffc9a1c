//! The layers that refuse or cut a call: panics, rights, deadlines, limits.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use futures::FutureExt;
use http::Response;
use http::header::AUTHORIZATION;
use mms_proto::ApiError;
use mms_proto::types::v1::ErrorReason;
use tokio::sync::OwnedSemaphorePermit;
use tonic::{Code, Status};

use super::Shared;
use super::call::Call;
use crate::rights::is_open;

/// The place that a stream holds until it ends; it travels with the answer to its body.
#[derive(Debug, Clone)]
pub(super) struct Permit(#[allow(dead_code)] Arc<OwnedSemaphorePermit>);

pub(super) async fn panics(request: Request, next: Next) -> Response<Body> {
    match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        Err(_) => refuse(panicked()),
    }
}

/// The answer to a call whose handler panicked. What it said is in the log, where the panic hook put it.
pub(crate) fn panicked() -> ApiError {
    ApiError::internal("the handler of this call failed")
}

pub(super) async fn rights(State(shared): State<Arc<Shared>>, mut request: Request, next: Next) -> Response<Body> {
    if shared.drain.is_cancelled() && !is_open(request.uri().path()) {
        return refuse(draining(shared.service));
    }
    let authorization = request.headers().get(AUTHORIZATION).map(|value| value.to_str().unwrap_or_default());
    match shared.rights.admit(request.uri().path(), authorization) {
        Ok(caller) => {
            // The token has done its work: no handler and no log needs to see it.
            request.headers_mut().remove(AUTHORIZATION);
            if let Some(caller) = caller {
                tracing::Span::current().record("caller", caller.subject.as_str());
                request.extensions_mut().insert(caller);
            }
            next.run(request).await
        }
        Err(error) => refuse(error),
    }
}

/// The answer while the process goes down.
pub(super) fn draining(service: &'static str) -> ApiError {
    ApiError::unavailable(service, format!("{service} is going down; try again")).retry_after(Duration::from_secs(1))
}

pub(super) async fn deadline(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response<Body> {
    let deadline = request.extensions().get::<Call>().and_then(|call| call.context.deadline);
    match deadline {
        None => next.run(request).await,
        Some(deadline) => match tokio::time::timeout_at(deadline, next.run(request)).await {
            Ok(response) => response,
            Err(_) => refuse(expired(shared.service)),
        },
    }
}

/// The answer to a call that did not end in time.
pub(super) fn expired(service: &'static str) -> ApiError {
    let text = format!("{service} did not finish within the deadline of the call");
    ApiError::new(Code::DeadlineExceeded, ErrorReason::Deadline, text)
}

pub(super) async fn limits(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response<Body> {
    let streams = request.extensions().get::<Call>().is_some_and(|call| call.streams);
    // A process at its limit still says that it lives: its supervisor must not kill it for being busy.
    let path = request.uri().path();
    if is_open(path) {
        return next.run(request).await;
    }
    let places = match streams {
        true => &shared.streams,
        false if shared.waiting.contains(&path) => &shared.waits,
        false => &shared.calls,
    };
    let Ok(permit) = places.clone().try_acquire_owned() else {
        let text = format!("{} handles as many calls as it may; try again", shared.service);
        let error = ApiError::new(Code::ResourceExhausted, ErrorReason::TooManyCalls, text);
        return refuse(error.retry_after(Duration::from_secs(1)));
    };
    let mut response = next.run(request).await;
    if streams {
        response.extensions_mut().insert(Permit(Arc::new(permit)));
    }
    response
}

fn refuse(error: ApiError) -> Response<Body> {
    Status::from(error).into_http()
}
