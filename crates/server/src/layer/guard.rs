//! The layers that reject or end a call: panics, metadata, rights, deadlines, limits.

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
use tonic::{Code, Status};

use super::Shared;
use super::call::Call;
use super::places::{Class, Kind, Place};
use crate::listen::Connection;
use crate::rights::{Caller, is_open};

/// The place that a stream holds until it ends; it is passed with the answer to its body.
#[derive(Debug, Clone)]
pub(super) struct Permit(#[allow(dead_code)] Arc<Place>);

pub(super) async fn panics(request: Request, next: Next) -> Response<Body> {
    match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        Err(_) => refuse(panicked()),
    }
}

/// The answer to a call whose handler panicked. The panic hook has logged the panic's message.
pub(crate) fn panicked() -> ApiError {
    ApiError::internal("the handler of this call failed")
}

pub(super) async fn rights(State(shared): State<Arc<Shared>>, mut request: Request, next: Next) -> Response<Body> {
    if shared.drain.is_cancelled() && !is_open(request.uri().path()) {
        return refuse(draining(shared.service));
    }
    let authorization = request.headers().get(AUTHORIZATION).map(|value| value.to_str().unwrap_or_default());
    let peer = request.extensions().get::<Connection>().and_then(|connection| connection.peer.clone());
    match shared.rights.admit(request.uri().path(), authorization, peer.as_deref()) {
        Ok(caller) => {
            // The token is not needed any more: neither handlers nor logs must see it.
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

/// The answer while the process shuts down.
pub(super) fn draining(service: &'static str) -> ApiError {
    ApiError::unavailable(service, format!("{service} is shutting down; try again")).retry_after(Duration::from_secs(1))
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

/// The answer to a call that did not finish before its deadline.
pub(super) fn expired(service: &'static str) -> ApiError {
    let text = format!("{service} did not finish within the deadline of the call");
    ApiError::new(Code::DeadlineExceeded, ErrorReason::Deadline, text)
}

pub(super) async fn limits(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response<Body> {
    let streams = request.extensions().get::<Call>().is_some_and(|call| call.streams);
    let path = request.uri().path();
    let class = Class::of(path, request.extensions().get::<Caller>());
    let kind = match streams {
        true => Kind::Stream,
        false if shared.waiting.contains(&path) => Kind::Wait,
        false => Kind::Call,
    };
    let Some(place) = shared.places.take(class, kind) else { return refuse(crowded(shared.service)) };
    let mut response = next.run(request).await;
    if streams {
        response.extensions_mut().insert(Permit(Arc::new(place)));
    }
    response
}

/// The answer when all places of the caller's class are taken.
pub(super) fn crowded(service: &'static str) -> ApiError {
    let text = format!("{service} handles as many calls as it may; try again");
    ApiError::new(Code::ResourceExhausted, ErrorReason::TooManyCalls, text).retry_after(Duration::from_secs(1))
}

/// Rejects metadata beyond the limit. The transport's limit is wider, because it would answer without a gRPC status.
pub(super) async fn metadata(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response<Body> {
    let bytes: usize = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
    if bytes > shared.max_metadata_bytes {
        let most = shared.max_metadata_bytes;
        let text = format!("the metadata of the call takes {bytes} bytes: at most {most} are allowed");
        return refuse(ApiError::new(Code::ResourceExhausted, ErrorReason::TooLarge, text).with("limit", most));
    }
    next.run(request).await
}

pub(super) fn refuse(error: ApiError) -> Response<Body> {
    Status::from(error).into_http()
}
