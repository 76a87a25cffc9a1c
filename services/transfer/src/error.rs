//! Why an attempt at a task ended, and what the scheduler is told of it.

use mms_delta::DeltaError;
use mms_http::HttpError;
use mms_http::retry::{Classify, RetryClass};
use mms_maxcompute::error::MaxComputeError;
use mms_maxcompute::tunnel::{BlockAdvice, BlockError};
use mms_proto::error::reason_text;
use mms_proto::scheduler::v1 as pb;
use mms_proto::types::v1::VerificationResult;
use mms_proto::{ApiError, ErrorReason};
use mms_storage::StorageError;
use tonic::Status;

/// The end of an attempt that did not do its task.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The lease is lost, or the process stops: nothing is reported.
    #[error("the lease is lost")]
    GivenUp,
    /// Another service did not answer or refused.
    #[error("{service} answered: {error}")]
    Peer {
        /// Which.
        service: &'static str,
        /// What it said.
        error: Box<ApiError>,
    },
    /// The plan cannot be read by this version.
    #[error("the task's plan cannot be used: {0}")]
    Plan(String),
    /// The target refused or failed.
    #[error("{0}")]
    Target(#[from] MaxComputeError),
    /// A block was not taken.
    #[error("{0}")]
    Block(#[from] BlockError),
    /// The source failed.
    #[error("{0}")]
    Source(#[from] DeltaError),
    /// The storage failed.
    #[error("{0}")]
    Storage(#[from] StorageError),
    /// The network settings are wrong.
    #[error("{0}")]
    Network(#[from] HttpError),
    /// A value cannot be carried exactly.
    #[error("column `{column}`: {why}")]
    Value {
        /// The source column.
        column: String,
        /// What is wrong with it.
        why: String,
    },
    /// The target table is not as planned.
    #[error("target table {target}: {differences}")]
    Conflict {
        /// The table.
        target: String,
        /// All differences.
        differences: String,
    },
    /// A commit's session can never publish any more.
    #[error("upload session {0} ended without publishing; the unit is written again")]
    SessionLost(String),
    /// Both sides differ.
    #[error("{message}")]
    Differs {
        /// Which units, with both values.
        message: String,
        /// All checks.
        result: Box<VerificationResult>,
    },
}

/// The result of a part of an attempt.
pub type Result<T, E = TransferError> = std::result::Result<T, E>;

/// Reads a status of another service.
pub fn peer(service: &'static str) -> impl Fn(Status) -> TransferError {
    move |status| TransferError::Peer { service, error: Box::new(ApiError::from_status(&status)) }
}

impl TransferError {
    /// The stable reason that callers see.
    fn reason(&self) -> ErrorReason {
        match self {
            Self::GivenUp => ErrorReason::Stopped,
            Self::Peer { error, .. } if error.reason != ErrorReason::Unspecified => error.reason,
            Self::Peer { .. } => ErrorReason::Unavailable,
            Self::Plan(_) => ErrorReason::Internal,
            Self::Target(_) | Self::Block(_) | Self::Network(_) | Self::SessionLost(_) => ErrorReason::TargetFailed,
            Self::Source(DeltaError::SourceChanged { .. } | DeltaError::RowCount { .. }) => ErrorReason::SourceChanged,
            Self::Source(_) | Self::Storage(_) => ErrorReason::SourceFailed,
            Self::Value { .. } => ErrorReason::ValueUnsupported,
            Self::Conflict { .. } => ErrorReason::TargetConflict,
            Self::Differs { .. } => ErrorReason::VerificationFailed,
        }
    }

    /// Whether trying again may help.
    fn passes(&self) -> bool {
        match self {
            Self::GivenUp | Self::Peer { .. } | Self::SessionLost(_) | Self::Differs { .. } => true,
            Self::Plan(_) | Self::Value { .. } | Self::Conflict { .. } | Self::Storage(_) | Self::Network(_) => false,
            Self::Target(error) => target_passes(error),
            // A session that is over, or made for another table than there is now, is made anew.
            Self::Block(error) => error.advice != BlockAdvice::GiveUp || target_passes(&error.error),
            Self::Source(DeltaError::Manifest(_)) => true,
            Self::Source(error) => error.is_transient(),
        }
    }

    /// Whether the block at hand is worth being read and sent again, within this attempt.
    pub fn block_class(&self) -> RetryClass {
        match self {
            Self::Block(error) => error.retry_class(),
            Self::Source(error) if error.is_transient() => RetryClass::Transient,
            _ => RetryClass::Permanent,
        }
    }

    /// What the scheduler is told; None when the lease is lost, so that there is nothing to tell.
    pub fn report(self, step: pb::TaskStep) -> Option<pb::AttemptFailed> {
        if matches!(self, Self::GivenUp) {
            return None;
        }
        let class = if self.passes() { pb::FailureClass::Transient } else { pb::FailureClass::Permanent };
        let reason = pb::JobReason { reason: reason_text(self.reason()).to_owned(), message: self.to_string() };
        let verification = match self {
            Self::Differs { result, .. } => Some(*result),
            _ => None,
        };
        Some(pb::AttemptFailed { step: step as i32, failure_class: class as i32, reason: Some(reason), verification })
    }
}

fn target_passes(error: &MaxComputeError) -> bool {
    match error {
        // A new attempt makes a new session, or asks this one again.
        MaxComputeError::SessionLost { .. }
        | MaxComputeError::OutcomeUnknown { .. }
        | MaxComputeError::BlockList { .. }
        | MaxComputeError::StillRunning { .. }
        | MaxComputeError::Cancelled { .. }
        | MaxComputeError::Http { .. } => true,
        other => other.retry_class() != RetryClass::Permanent,
    }
}
