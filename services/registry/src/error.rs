//! The errors of this service, and the one place that turns them into the status that a caller receives.

use mms_databricks::{DatabricksError, NotVended};
use mms_http::redact::redact_text;
use mms_http::retry::{Classify, RetryClass};
use mms_proto::registry::v1::CheckStepId;
use mms_proto::{ApiError, ErrorReason, FieldViolation};
use mms_server::requests::Reused;
use mms_store::StoreError;
use tonic::Code;

use crate::reference::ReferenceError;
use crate::state::State;
use crate::vault::VaultError;

/// Any failure of the registry.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The store failed. Its text names files of this machine: it goes to the log and never to callers.
    #[error("the store failed: {0}")]
    Store(#[from] StoreError),
    /// Secrets could not be sealed or opened. Its text goes to the log only.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The reference of a secret cannot be resolved.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// The resource of this name does not exist.
    #[error("{0} does not exist")]
    NotFound(String),
    /// The id belongs to another resource, or to one that was deleted and can still be restored.
    #[error("{0} exists already, or was deleted less than 30 days ago: choose another id, or leave it out")]
    IdTaken(String),
    /// The display name belongs to another resource.
    #[error("the display name {name:?} is that of {holder}: choose another")]
    NameTaken {
        /// The display name.
        name: String,
        /// The name of the resource that has it.
        holder: String,
    },
    /// The resource has changed since the caller read its etag.
    #[error("{0} was changed meanwhile: read it again and repeat the change")]
    EtagMismatch(String),
    /// The request id was used before, for another request.
    #[error(transparent)]
    RequestIdReused(#[from] Reused),
    /// The call is not possible in the data source's present state.
    #[error("{resource} is {}: {remedy}", .state.name())]
    WrongState {
        /// The name of the data source.
        resource: String,
        /// Its present state.
        state: State,
        /// What to do.
        remedy: &'static str,
    },
    /// The data source is not deleted, so it cannot be restored.
    #[error("{0} is not deleted, so there is nothing to restore")]
    NotDeleted(String),
    /// The resource is in use.
    #[error("{resource} is in use by {holder}: wait for it to end, or stop it")]
    InUse {
        /// The name of the resource.
        resource: String,
        /// The holder of a use, or the resource that names it.
        holder: String,
    },
    /// The data source is not started, so no session can be opened.
    #[error("{resource} is {}, not STARTED: call StartDataSource", .state.name())]
    NotStarted {
        /// The name of the data source.
        resource: String,
        /// Its present state.
        state: State,
    },
    /// The session has expired or was closed.
    #[error("the session has expired or was closed: open a new one")]
    SessionGone,
    /// The limit of open sessions is reached.
    #[error("too many sessions are open at once: close some, or raise registry.max_sessions")]
    TooManySessions,
    /// No key-encryption key with this id is configured.
    #[error("no key-encryption key {0:?} is configured: add it to registry.other_encryption_keys")]
    NoSuchKey(String),
    /// The source or the target of the data source could not be reached or rejected the credentials.
    #[error("{message}")]
    EndFailed {
        /// Which of the two.
        end: End,
        /// The step of CheckDataSource that finds the same.
        step: CheckStepId,
        /// What was found and what to do.
        message: String,
    },
    /// The workspace rejected a call, or did not answer.
    #[error("{0}")]
    Workspace(Box<DatabricksError>),
    /// No credential can be vended for the table.
    #[error("no credential is vended: {0}")]
    NotVended(String),
    /// Fields of the request break their rules.
    #[error("{} of the request's fields are not as they must be", .0.len())]
    Invalid(Vec<FieldViolation>),
    /// A task of this process ended before the call was done.
    #[error("the call was interrupted: the registry is stopping, or it has failed; see its log")]
    CutOff,
}

/// The two ends of a data source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The Databricks workspace and its storage.
    Source,
    /// The MaxCompute project.
    Target,
}

/// The name of a step in error metadata, without the prefix of the enum.
fn step_text(step: CheckStepId) -> &'static str {
    let name = step.as_str_name();
    name.strip_prefix("CHECK_STEP_ID_").unwrap_or(name)
}

/// A result whose error is a [`RegistryError`] unless stated otherwise.
pub type Result<T, E = RegistryError> = std::result::Result<T, E>;

impl From<RegistryError> for ApiError {
    fn from(error: RegistryError) -> Self {
        use RegistryError as E;
        let text = error.to_string();
        let precondition = |reason| Self::new(Code::FailedPrecondition, reason, text.clone());
        match error {
            // The texts name files and keys of this machine: they go to the log only.
            E::Store(StoreError::DiskFull { .. }) => Self::storage_full("registry"),
            E::Store(store) => {
                tracing::error!(error = text, "the store failed");
                Self::store_failed("registry", store.has_ended())
            }
            E::Vault(_) => {
                tracing::error!(error = text, "the vault failed");
                Self::store_failed("registry", false)
            }
            E::Reference(_) => {
                precondition(ErrorReason::SourceFailed).with("step", step_text(CheckStepId::CredentialsResolved))
            }
            E::NotFound(resource) => Self::not_found(resource),
            E::IdTaken(resource) => Self::already_exists(resource, text),
            E::NameTaken { holder, .. } => Self::already_exists(holder, text),
            E::EtagMismatch(resource) => Self::etag_mismatch(resource),
            E::RequestIdReused(reused) => Self::request_id_reused(reused.0),
            E::WrongState { resource, state, .. } => Self::wrong_state(resource, state.name(), text),
            E::NotDeleted(resource) => Self::wrong_state(resource, "ALIVE", text),
            E::InUse { resource, holder } => {
                precondition(ErrorReason::InUse).with("resource", resource).with("holder", holder)
            }
            E::NotStarted { resource, state } => {
                precondition(ErrorReason::SourceNotStarted).with("resource", resource).with("state", state.name())
            }
            E::SessionGone => Self::new(Code::NotFound, ErrorReason::NotFound, text).with("resource", "session"),
            E::TooManySessions => Self::new(Code::ResourceExhausted, ErrorReason::TooManyCalls, text)
                .retry_after(std::time::Duration::from_secs(10)),
            E::NoSuchKey(id) => precondition(ErrorReason::WrongState).with("resource", id).with("state", "ABSENT"),
            E::EndFailed { end, step, .. } => precondition(match end {
                End::Source => ErrorReason::SourceFailed,
                End::Target => ErrorReason::TargetFailed,
            })
            .with("step", step_text(step)),
            // The text may quote the workspace: redact secrets in it.
            E::Workspace(error) => told_of_workspace(&error, redact_text(&text)),
            E::NotVended(_) => precondition(ErrorReason::SourceFailed).with("step", "vending"),
            E::Invalid(violations) => Self::invalid(violations),
            E::CutOff => Self::unavailable("registry", text),
        }
    }
}

fn told_of_workspace(error: &DatabricksError, text: String) -> ApiError {
    let failed = |reason| ApiError::new(Code::FailedPrecondition, reason, text.clone()).with("step", "vending");
    match error {
        passing if passing.retry_class() != RetryClass::Permanent => ApiError::unavailable("workspace", text),
        missing if missing.is_not_found() => ApiError::not_found("the table at the source"),
        DatabricksError::NotVended { why: NotVended::NoExternalUse, .. } => failed(ErrorReason::ExternalUseDenied),
        DatabricksError::NotVended { why: NotVended::ExternalAccessOff, .. } => failed(ErrorReason::ExternalAccessOff),
        _ => failed(ErrorReason::SourceFailed),
    }
}

impl From<RegistryError> for tonic::Status {
    fn from(error: RegistryError) -> Self {
        ApiError::from(error).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_store_says_stays_here() {
        let broken = StoreError::Corrupt { what: "database in /var/lib/mms".into() };
        let stopped = StoreError::Stopped { cause: std::sync::Arc::new(broken.clone()) };
        let cases = [(broken, Code::Internal), (stopped, Code::Unavailable), (StoreError::Closed, Code::Unavailable)];
        for (error, code) in cases {
            let told = ApiError::from(RegistryError::from(error));
            assert_eq!((told.code, told.retry_after.is_some()), (code, code == Code::Unavailable));
            assert!(!told.message.contains("/var"), "{}", told.message);
        }
    }
}
