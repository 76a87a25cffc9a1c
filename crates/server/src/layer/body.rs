//! The answer on its way out: a stream ends at its deadline, when the process drains and when polling it panics, always
//! with a status that says why. What a task of its own produces is watched by [`crate::stream`].

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

/// The body of an answer, watched.
pub(super) struct CallBody {
    inner: Body,
    call: Call,
    outcome: Option<Outcome>,
    /// What the call holds until its end: its place, and its connection's being busy.
    _held: (Option<Permit>, Option<Busy>),
    cuts: Option<Cuts>,
}

/// What ends a stream from outside.
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
        // A status of ours always fits into headers; were it not so, the caller would see a stream without status.
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
                // No trailers: an answer that is not gRPC, or a broken body.
                if let Some(outcome) = this.outcome.take() {
                    let broken = matches!(other, Some(Err(_)));
                    outcome.finish(&if broken { Status::unknown("the answer broke off") } else { Status::ok("") });
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
