//! The end of every call: one log line, whose level tells whose fault a failure is, and its count in the metrics.

use std::sync::Arc;
use std::time::Instant;

use tonic::{Code, Status};
use tracing::{Level, Span};

use super::lines::Lines;
use crate::metrics::InFlight;

/// A call that has not ended yet. If it is dropped before its end, it logs that the caller went away.
#[derive(Debug)]
pub(super) struct Outcome {
    path: Arc<str>,
    span: Span,
    counted: InFlight,
    lines: Arc<Lines>,
    started: Instant,
    done: bool,
}

impl Outcome {
    pub fn new(path: Arc<str>, span: Span, counted: InFlight, lines: Arc<Lines>) -> Self {
        Self { path, span, counted, lines, started: Instant::now(), done: false }
    }

    /// The span of the call.
    pub fn span(&self) -> &Span {
        &self.span
    }

    /// Logs the end of the call.
    pub fn finish(mut self, status: &Status) {
        self.log(status.code(), status.message());
    }

    fn log(&mut self, code: Code, message: &str) {
        self.done = true;
        let took = self.started.elapsed();
        self.counted.end(code, took);
        let millis = took.as_secs_f64() * 1000.0;
        let _entered = self.span.enter();
        self.span.record("rpc.grpc.status_code", i32::from(code));
        let level = level(code);
        if level == Level::ERROR {
            self.span.record("otel.status_code", "ERROR");
        }
        if matches!(level, Level::WARN | Level::INFO) {
            let Some(left_out) = self.lines.take(Instant::now()) else { return };
            if left_out > 0 {
                tracing::warn!(left_out, "log lines of refused calls were left out");
            }
        }
        // The field is not called `message`: that is the event's own text, which it would replace.
        let (path, code, error) = (&*self.path, format!("{code:?}"), message);
        // tracing fixes the level of an event at compile time.
        match level {
            Level::ERROR => tracing::error!(path, code, error, millis, "call failed"),
            Level::WARN => tracing::warn!(path, code, error, millis, "call failed"),
            Level::INFO => tracing::info!(path, code, error, millis, "call refused"),
            _ => tracing::debug!(path, code, error, millis, "call ended"),
        }
    }
}

impl Drop for Outcome {
    fn drop(&mut self) {
        if !self.done {
            self.log(Code::Cancelled, "the caller went away");
        }
    }
}

/// Faults of ours are errors, overload is a warning, faults of the caller are information. A caller that cancels is
/// normal: it has what it wanted, as when the plan of an unchanged table ends.
fn level(code: Code) -> Level {
    match code {
        Code::Ok | Code::Cancelled => Level::DEBUG,
        Code::Internal | Code::Unknown | Code::DataLoss => Level::ERROR,
        Code::Unavailable | Code::ResourceExhausted | Code::DeadlineExceeded => Level::WARN,
        _ => Level::INFO,
    }
}
