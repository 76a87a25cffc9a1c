//! What can go wrong in this service, and the one place that says how a caller hears of it.

use mms_databricks::DatabricksError;
use mms_delta::DeltaError;
use mms_http::retry::{Classify, RetryClass};
use mms_maxcompute::MaxComputeError;
use mms_proto::{ApiError, ErrorReason};
use mms_server::PeerError;
use mms_server::requests::Reused;
use mms_store::StoreError;
use tonic::Code;

/// A failure of the catalog.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The store failed.
    #[error("the store failed: {0}")]
    Store(#[from] StoreError),
    /// There is no such resource.
    #[error("{0} does not exist")]
    NotFound(String),
    /// The id is taken.
    #[error("{0} exists already: choose another id, or leave it out to have one made")]
    AlreadyExists(String),
    /// Somebody changed the resource.
    #[error("{0} has changed since it was read: read it again")]
    EtagMismatch(String),
    /// A request id was used for something else.
    #[error(transparent)]
    RequestIdReused(#[from] Reused),
    /// A scan of this source runs.
    #[error("{0} has not ended yet: wait for it, or cancel it")]
    ScanRunning(String),
    /// The scan that asks has ended meanwhile.
    #[error("{0} was ended meanwhile")]
    ScanEnded(String),
    /// A task is at work on it.
    #[error("{0} is being migrated: stop its job first")]
    Doing(String),
    /// The contract has it, this version does not.
    #[error("{0} is not implemented yet")]
    NotYet(String),
    /// One field breaks a rule that only this service knows.
    #[error("{field} {description}")]
    Field {
        /// Which.
        field: String,
        /// What is wrong.
        description: String,
    },
    /// Another service refused.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// The registry vended no credential for a table.
    #[error("{}", .0.error.message)]
    Vending(PeerError),
    /// The data source cannot be used as it is configured.
    #[error("{data_source}: {what}")]
    Unusable {
        /// The data source.
        data_source: String,
        /// What is wrong and what to do.
        what: String,
    },
    /// The workspace did not give what was asked.
    #[error("the workspace: {0}")]
    Workspace(#[from] DatabricksError),
    /// The table's log could not be read.
    #[error(transparent)]
    Delta(#[from] DeltaError),
    /// The target project did not answer what was asked.
    #[error("the target project: {0}")]
    Target(#[from] MaxComputeError),
    /// A background task ended by a panic.
    #[error("a defect of this program ended it ({0}); its log has more")]
    Panicked(String),
    /// More than one answer can carry.
    #[error("{what}: the limit is {limit}")]
    TooLarge {
        /// What is too large.
        what: String,
        /// The limit.
        limit: u64,
    },
}

/// One answer of this service.
pub type Result<T, E = CatalogError> = std::result::Result<T, E>;

impl CatalogError {
    /// Whether it is about the one schema or table that was being read, so that others may well be readable.
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
        // Pieces of it are a far end's own words.
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
            // What it says names files of this machine: it is for the log.
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
            // A far end that is away comes back, and whoever plans asks again: it is not the table's fault.
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
