//! The layers around every handler, the same in all services. From the outside in: request id, trace and outcome;
//! panics; metadata; rights; deadline; arrival and bounds of the request; limits.

mod answer;
mod body;
mod call;
mod guard;
mod intake;
mod lines;
mod outcome;
mod places;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::middleware::from_fn_with_state;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub(crate) use self::guard::panicked;
use self::places::Places;
use crate::config::LimitsConfig;
use crate::metrics::{Calls, Metrics};
use crate::rights::Rights;

/// What the layers of one process share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub rights: Arc<Rights>,
    pub places: Places,
    pub calls: Calls,
    /// How many log lines rejected calls may still write.
    pub lines: Arc<lines::Lines>,
    /// Permits for large requests that are being judged and decoded.
    pub large: Semaphore,
    /// How long a request may take to arrive completely.
    pub body_time: Duration,
    pub max_message_bytes: usize,
    pub max_metadata_bytes: usize,
    /// Paths of the plain methods that mostly wait; their calls take places of `Kind::Wait`.
    pub waiting: Vec<&'static str>,
    pub default_deadline: Duration,
    pub max_deadline: Duration,
    /// Cancelled when the process drains: new calls are rejected, and streams end.
    pub drain: CancellationToken,
    pub service: &'static str,
}

impl Shared {
    pub fn new(
        service: &'static str,
        rights: Arc<Rights>,
        limits: &LimitsConfig,
        waiting: Vec<&'static str>,
        metrics: &Metrics,
        drain: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self {
            rights,
            places: Places::new(limits, metrics),
            calls: Calls::of(metrics),
            lines: Arc::new(lines::Lines::new(Instant::now())),
            large: Semaphore::new(large_at_once()),
            body_time: Duration::from_secs(limits.body_seconds),
            max_message_bytes: limits.max_message_bytes,
            max_metadata_bytes: limits.max_metadata_bytes,
            waiting,
            default_deadline: Duration::from_secs(limits.default_deadline_seconds),
            max_deadline: Duration::from_secs(limits.max_deadline_seconds),
            drain,
            service,
        })
    }
}

/// How many large requests are worked on at once: all processors but one, and at least one.
fn large_at_once() -> usize {
    std::thread::available_parallelism().map_or(1, |count| count.get().saturating_sub(1).max(1))
}

/// Puts the layers around all routes. The layer added last is the outermost.
pub(crate) fn wrap(routes: axum::Router, shared: Arc<Shared>) -> axum::Router {
    routes
        .layer(from_fn_with_state(shared.clone(), guard::limits))
        .layer(from_fn_with_state(shared.clone(), intake::intake))
        .layer(from_fn_with_state(shared.clone(), guard::deadline))
        .layer(from_fn_with_state(shared.clone(), guard::rights))
        .layer(from_fn_with_state(shared.clone(), guard::metadata))
        .layer(axum::middleware::from_fn(guard::panics))
        .layer(from_fn_with_state(shared, call::call))
}
