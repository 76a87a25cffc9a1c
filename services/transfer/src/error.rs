//! Why an attempt failed, and what the scheduler is told of it: reason, message, and whether another attempt may help.

use mms_databricks::DatabricksError;
use mms_delta::DeltaError;
use mms_http::HttpError;
use mms_http::retry::{Classify, RetryClass};
use mms_maxcompute::error::{MaxComputeError, RefusalKind};
use mms_maxcompute::tunnel::{BlockAdvice, BlockError};
use mms_proto::ErrorReason;
use mms_proto::scheduler::v1 as pb;
use mms_proto::types::v1::{TargetIdentity, VerificationResult};
use mms_server::PeerError;
use mms_storage::StorageError;

/// The most characters of a failure's message.
const MESSAGE_CHARS_MAX: usize = 2_048;

/// Why an attempt ended without doing its task.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The lease is lost, or the process stops: nothing is reported.
    #[error("the lease is lost")]
    GivenUp,
    /// Another service did not answer or refused.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// The plan cannot be used by this version.
    #[error("the task's plan cannot be used: {0}")]
    Plan(String),
    /// The target refused or failed.
    #[error("{0}")]
    Target(#[from] MaxComputeError),
    /// The target did not accept a block.
    #[error("{0}")]
    Block(#[from] BlockError),
    /// The source failed.
    #[error("{0}")]
    Source(#[from] DeltaError),
    /// The workspace, or SQL on it, failed.
    #[error("{0}")]
    Sql(#[from] DatabricksError),
    /// SQL does not return the rows of the pinned version.
    #[error("SQL gives other rows than the pinned version has: {0}; plan a new job, or set read path STORAGE")]
    Unlike(String),
    /// The values that SQL returns cannot be converted to the table's types exactly.
    #[error("the table cannot be read by SQL: {0}; set the data source's read path STORAGE, and plan a new job")]
    NotBySql(String),
    /// The storage failed.
    #[error("{0}")]
    Storage(#[from] StorageError),
    /// The network settings are wrong.
    #[error("{0}")]
    Network(#[from] HttpError),
    /// A value cannot be carried exactly.
    #[error("column `{column}`: {why}")]
    Value {
        column: String,
        /// What is wrong with the value, and where it stands.
        why: String,
    },
    /// The tunnel cannot carry a timestamp. The unit starts over by the Storage API.
    #[error("column `{column}`: {why}")]
    Beyond {
        column: String,
        /// Which timestamp it is, and where it stands.
        why: String,
    },
    /// The target table is not as planned.
    #[error("target table {target}: {differences}")]
    Conflict {
        target: String,
        /// All differences, separated by semicolons.
        differences: String,
    },
    /// The session of a commit can never publish any more.
    #[error("upload session {0} ended without publishing; the unit is written again")]
    SessionLost(String),
    /// The outcome of a commit is unknown: its intent stays open, and nothing else is published to its unit before it is
    /// resolved.
    #[error("the outcome of commit intent {intent} is unknown, and the intent stays open: {why}")]
    IntentOpen {
        intent: String,
        /// Why the outcome could not be found out.
        why: String,
    },
    /// What SCHEMA had made does not exist any more.
    #[error("the target is not as it was written, so it is made and written again: {what}")]
    TargetGone {
        /// What is missing.
        what: String,
        /// Whether the table itself is gone, or only a partition.
        whole: bool,
        /// The table that is there in its place, if any.
        found: Option<Box<TargetIdentity>>,
    },
    /// VERIFICATION found other rows at the target than in the source.
    #[error("{message}")]
    Differs {
        /// The units that differ, with both values.
        message: String,
        result: Box<VerificationResult>,
    },
}

pub type Result<T, E = TransferError> = std::result::Result<T, E>;

impl TransferError {
    /// Whether the target said that the table or the partition does not exist, or is another one.
    pub fn target_is_gone(&self) -> bool {
        match self {
            Self::Target(error) => error.target_is_gone(),
            Self::Block(error) => error.error.target_is_gone(),
            _ => false,
        }
    }

    /// Whether the source or the target may have refused the session's credentials.
    pub fn credential_refused(&self) -> bool {
        let refused = |error: &MaxComputeError| error.refusal() == Some(RefusalKind::Unauthenticated);
        match self {
            Self::Source(DeltaError::AccessDenied { .. } | DeltaError::CredentialExpired { .. })
            | Self::IntentOpen { .. } => true,
            Self::Target(error) => refused(error),
            Self::Block(error) => refused(&error.error),
            Self::Sql(error) => sql_refused(error),
            _ => false,
        }
    }

    /// The stable reason that callers program against.
    fn reason(&self) -> ErrorReason {
        match self {
            Self::GivenUp => ErrorReason::Stopped,
            Self::Peer(peer) if peer.error.reason != ErrorReason::Unspecified => peer.error.reason,
            Self::Peer(_) => ErrorReason::Unavailable,
            Self::Plan(_) => ErrorReason::Internal,
            Self::Target(_) | Self::Block(_) | Self::Network(_) | Self::SessionLost(_) => ErrorReason::TargetFailed,
            Self::TargetGone { .. } => ErrorReason::TargetGone,
            Self::IntentOpen { .. } => ErrorReason::IntentOpen,
            Self::Source(DeltaError::SourceChanged { .. } | DeltaError::RowCount { .. }) | Self::Unlike(_) => {
                ErrorReason::SourceChanged
            }
            Self::Source(DeltaError::Unsupported { .. } | DeltaError::CatalogManaged { .. }) | Self::NotBySql(_) => {
                ErrorReason::SourceUnsupported
            }
            Self::Sql(error) if sql_refused(error) => ErrorReason::CredentialExpired,
            Self::Source(DeltaError::AccessDenied { .. }) => ErrorReason::StorageDenied,
            Self::Source(DeltaError::CredentialExpired { .. }) => ErrorReason::CredentialExpired,
            Self::Value { .. } | Self::Beyond { .. } | Self::Source(DeltaError::Column { .. }) => {
                ErrorReason::ValueUnsupported
            }
            Self::Source(_) | Self::Storage(_) | Self::Sql(_) => ErrorReason::SourceFailed,
            Self::Conflict { .. } => ErrorReason::TargetConflict,
            Self::Differs { .. } => ErrorReason::VerificationFailed,
        }
    }

    /// Whether another attempt may succeed.
    fn passes(&self) -> bool {
        match self {
            Self::GivenUp
            | Self::Peer(_)
            | Self::SessionLost(_)
            | Self::IntentOpen { .. }
            | Self::TargetGone { .. }
            | Self::Differs { .. } => true,
            Self::Plan(_)
            | Self::Value { .. }
            | Self::Beyond { .. }
            | Self::Conflict { .. }
            | Self::Unlike(_)
            | Self::NotBySql(_)
            | Self::Storage(_)
            | Self::Network(_) => false,
            Self::Sql(error) => sql_passes(error),
            Self::Target(error) => target_passes(error),
            // A session that ended, or that was made for another table than there is now, is replaced by a new one.
            Self::Block(error) => error.advice != BlockAdvice::GiveUp || target_passes(&error.error),
            // A SAS that expired is renewed by the next attempt, which asks the registry for its session again.
            Self::Source(DeltaError::AccessDenied { .. } | DeltaError::CredentialExpired { .. }) => true,
            Self::Source(DeltaError::Manifest(error)) => error.downcast_ref::<Self>().is_none_or(Self::passes),
            Self::Source(error) => error.is_transient(),
        }
    }

    /// Whether reading and sending the current block again may help, within this attempt.
    pub fn block_class(&self) -> RetryClass {
        match self {
            Self::Block(error) => error.retry_class(),
            Self::Source(error) if error.is_transient() => RetryClass::Transient,
            Self::Sql(error) => error.retry_class(),
            _ => RetryClass::Permanent,
        }
    }

    /// The report to the scheduler; None if the lease is lost, because the scheduler would reject it.
    pub fn report(self, step: pb::TaskStep) -> Option<pb::AttemptFailed> {
        if matches!(self, Self::GivenUp) {
            return None;
        }
        let step = if matches!(self, Self::TargetGone { .. }) { pb::TaskStep::Schema } else { step };
        let class = if self.passes() { pb::FailureClass::Transient } else { pb::FailureClass::Permanent };
        let message = mms_http::redact::redact_text(&self.to_string()).chars().take(MESSAGE_CHARS_MAX).collect();
        let reason = pb::JobReason { reason: self.reason() as i32, message };
        let (step, failure_class, reason) = (step as i32, class as i32, Some(reason));
        let failed = pb::AttemptFailed { step, failure_class, reason, ..pb::AttemptFailed::default() };
        Some(match self {
            Self::Differs { result, .. } => pb::AttemptFailed { verification: Some(*result), ..failed },
            Self::TargetGone { whole, found, .. } => {
                pb::AttemptFailed { table_gone: whole, identity: found.map(|found| *found), ..failed }
            }
            _ => failed,
        })
    }
}

/// Whether the workspace rejected the credential.
fn sql_refused(error: &DatabricksError) -> bool {
    error.refusal() == Some(mms_databricks::RefusalKind::Unauthenticated)
}

/// Whether a new attempt, with its own session and statements, may succeed.
fn sql_passes(error: &DatabricksError) -> bool {
    match error {
        DatabricksError::Lost { .. }
        | DatabricksError::Answer { .. }
        | DatabricksError::Http { .. }
        | DatabricksError::Compute { .. }
        | DatabricksError::Login { .. } => true,
        other => sql_refused(other) || other.retry_class() != RetryClass::Permanent,
    }
}

fn target_passes(error: &MaxComputeError) -> bool {
    match error {
        // The next attempt makes a new session, or asks this one again.
        MaxComputeError::SessionLost { .. }
        | MaxComputeError::OutcomeUnknown { .. }
        | MaxComputeError::BlockList { .. }
        | MaxComputeError::StillRunning { .. }
        | MaxComputeError::Cancelled { .. }
        | MaxComputeError::Http { .. } => true,
        // A temporary key expired, or the clock was corrected: the next attempt asks for its session again.
        other if other.refusal() == Some(RefusalKind::Unauthenticated) => true,
        other => other.retry_class() != RetryClass::Permanent,
    }
}

#[cfg(test)]
mod tests {
    use mms_maxcompute::error::Refusal;

    use super::*;

    fn refused(status: u16, code: &str) -> MaxComputeError {
        MaxComputeError::Refused(Box::new(Refusal {
            what: "GET /x".to_owned(),
            status,
            kind: RefusalKind::of(status, code),
            code: code.to_owned(),
            message: String::new(),
            request_id: None,
            hold: None,
        }))
    }

    #[test]
    fn what_a_new_session_can_mend_is_tried_again() {
        let (path, reason) = ("p".to_owned(), "the SAS ran out".to_owned());
        let denied = DeltaError::AccessDenied { path: path.clone(), reason: reason.clone() };
        for (error, class) in [
            (TransferError::from(denied), pb::FailureClass::Transient),
            (DeltaError::CredentialExpired { path, reason }.into(), pb::FailureClass::Transient),
            (refused(401, "Unauthorized").into(), pb::FailureClass::Transient),
            (refused(403, "NoPermission").into(), pb::FailureClass::Permanent),
            (DatabricksError::Lost { what: "l".to_owned() }.into(), pb::FailureClass::Transient),
            (DatabricksError::JdbcUrl { what: "w".to_owned() }.into(), pb::FailureClass::Permanent),
            (TransferError::Unlike("fewer rows".to_owned()), pb::FailureClass::Permanent),
        ] {
            let text = error.to_string();
            assert_eq!(error.report(pb::TaskStep::Data).expect("told").failure_class(), class, "{text}");
        }
        assert!(TransferError::GivenUp.report(pb::TaskStep::Data).is_none());
    }

    #[test]
    fn each_failure_has_its_reason() {
        let text = |text: &str| text.to_owned();
        let unsupported = DeltaError::CatalogManaged { root: text("t") };
        for (error, reason) in [
            (TransferError::GivenUp, ErrorReason::Stopped),
            (TransferError::IntentOpen { intent: text("i"), why: text("w") }, ErrorReason::IntentOpen),
            (unsupported.into(), ErrorReason::SourceUnsupported),
            (DeltaError::AccessDenied { path: text("p"), reason: text("r") }.into(), ErrorReason::StorageDenied),
            (
                DeltaError::CredentialExpired { path: text("p"), reason: text("r") }.into(),
                ErrorReason::CredentialExpired,
            ),
            (TransferError::Value { column: text("c"), why: text("w") }, ErrorReason::ValueUnsupported),
            (TransferError::Beyond { column: text("c"), why: text("w") }, ErrorReason::ValueUnsupported),
            (TransferError::Conflict { target: text("t"), differences: text("d") }, ErrorReason::TargetConflict),
            (refused(404, "NoSuchUpload").into(), ErrorReason::TargetFailed),
            (TransferError::Unlike(text("fewer")), ErrorReason::SourceChanged),
            (TransferError::NotBySql(text("type")), ErrorReason::SourceUnsupported),
            (DatabricksError::Lost { what: text("l") }.into(), ErrorReason::SourceFailed),
        ] {
            assert_eq!(error.reason(), reason, "{error}");
        }
    }

    #[test]
    fn a_target_that_went_is_a_failure_of_schema() {
        assert!(TransferError::from(refused(404, "NoSuchPartition")).target_is_gone());
        assert!(!TransferError::from(refused(404, "NoSuchUpload")).target_is_gone());
        let gone = TransferError::TargetGone { what: "t".to_owned(), whole: true, found: None };
        let told = gone.report(pb::TaskStep::Data).expect("told");
        assert_eq!((told.step(), told.failure_class()), (pb::TaskStep::Schema, pb::FailureClass::Transient));
        assert!(told.table_gone && told.identity.is_none());
        assert_eq!(told.reason.expect("with a reason").reason(), ErrorReason::TargetGone);
    }
}
