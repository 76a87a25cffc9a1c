//! What belongs to the call that is being handled: it goes along with every call made on its behalf.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

/// The header of the request id, in and out.
pub(crate) const REQUEST_ID: &str = "x-request-id";

tokio::task_local! {
    static CURRENT: CallContext;
}

/// The call being handled.
#[derive(Debug, Clone)]
pub struct CallContext {
    /// Its id, in every log line about it and in its answer.
    pub request_id: Arc<str>,
    /// When it ends at the latest.
    pub deadline: Option<Instant>,
}

impl CallContext {
    /// The call that this task handles, if it handles one. Tasks spawned by a handler are their own.
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok()
    }

    /// The time left until its deadline.
    pub fn remaining(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Runs a future on behalf of this call.
    pub async fn scope<F: Future>(self, future: F) -> F::Output {
        CURRENT.scope(self, future).await
    }

    pub(crate) fn sync_scope<T>(&self, work: impl FnOnce() -> T) -> T {
        CURRENT.sync_scope(self.clone(), work)
    }
}
