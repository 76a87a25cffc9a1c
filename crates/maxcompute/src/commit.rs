//! Commits a session so that the outcome is always known. The tunnel and the Storage API commit through this one function. When
//! an answer is in doubt, it must ask the session for its state before it sends the commit again: a session that published
//! already must not be reported as failed, and one that did not must not be reported as committed.

use std::time::Duration;

use mms_http::retry::{Classify, RetryClass};
use tokio::time::Instant;

use crate::error::{MaxComputeError, RefusalKind};
use crate::session::{Resolution, SessionState, resolve};
use crate::transport::Transport;

/// A session that can be committed.
pub(crate) trait Commit {
    /// The id that the server gave the session.
    fn id(&self) -> &str;

    /// The transport over which the session is reached.
    fn transport(&self) -> &Transport;

    /// Sends the commit once. Returns the state that the answer names; `None`, an answer without a state, means that the commit
    /// succeeded.
    async fn send(&self) -> Result<Option<SessionState>, MaxComputeError>;

    /// Asks for the session's state. Does not retry after `until`.
    async fn state(&self, until: Instant) -> Result<SessionState, MaxComputeError>;
}

/// Commits a session, and returns once its rows are published.
///
/// # Errors
/// A refusal: nothing was published. [`MaxComputeError::SessionLost`]: this session will never publish from now on; whether it
/// did must be found out from the target's rows. [`MaxComputeError::OutcomeUnknown`] after `limit`: ask for the state again
/// later.
pub(crate) async fn settle(session: &impl Commit, limit: Duration) -> Result<(), MaxComputeError> {
    let start = Instant::now();
    let id = || session.id().to_owned();
    let mut rounds = 0_u32;
    let mut send = true;
    loop {
        let mut refused = None;
        if send {
            match session.send().await {
                Ok(None | Some(SessionState::Closed)) => return Ok(()),
                Ok(Some(state)) => tracing::debug!(%state, "commit accepted, not yet finished"),
                Err(error) if is_final_refusal(&error) => return Err(error),
                Err(error) => {
                    tracing::warn!(session = session.id(), %error, "commit outcome unknown; asking for its state");
                    refused = refuses_again(&error).then_some(error);
                }
            }
        }
        // The session is asked at least once, even when the time limit has passed.
        let state = match session.state(start + limit).await {
            Ok(state) => state,
            Err(error) => {
                tracing::warn!(session = session.id(), %error, "cannot read the session's state after a commit");
                if error.retry_class() == RetryClass::Permanent {
                    return Err(MaxComputeError::OutcomeUnknown { session: id(), state: SessionState::Unknown });
                }
                SessionState::Unknown
            }
        };
        send = match resolve(state) {
            Resolution::Committed => return Ok(()),
            Resolution::Lost => return Err(MaxComputeError::SessionLost { session: id(), state }),
            Resolution::CommitAgain => match refused {
                Some(error) => return Err(error),
                None => true,
            },
            Resolution::Wait => false,
        };
        rounds = rounds.saturating_add(1);
        // Only one process commits to a table, so the delay needs no jitter.
        let pause = session.transport().retry().delay(rounds, 0.0);
        if start.elapsed() + pause > limit {
            return Err(MaxComputeError::OutcomeUnknown { session: id(), state });
        }
        tokio::time::sleep(pause).await;
    }
}

/// The state to assume when a commit was accepted with an answer that cannot be read.
pub(crate) fn unreadable(error: &MaxComputeError) -> Option<SessionState> {
    tracing::debug!(%error, "commit accepted, but its answer cannot be read; asking for the session's state");
    Some(SessionState::Unknown)
}

/// Whether the server says that the session does not exist, rather than the table or what contains it.
pub(crate) fn is_missing_session(error: &MaxComputeError) -> bool {
    match error {
        MaxComputeError::Refused(refusal) => {
            let above = refusal.code == "NoSuchProject" || error.target_is_gone();
            refusal.kind == RefusalKind::NotFound && !above
        }
        _ => false,
    }
}

/// Whether this refusal is final, so that the session's state would say nothing new.
fn is_final_refusal(error: &MaxComputeError) -> bool {
    let kind = error.refusal();
    matches!(
        kind,
        Some(
            RefusalKind::Forbidden
                | RefusalKind::Unauthenticated
                | RefusalKind::Invalid
                | RefusalKind::SchemaChanged
                | RefusalKind::AlreadyExists
                | RefusalKind::Syntax
        )
    )
}

/// Whether the server will refuse every repetition of this commit, for example because its partition was dropped. Such a refusal
/// may also be the answer to a repeated commit whose first sending took effect, so the session's state decides.
fn refuses_again(error: &MaxComputeError) -> bool {
    error.refusal().is_some() && error.retry_class() == RetryClass::Permanent && !error.may_have_acted()
}
