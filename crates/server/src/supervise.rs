//! Runs background tasks by name. When a task that the process needs ends early, the process stops with the reason.

use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::BoxError;

/// Whether the process can run without a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Critical {
    /// If it ends before shutdown, for whatever reason, the process stops.
    Yes,
    /// If it fails, that is logged and the process continues.
    No,
}

/// Runs and watches tasks.
#[derive(Debug, Clone)]
pub struct Supervisor {
    tasks: TaskTracker,
    shutdown: CancellationToken,
    /// In the order in which they failed: the first may be a consequence of a later one, so all are kept.
    failed: Arc<Mutex<Vec<String>>>,
}

impl Supervisor {
    /// A supervisor that cancels `shutdown` when a critical task ends early.
    pub fn new(shutdown: CancellationToken) -> Self {
        Self { tasks: TaskTracker::new(), shutdown, failed: Arc::default() }
    }

    /// Starts a task. It should end when the shutdown token is cancelled.
    pub fn spawn<F>(&self, name: &'static str, critical: Critical, task: F)
    where
        F: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        let supervisor = self.clone();
        self.tasks.spawn(async move {
            // A task of its own, so that a panic becomes an error.
            let outcome = tokio::spawn(task).await;
            let fault = match outcome {
                Ok(Ok(())) if critical == Critical::No || supervisor.shutdown.is_cancelled() => {
                    tracing::debug!(task = name, "task ended");
                    return;
                }
                Ok(Ok(())) => "it ended".to_owned(),
                Ok(Err(error)) => chain(error.as_ref()),
                Err(join) => join.to_string(),
            };
            tracing::error!(task = name, error = fault, "task failed");
            if critical == Critical::Yes {
                let mut failed = supervisor.failed.lock().unwrap_or_else(PoisonError::into_inner);
                failed.push(format!("task {name}: {fault}"));
                supervisor.shutdown.cancel();
            }
        });
    }

    /// Which critical tasks ended early, and why; `None` if none did.
    pub fn failure(&self) -> Option<String> {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        (!failed.is_empty()).then(|| failed.join("; "))
    }

    /// Returns when all tasks have ended.
    pub async fn finished(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// An error with its causes in one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // Many errors repeat their cause in their own text.
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}
