//! Failures of other services, as their callers handle them: what a service answered, whether a retry may help, and
//! waiting until it does. Whether a call is safe to repeat is for the caller to know.

use std::time::Duration;

pub use mms_http::retry::{Attempts, Classify, RetryClass, RetryPolicy};
use mms_proto::ApiError;
use tonic::Status;

/// Retries without end while a service is away, after 100 ms at first and at most 5 s. A caller that no longer needs
/// the answer drops the wait.
pub const FOR_EVER: RetryPolicy = RetryPolicy {
    first_delay: Duration::from_millis(100),
    max_delay: Duration::from_secs(5),
    factor: 2.0,
    max_attempts: None,
    total: Duration::MAX,
};

/// As [`FOR_EVER`], but for ten minutes.
pub const TEN_MINUTES: RetryPolicy = RetryPolicy { total: Duration::from_secs(600), ..FOR_EVER };

/// No retry: somebody else tries again.
pub const ONCE: RetryPolicy = RetryPolicy { max_attempts: Some(1), total: Duration::ZERO, ..FOR_EVER };

/// Another service refused a call, or did not answer it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{service} answered: {error}")]
pub struct PeerError {
    /// The name of the service.
    pub service: &'static str,
    /// What the service answered.
    pub error: Box<ApiError>,
}

impl PeerError {
    /// The failure of a call, where no status came from the service: a wrong answer, for example.
    pub fn new(service: &'static str, error: ApiError) -> Self {
        Self { service, error: Box::new(error) }
    }

    /// Converts the status that a service answered.
    pub fn of(service: &'static str) -> impl Fn(Status) -> Self {
        move |status| Self::new(service, ApiError::from_status(&status))
    }
}

impl Classify for PeerError {
    fn retry_class(&self) -> RetryClass {
        match self.error.retry_after {
            _ if !self.error.is_transient() => RetryClass::Permanent,
            None => RetryClass::Transient,
            retry_after => RetryClass::Throttled { retry_after },
        }
    }
}

/// Repeats a call while its failure is transient and the policy allows it. Only for calls that are safe to repeat.
pub async fn patiently<T, E, F>(policy: RetryPolicy, mut call: impl FnMut() -> F) -> Result<T, E>
where
    E: Classify + std::fmt::Display,
    F: Future<Output = Result<T, E>>,
{
    let mut attempts = Attempts::patient(policy);
    loop {
        match call().await {
            Err(error) => {
                tracing::debug!(%error, "a call to another service failed");
                if !attempts.again(error.retry_class()).await {
                    return Err(error);
                }
            }
            answered => return answered,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mms_proto::ErrorReason;
    use tonic::Code;

    fn too_late() -> PeerError {
        PeerError::new("x", ApiError::new(Code::DeadlineExceeded, ErrorReason::Deadline, "too late"))
    }

    /// How often a call is made that always fails like this, until the policy gives up or a day has passed.
    async fn calls(error: PeerError, policy: RetryPolicy) -> usize {
        let mut calls = 0;
        let asked = patiently::<(), _, _>(policy, || {
            calls += 1;
            std::future::ready(Err(error.clone()))
        });
        drop(tokio::time::timeout(Duration::from_secs(86_400), asked).await);
        calls
    }

    #[tokio::test(start_paused = true)]
    async fn what_passes_is_waited_for_and_nothing_else() {
        assert!(calls(too_late(), FOR_EVER).await > 10_000);
        assert!((100..400).contains(&calls(too_late(), TEN_MINUTES).await));
        assert_eq!(calls(too_late(), ONCE).await, 1);
        assert_eq!(calls(PeerError::new("x", ApiError::not_found("y")), FOR_EVER).await, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_says_when_is_not_asked_before() {
        let start = tokio::time::Instant::now();
        let mut answers = [Err(PeerError::new("x", ApiError::storage_full("x"))), Ok(())].into_iter();
        patiently(FOR_EVER, || std::future::ready(answers.next().expect("no third call"))).await.expect("the second");
        assert!(start.elapsed() >= Duration::from_secs(10));
    }
}
