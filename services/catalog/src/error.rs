//! The errors of this service, and the one place that turns them into the status that a caller receives.

use mms_databricks::DatabricksError;
use mms_delta::DeltaError;
use mms_http::retry::{Classify, RetryClass};
use mms_maxcompute::MaxComputeError;
use mms_proto::{ApiError, ErrorReason};
use mms_server::PeerError;
use mms_server::requests::Reused;
use mms_store::StoreError;
use tonic::Code;

/// Any failure of the catalog.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The store failed. Its text names files of this machine: it goes to the log and never to callers.
    #[error("the store failed: {0}")]
    Store(#[from] StoreError),
    /// The resource of this name does not exist.
    #[error("{0} does not exist")]
    NotFound(String),
    /// The resource of this name exists already.
    #[error("{0} exists already: choose another id, or leave it out to have one made")]
    AlreadyExists(String),
    /// The resource has changed since the caller read its etag.
    #[error("{0} has changed since it was read: read it again")]
    EtagMismatch(String),
    /// The request id was used before, for another request.
    #[error(transparent)]
    RequestIdReused(#[from] Reused),
    /// Another scan of this data source has not ended.
    #[error("{0} has not ended yet: wait for it, or cancel it")]
    ScanRunning(String),
    /// The scan ended or was cancelled while it was reading, so it must not write.
    #[error("{0} has ended already")]
    ScanEnded(String),
    /// A task is migrating the resource.
    #[error("{0} is being migrated: stop its job first")]
    Doing(String),
    /// The contract has it, but this version does not implement it.
    #[error("{0} is not implemented yet")]
    NotYet(String),
    /// A field breaks a rule that only this service knows.
    #[error("{field} {description}")]
    Field {
        /// The path of the field in the request.
        field: String,
        /// What is wrong with it, to be read after the field's path.
        description: String,
    },
    /// The registry rejected a call, or did not answer.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// The registry vended no credential for a table's files.
    #[error("{}", .0.error.message)]
    Vending(PeerError),
    /// The data source cannot be used as it is configured.
    #[error("{data_source}: {what}")]
    Unusable {
        /// The name of the data source.
        data_source: String,
        /// What is wrong, and what to do.
        what: String,
    },
    /// The workspace rejected a call, or did not answer.
    #[error("the workspace: {0}")]
    Workspace(#[from] DatabricksError),
    /// The table's Delta log could not be read.
    #[error(transparent)]
    Delta(#[from] DeltaError),
    /// The target project rejected a call, or did not answer.
    #[error("the target project: {0}")]
    Target(#[from] MaxComputeError),
    /// A background task panicked.
    #[error("a defect of this program ended the scan ({0}); see the log of the catalog")]
    Panicked(String),
    /// The result is larger than the limit.
    #[error("{what}: the limit is {limit}")]
    TooLarge {
        /// What is too large.
        what: String,
        /// The limit, in the unit that `what` names.
        limit: u64,
    },
}

/// A result whose error is a [`CatalogError`] unless stated otherwise.
pub type Result<T, E = CatalogError> = std::result::Result<T, E>;

impl CatalogError {
    /// Whether the error concerns only the schema or table that was being read, so that the scan can go on with others.
    pub fn is_of_one_object(&self) -> bool {
        match self {
            Self::Store(error) => matches!(
                error,
                StoreError::KeyTooLong { .. }
                    | StoreError::ValueTooLarge { .. }
                    | StoreError::TransactionTooLarge { .. }
            ),
            Self::Workspace(error) => !error.is_of_workspace(),
            Self::Vending(error) => error.retry_class() == RetryClass::Permanent,
            Self::NotFound(_) | Self::NotYet(_) | Self::Unusable { .. } | Self::Delta(_) | Self::TooLarge { .. } => {
                true
            }
            _ => false,
        }
    }
}

impl Classify for CatalogError {
    fn retry_class(&self) -> RetryClass {
        match self {
            Self::Peer(error) | Self::Vending(error) => error.retry_class(),
            Self::Workspace(error) => error.retry_class(),
            Self::Target(error) => error.retry_class(),
            Self::Delta(error) if error.is_transient() => RetryClass::Transient,
            _ => RetryClass::Permanent,
        }
    }
}

impl From<CatalogError> for ApiError {
    fn from(error: CatalogError) -> Self {
        use CatalogError as E;
        // The text may quote what a workspace, storage or project said: redact secrets in it.
        let text = mms_http::redact::redact_text(&error.to_string());
        let passes = error.retry_class() != RetryClass::Permanent;
        let failed = |reason| Self::new(Code::FailedPrecondition, reason, text.clone());
        match error {
            E::Store(StoreError::TransactionTooLarge { limit }) => Self::new(
                Code::ResourceExhausted,
                ErrorReason::TooLarge,
                "this changes too much at once: split the call",
            )
            .with("limit", limit),
            E::Store(StoreError::DiskFull { .. }) => Self::storage_full("catalog"),
            // The text names files of this machine: it goes to the log only.
            E::Store(store) => {
                tracing::error!(error = %store, "the store failed");
                Self::store_failed("catalog", store.has_ended())
            }
            E::NotFound(resource) => Self::not_found(resource),
            E::AlreadyExists(resource) => Self::already_exists(resource, text),
            E::EtagMismatch(resource) => Self::etag_mismatch(resource),
            E::RequestIdReused(reused) => Self::request_id_reused(reused.0),
            E::ScanRunning(scan) => failed(ErrorReason::ScanRunning).with("scan", scan),
            E::ScanEnded(scan) => Self::wrong_state(scan, "ended", text),
            E::Doing(resource) => Self::wrong_state(resource, "DOING", text),
            E::NotYet(feature) => Self::not_yet(feature),
            E::Field { field, description } => Self::invalid_field(field, description),
            E::Peer(peer) | E::Vending(peer) => *peer.error,
            E::Unusable { .. } => failed(ErrorReason::SourceFailed).with("step", "configuration"),
            // A workspace, project or storage that does not answer is not the table's fault: UNAVAILABLE lets the caller retry
            // the plan.
            E::Workspace(_) if passes => Self::unavailable("workspace", text),
            E::Target(_) if passes => Self::unavailable("target project", text),
            E::Workspace(error) => {
                let code = error.refusal().map(|kind| format!("{kind:?}")).unwrap_or_default();
                failed(ErrorReason::SourceFailed).with("step", "workspace").with("code", code)
            }
            E::Delta(_) if passes => Self::unavailable("storage", text),
            E::Delta(DeltaError::Unsupported { reason, .. }) => {
                failed(ErrorReason::SourceUnsupported).with("feature", reason)
            }
            E::Delta(DeltaError::CatalogManaged { .. }) => {
                failed(ErrorReason::SourceUnsupported).with("feature", "catalogManaged")
            }
            E::Delta(DeltaError::AccessDenied { .. }) => failed(ErrorReason::StorageDenied).with("step", "storage"),
            E::Delta(DeltaError::CredentialExpired { .. }) => {
                failed(ErrorReason::CredentialExpired).with("step", "storage")
            }
            E::Delta(_) => failed(ErrorReason::SourceFailed).with("step", "storage"),
            E::Target(_) => failed(ErrorReason::TargetFailed).with("step", "project"),
            E::Panicked(_) => Self::internal(text),
            E::TooLarge { limit, .. } => {
                Self::new(Code::ResourceExhausted, ErrorReason::TooLarge, text).with("limit", limit)
            }
        }
    }
}

impl From<CatalogError> for tonic::Status {
    fn from(error: CatalogError) -> Self {
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
            let told = ApiError::from(CatalogError::from(error));
            assert_eq!((told.code, told.retry_after.is_some()), (code, code == Code::Unavailable));
            assert!(!told.message.contains("/var"), "{}", told.message);
        }
    }

    #[test]
    fn a_full_disk_is_said_as_what_it_is() {
        let full = StoreError::DiskFull { dir: "/var/lib/mms".into(), free: 1, needed: 2 };
        let told = ApiError::from(CatalogError::from(full));
        assert_eq!((told.code, told.reason), (Code::ResourceExhausted, ErrorReason::StorageFull));
        assert!(told.retry_after.is_some() && !told.message.contains("/var"), "{}", told.message);
    }
}
