//! Reads a request: completely, in time, and within the bounds of its contract, before anything of it is decoded.
//!
//! Every method of the contracts takes one message, so its body is read to the end here; only then does the call take a
//! place (`guard::limits`). A request that arrives too slowly, or is too large or too nested, costs its bytes and no
//! more.

use std::sync::Arc;
use std::task::Poll;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use http::Response;
use http_body::Body as _;
use mms_proto::types::v1::ErrorReason;
use mms_proto::{ApiError, bounds, descriptor};
use tonic::Code;

use super::Shared;
use super::guard::{crowded, refuse};
use super::places::{Class, Place};
use crate::rights::Caller;

/// Bytes before a message in gRPC: a flag for compression, and the length.
const PREFIX: usize = 5;
/// A request above this many bytes is judged, decoded and validated where it blocks no other call.
const LARGE: usize = 32 << 10;

pub(super) async fn intake(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response<Body> {
    let Some(method) = descriptor::method(request.uri().path()) else { return next.run(request).await };
    let class = Class::of(&method.path, request.extensions().get::<Caller>());
    let (parts, body) = request.into_parts();
    let received = {
        let Some(_arriving) = shared.places.arrive(class) else { return refuse(crowded(shared.service)) };
        match tokio::time::timeout(shared.body_time, read(&shared, class, body)).await {
            Ok(Ok(received)) => received,
            Ok(Err(error)) => return refuse(error),
            Err(_) => {
                let text = format!(
                    "the request did not arrive completely within {} seconds: send it without pauses",
                    shared.body_time.as_secs()
                );
                return refuse(ApiError::new(Code::DeadlineExceeded, ErrorReason::Deadline, text));
            }
        }
    };
    let (bytes, _memory) = received;
    if bytes.len() <= LARGE {
        if let Err(error) = judge(&method.input, &bytes) {
            return refuse(error);
        }
        return next.run(Request::from_parts(parts, Body::from(bytes))).await;
    }
    // Large requests at once are limited so that a processor is left for small ones.
    let Ok(turn) = shared.large.acquire().await else { return refuse(crowded(shared.service)) };
    let judged = {
        let (input, bytes) = (method.input.clone(), bytes.clone());
        tokio::task::spawn_blocking(move || judge(&input, &bytes)).await
    };
    match judged {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return refuse(error),
        Err(_) => return refuse(super::panicked()),
    }
    let mut handled = Box::pin(next.run(Request::from_parts(parts, Body::from(bytes))));
    // A handler first decodes and validates, then waits for something: so the first poll does that work.
    let first = apart(|| (&mut handled).now_or_never());
    drop(turn);
    match first {
        Some(response) => response,
        None => handled.await,
    }
}

/// Runs blocking work; on a multi-threaded runtime, the other tasks of this thread move to another one meanwhile.
fn apart<T>(work: impl FnOnce() -> T) -> T {
    let many = tokio::runtime::Handle::try_current()
        .is_ok_and(|runtime| runtime.runtime_flavor() == tokio::runtime::RuntimeFlavor::MultiThread);
    if many { tokio::task::block_in_place(work) } else { work() }
}

fn judge(input: &prost_reflect::MessageDescriptor, bytes: &Bytes) -> Result<(), ApiError> {
    match bytes.split_first() {
        // A compressed message passes: the transport rejects it, because no service accepts compression.
        Some((0, _)) => bounds::check(input, bytes.get(PREFIX..).unwrap_or_default()),
        _ => Ok(()),
    }
}

/// Reads the body to its end. Returns it with the permits for the memory that it takes.
async fn read(shared: &Shared, class: Class, body: Body) -> Result<(Bytes, Vec<Place>), ApiError> {
    let most = shared.max_message_bytes + PREFIX;
    let (mut body, mut buffer, mut held) = (std::pin::pin!(body), BytesMut::new(), Vec::new());
    loop {
        let frame = std::future::poll_fn(|cx| match body.as_mut().poll_frame(cx) {
            Poll::Ready(frame) => Poll::Ready(frame),
            Poll::Pending => Poll::Pending,
        });
        let data = match frame.await {
            None => return Ok((buffer.freeze(), held)),
            Some(Err(_)) => {
                return Err(ApiError::new(Code::Cancelled, ErrorReason::Cancelled, "the request is incomplete"));
            }
            Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
        };
        let told = buffer.iter().chain(&data).take(PREFIX).copied().collect::<Vec<_>>();
        let length =
            <[u8; PREFIX]>::try_from(told).map_or(0, |[_, a, b, c, d]| u32::from_be_bytes([a, b, c, d]) as usize);
        if buffer.len() + data.len() > most || length > shared.max_message_bytes {
            let text =
                format!("the message is larger than {} bytes, the limit of this service", shared.max_message_bytes);
            let error = ApiError::new(Code::ResourceExhausted, ErrorReason::TooLarge, text);
            return Err(error.with("limit", shared.max_message_bytes));
        }
        let Some(memory) = shared.places.memory(class, data.len()) else { return Err(crowded(shared.service)) };
        held.push(memory);
        if buffer.is_empty() {
            buffer.reserve(data.len());
        }
        buffer.extend_from_slice(&data);
    }
}
