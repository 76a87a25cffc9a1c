//! What happens to every call before and after its handler, the same in all services. From the outside in: id, trace
//! and outcome; panics; rights; deadline; limits.

mod answer;
mod body;
mod call;
mod guard;
mod outcome;

use std::sync::Arc;
use std::time::Duration;

use axum::middleware::from_fn_with_state;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub(crate) use self::guard::panicked;
use crate::config::LimitsConfig;
use crate::rights::Rights;

/// What the layers of one process share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub rights: Rights,
    pub calls: Arc<Semaphore>,
    pub streams: Arc<Semaphore>,
    pub waits: Arc<Semaphore>,
    /// Paths of the plain methods whose calls have their places there.
    pub waiting: Vec<&'static str>,
    pub default_deadline: Duration,
    pub max_deadline: Duration,
    /// Cancelled once the process drains: new calls are refused and streams end.
    pub drain: CancellationToken,
    pub service: &'static str,
}

impl Shared {
    pub fn new(
        service: &'static str,
        rights: Rights,
        limits: &LimitsConfig,
        waiting: Vec<&'static str>,
        drain: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self {
            rights,
            calls: Arc::new(Semaphore::new(limits.concurrent_calls)),
            streams: Arc::new(Semaphore::new(limits.concurrent_streams)),
            waits: Arc::new(Semaphore::new(limits.concurrent_waits)),
            waiting,
            default_deadline: Duration::from_secs(limits.default_deadline_seconds),
            max_deadline: Duration::from_secs(limits.max_deadline_seconds),
            drain,
            service,
        })
    }
}

/// Puts the layers around all routes. The one added last is the outermost.
pub(crate) fn wrap(routes: axum::Router, shared: Arc<Shared>) -> axum::Router {
    routes
        .layer(from_fn_with_state(shared.clone(), guard::limits))
        .layer(from_fn_with_state(shared.clone(), guard::deadline))
        .layer(from_fn_with_state(shared.clone(), guard::rights))
        .layer(axum::middleware::from_fn(guard::panics))
        .layer(from_fn_with_state(shared, call::call))
}
