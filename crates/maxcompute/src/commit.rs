//! Sending the commit of a session so that its outcome is always known: whenever the answer is in doubt, the session is asked
//! before anything is repeated. The one way in which sessions are committed, of the tunnel and of the Storage API.

use std::time::Duration;

use mms_http::retry::{Classify, RetryClass};
use tokio::time::Instant;

use crate::error::{MaxComputeError, RefusalKind};
use crate::session::{Resolution, SessionState, resolve};
use crate::transport::Transport;

/// A session that can be committed.
pub(crate) trait Commit {
    /// The server's id of it.
    fn id(&self) -> &str;

    /// Through what it is asked.
    fn transport(&self) -> &Transport;

    /// Sends the commit once. The state that the answer tells; an answer that tells none is a plain yes.
    async fn send(&self) -> Result<Option<SessionState>, MaxComputeError>;

    /// Where the session stands; not asked again after `until`.
    async fn state(&self, until: Instant) -> Result<SessionState, MaxComputeError>;
}

/// Publishes what a session holds.
///
/// # Errors
/// A refusal: nothing was published. [`MaxComputeError::SessionLost`]: this session will never publish, whether it did is to be
/// told from the rows. [`MaxComputeError::OutcomeUnknown`] after `limit`: ask again later.
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
                Ok(Some(state)) => tracing::debug!(%state, "commit accepted"),
                Err(error) if is_final_refusal(&error) => return Err(error),
                Err(error) => {
                    tracing::warn!(session = session.id(), %error, "commit in doubt: asking the session");
                    refused = refuses_again(&error).then_some(error);
                }
            }
        }
        // At least one question is asked, however late it is.
        let state = match session.state(start + limit).await {
            Ok(state) => state,
            Err(error) => {
                tracing::warn!(session = session.id(), %error, "the session did not answer");
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
        // One committer a table: there is nobody to be spread from.
        let pause = session.transport().retry().delay(rounds, 0.0);
        if start.elapsed() + pause > limit {
            return Err(MaxComputeError::OutcomeUnknown { session: id(), state });
        }
        tokio::time::sleep(pause).await;
    }
}

/// What a commit comes to that was accepted with an answer that nobody can read.
pub(crate) fn unreadable(error: &MaxComputeError) -> Option<SessionState> {
    tracing::debug!(%error, "commit accepted, answer unreadable");
    Some(SessionState::Unknown)
}

/// Not found, but not because the table or what it lies in is missing.
pub(crate) fn is_missing_session(error: &MaxComputeError) -> bool {
    match error {
        MaxComputeError::Refused(refusal) => {
            let above = refusal.code == "NoSuchProject" || error.target_is_gone();
            refusal.kind == RefusalKind::NotFound && !above
        }
        _ => false,
    }
}

/// A refusal after which the session's state says nothing new.
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

/// A refusal that comes again however often the commit is sent, such as of a partition that somebody dropped. It may
/// answer the second sending of a commit whose first took effect, so the session has the last word.
fn refuses_again(error: &MaxComputeError) -> bool {
    error.refusal().is_some() && error.retry_class() == RetryClass::Permanent && !error.may_have_acted()
}
