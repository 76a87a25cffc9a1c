//! The request id and deadline of the call that is being handled, which are sent along with every call made on its
//! behalf.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

/// The header of the request id, in and out.
pub(crate) const REQUEST_ID: &str = "x-request-id";

tokio::task_local! {
    static CURRENT: CallContext;
}

/// The call that is being handled.
#[derive(Debug, Clone)]
pub struct CallContext {
    /// The id of the request: in every log line about it, and in its answer.
    pub request_id: Arc<str>,
    /// When the call must have ended; `None` for a stream without a deadline.
    pub deadline: Option<Instant>,
}

impl CallContext {
    /// The call that this task handles; `None` outside a handler. A task that a handler spawns does not inherit it.
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok()
    }

    /// The time left until the deadline; `None` if there is no deadline.
    pub fn remaining(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Runs a future on behalf of this call: within it, [`CallContext::current`] answers with this call.
    pub async fn scope<F: Future>(self, future: F) -> F::Output {
        CURRENT.scope(self, future).await
    }

    pub(crate) fn sync_scope<T>(&self, work: impl FnOnce() -> T) -> T {
        CURRENT.sync_scope(self.clone(), work)
    }
}
