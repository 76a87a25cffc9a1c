//! What can go wrong in this service, and the one place that says how a caller hears of it.

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

/// A failure of the registry.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The store failed.
    #[error("the store failed: {0}")]
    Store(#[from] StoreError),
    /// Secrets could not be sealed or opened.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// A secret's reference leads nowhere.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// There is no such resource.
    #[error("{0} does not exist")]
    NotFound(String),
    /// The id is taken.
    #[error("{0} exists already, or was deleted less than 30 days ago: choose another id, or leave it out")]
    IdTaken(String),
    /// The display name is taken.
    #[error("the display name {name:?} is that of {holder}: choose another")]
    NameTaken {
        /// The display name.
        name: String,
        /// Who has it.
        holder: String,
    },
    /// Somebody changed the resource.
    #[error("{0} was changed meanwhile: read it again and repeat the change")]
    EtagMismatch(String),
    /// A request id was used for something else.
    #[error(transparent)]
    RequestIdReused(#[from] Reused),
    /// The data source's state does not take this.
    #[error("{resource} is {}: {remedy}", .state.name())]
    WrongState {
        /// The data source.
        resource: String,
        /// Its state.
        state: State,
        /// What to do.
        remedy: &'static str,
    },
    /// The data source is not deleted.
    #[error("{0} is not deleted, so there is nothing to bring back")]
    NotDeleted(String),
    /// The resource is in use.
    #[error("{resource} is in use by {holder}: wait for it to end, or stop it")]
    InUse {
        /// The resource.
        resource: String,
        /// Who uses it.
        holder: String,
    },
    /// Nobody can connect through the data source.
    #[error("{resource} is {}, not STARTED: call StartDataSource", .state.name())]
    NotStarted {
        /// The data source.
        resource: String,
        /// Its state.
        state: State,
    },
    /// A session that is gone.
    #[error("the session has expired or was closed: open a new one")]
    SessionGone,
    /// More sessions are open than this process holds.
    #[error("too many sessions are open at once: close some, or raise registry.max_sessions")]
    TooManySessions,
    /// No key-encryption key of that id.
    #[error("no key-encryption key {0:?} is configured: add it to registry.other_encryption_keys")]
    NoSuchKey(String),
    /// An end of the data source refused.
    #[error("{message}")]
    EndFailed {
        /// Which end.
        end: End,
        /// The step of a check that finds the same.
        step: CheckStepId,
        /// What was found and what to do.
        message: String,
    },
    /// The workspace did not give what was asked.
    #[error("{0}")]
    Workspace(Box<DatabricksError>),
    /// No credential can be vended for the table.
    #[error("no credential is vended: {0}")]
    NotVended(String),
    /// Fields break their rules.
    #[error("{} of the request's fields are not as they must be", .0.len())]
    Invalid(Vec<FieldViolation>),
    /// A task of this process ended early.
    #[error("the call was cut off: this process is going down, or it failed; look into its log")]
    CutOff,
}

/// The two ends of a data source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Databricks and its storage.
    Source,
    /// MaxCompute.
    Target,
}

/// A step of a check as metadata has it: the value's name without its prefix.
fn step_text(step: CheckStepId) -> &'static str {
    let name = step.as_str_name();
    name.strip_prefix("CHECK_STEP_ID_").unwrap_or(name)
}

/// One answer of this service.
pub type Result<T, E = RegistryError> = std::result::Result<T, E>;

impl From<RegistryError> for ApiError {
    fn from(error: RegistryError) -> Self {
        use RegistryError as E;
        let text = error.to_string();
        let precondition = |reason| Self::new(Code::FailedPrecondition, reason, text.clone());
        match error {
            // What these say names files and keys of this machine: it is for the log.
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
            // Its words are partly the workspace's own.
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
