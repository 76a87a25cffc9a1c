//! The request on its way in: whole, in time, and within the bounds of its contract before anything of it is decoded.
//!
//! Every method of the contracts takes one message, so a body is read to its end here; only then does the call take a place
//! (`guard::limits`). What comes too slowly, too long or too nested costs what its bytes cost and no more.

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

/// Flag and length before a message.
const PREFIX: usize = 5;
/// From here on a request is judged, decoded and validated where it holds up no other call.
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
                    "the request did not arrive within {} seconds: it must be sent at once",
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
    // As many at once as leave a processor to the small ones.
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
    // Decoding and validating are the first thing that a handler does, up to where it first waits.
    let first = apart(|| (&mut handled).now_or_never());
    drop(turn);
    match first {
        Some(response) => response,
        None => handled.await,
    }
}

/// Runs what takes long so that the other calls of this thread go on elsewhere.
fn apart<T>(work: impl FnOnce() -> T) -> T {
    let many = tokio::runtime::Handle::try_current()
        .is_ok_and(|runtime| runtime.runtime_flavor() == tokio::runtime::RuntimeFlavor::MultiThread);
    if many { tokio::task::block_in_place(work) } else { work() }
}

fn judge(input: &prost_reflect::MessageDescriptor, bytes: &Bytes) -> Result<(), ApiError> {
    match bytes.split_first() {
        // Compressed: the transport refuses it, as no service takes that.
        Some((0, _)) => bounds::check(input, bytes.get(PREFIX..).unwrap_or_default()),
        _ => Ok(()),
    }
}

/// The body to its end, and the memory it holds.
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
                return Err(ApiError::new(Code::Cancelled, ErrorReason::Cancelled, "the request broke off"));
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
