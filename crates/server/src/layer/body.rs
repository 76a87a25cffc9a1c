//! The body of an answer: a stream ends at its deadline, when the process drains, and when polling it panics, always
//! with a status that says why. Panics of tasks that produce a stream are caught by [`crate::stream`].

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;
use mms_proto::ApiError;
use tokio::time::Sleep;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::Status;

use super::call::Call;
use super::guard::{self, Permit};
use super::{answer, outcome::Outcome};
use crate::listen::Busy;

/// The body of an answer, which ends with a status in every case.
pub(super) struct CallBody {
    inner: Body,
    call: Call,
    outcome: Option<Outcome>,
    /// What the call holds until it ends: its place, and its mark on the connection that is not idle.
    _held: (Option<Permit>, Option<Busy>),
    cuts: Option<Cuts>,
}

/// What can end a stream before its handler does.
struct Cuts {
    deadline: Option<Pin<Box<Sleep>>>,
    drain: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl CallBody {
    pub fn new(
        inner: Body,
        call: Call,
        outcome: Outcome,
        held: (Option<Permit>, Option<Busy>),
        drain: CancellationToken,
    ) -> Self {
        let cuts = call.streams.then(|| Cuts {
            deadline: call.context.deadline.map(|deadline| Box::pin(tokio::time::sleep_until(deadline))),
            drain: Box::pin(drain.cancelled_owned()),
        });
        Self { inner, call, outcome: Some(outcome), _held: held, cuts }
    }

    /// The last frame: trailers with this failure.
    fn end(&mut self, error: ApiError) -> Frame<Bytes> {
        let mut trailers = HeaderMap::new();
        // A status of ours always fits into headers; if it did not, the stream would end without a status.
        if Status::from(error).add_header(&mut trailers).is_err() {
            trailers.clear();
        }
        self.finish(&mut trailers);
        Frame::trailers(trailers)
    }

    fn finish(&mut self, trailers: &mut HeaderMap) {
        let status = answer::settle(trailers, &self.call.context.request_id);
        if let (Some(outcome), Some(status)) = (self.outcome.take(), status) {
            outcome.finish(&status);
        }
        self.cuts = None;
    }
}

impl http_body::Body for CallBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        let Some(outcome) = &this.outcome else { return Poll::Ready(None) };
        let polled = {
            let _entered = outcome.span().clone().entered();
            let inner = Pin::new(&mut this.inner);
            let context = &this.call.context;
            std::panic::catch_unwind(AssertUnwindSafe(|| context.sync_scope(|| inner.poll_frame(cx))))
        };
        match polled {
            Err(_) => Poll::Ready(Some(Ok(this.end(guard::panicked())))),
            Ok(Poll::Ready(Some(Ok(frame)))) => Poll::Ready(Some(Ok(match frame.into_trailers() {
                Ok(mut trailers) => {
                    this.finish(&mut trailers);
                    Frame::trailers(trailers)
                }
                Err(data) => data,
            }))),
            Ok(Poll::Ready(other)) => {
                // The end without trailers: an answer that is not gRPC, or a body that failed.
                if let Some(outcome) = this.outcome.take() {
                    let broken = matches!(other, Some(Err(_)));
                    outcome.finish(&if broken { Status::unknown("the answer is incomplete") } else { Status::ok("") });
                }
                Poll::Ready(other)
            }
            Ok(Poll::Pending) => {
                let Some(cuts) = &mut this.cuts else { return Poll::Pending };
                let service = "this service";
                if cuts.deadline.as_mut().is_some_and(|deadline| deadline.as_mut().poll(cx).is_ready()) {
                    return Poll::Ready(Some(Ok(this.end(guard::expired(service)))));
                }
                if cuts.drain.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Some(Ok(this.end(guard::draining(service)))));
                }
                Poll::Pending
            }
        }
    }
}
