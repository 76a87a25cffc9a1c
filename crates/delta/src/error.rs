//! The one error of this crate, and how the kernel's errors become it. A caller decides by the variant; the kernel's own
//! text goes along as the reason.

use delta_kernel::KernelError;
use url::Url;

/// What can go wrong between a table's log and its rows.
#[derive(Debug, thiserror::Error)]
pub enum DeltaError {
    /// There is no Delta log under the root.
    #[error("{root} is not a Delta table: {reason}")]
    NotDelta {
        /// The table's root.
        root: String,
        /// What was missing.
        reason: String,
    },
    /// The pinned version cannot be rebuilt from what is left of the log.
    #[error("version {version} of {root} is not in its log: {reason}; plan again at a version that is")]
    VersionGone {
        /// The table's root.
        root: String,
        /// The version asked for.
        version: u64,
        /// What the kernel found.
        reason: String,
    },
    /// The newest commits of the table are known to its catalog only.
    #[error(
        "{root} is a catalog-managed table: its log alone may be stale, so it is read through its catalog or with SQL"
    )]
    CatalogManaged {
        /// The table's root.
        root: String,
    },
    /// The table needs a feature that this reader does not have.
    #[error("{root} cannot be read from its files: {reason}; read it with SQL instead")]
    Unsupported {
        /// The table's root.
        root: String,
        /// The feature or version.
        reason: String,
    },
    /// The log contradicts the Delta protocol.
    #[error("the Delta log of {root} is not valid: {reason}")]
    InvalidLog {
        /// The table's root.
        root: String,
        /// What is wrong.
        reason: String,
    },
    /// A log names a file that is not the table's own.
    #[error("the log of {root} names {path:?}, which does not lie under the table's root (a shallow clone?)")]
    OutsideRoot {
        /// The table's root.
        root: String,
        /// The path, as in the log.
        path: String,
    },
    /// A file of the pinned version is gone or is another one now.
    #[error("source file {path:?} has changed since the table was planned: {reason}; plan again at a newer version")]
    SourceChanged {
        /// The path, as in the log.
        path: String,
        /// What changed.
        reason: String,
    },
    /// A file has another number of rows than its log says.
    #[error("source file {path:?} has {found} {what}, its log says {expected}; nothing of it may be published")]
    RowCount {
        /// The path, as in the log.
        path: String,
        /// Rows, or deleted rows.
        what: &'static str,
        /// The number in the log.
        expected: u64,
        /// The number found.
        found: u64,
    },
    /// A file is there, unchanged, and cannot be read.
    #[error("source file {path:?} cannot be read: {reason}")]
    UnreadableFile {
        /// The path, as in the log.
        path: String,
        /// What the reader said.
        reason: String,
    },
    /// The store refuses this credential.
    #[error("access to {path} is denied: {reason}; the credential needs Read and List on the table's folder")]
    AccessDenied {
        /// A file or the table's root.
        path: String,
        /// What the store said.
        reason: String,
    },
    /// The store did not answer as it should; the same question may succeed later.
    #[error("storage of {path} is not available: {reason}")]
    Unavailable {
        /// A file or the table's root.
        path: String,
        /// What the store said.
        reason: String,
    },
    /// The stream of files to read failed.
    #[error("the list of source files could not be read to its end: {0}")]
    Manifest(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A table shape that this version did not write.
    #[error("the table shape is not valid: {0}")]
    InvalidShape(String),
    /// A fault of this program.
    #[error("internal error in the Delta reader: {0}")]
    Internal(String),
}

impl DeltaError {
    /// Whether the same call may succeed later without any change of plan.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }

    /// An error of the kernel while it worked on the log of `root`.
    pub(crate) fn of_log(error: KernelError, root: &Url, version: Option<u64>) -> Self {
        let error = match error {
            KernelError::Backtraced { source, .. } => return Self::of_log(*source, root, version),
            error => error,
        };
        let root = root.to_string();
        if let Some(store) = store_error(&error) {
            return Self::of_store(store, root);
        }
        match (error, version) {
            (KernelError::MaxCatalogVersion(_), _) => Self::CatalogManaged { root },
            (KernelError::Unsupported(reason) | KernelError::InvalidColumnMappingMode(reason), _) => {
                Self::Unsupported { root, reason }
            }
            // Someone pinned this version, so it was a table once: what is missing now went since.
            (
                e @ (KernelError::MissingVersion(_)
                | KernelError::StartVersionNotFound { .. }
                | KernelError::InvalidLogSegment(_)
                | KernelError::EmptyLog
                | KernelError::FileNotFound(_)
                | KernelError::MissingMetadataAndProtocol),
                Some(version),
            ) => Self::VersionGone { root, version, reason: e.to_string() },
            (
                e @ (KernelError::EmptyLog
                | KernelError::FileNotFound(_)
                | KernelError::InvalidTableLocation(_)
                | KernelError::MissingMetadataAndProtocol
                | KernelError::MissingVersion(_)),
                _,
            ) => Self::NotDelta { root, reason: e.to_string() },
            (KernelError::JoinFailure(reason) | KernelError::InternalError(reason), _) => Self::Internal(reason),
            (other, _) => Self::InvalidLog { root, reason: other.to_string() },
        }
    }

    /// An error of the object store about `path`.
    pub(crate) fn of_store(error: &object_store::Error, path: String) -> Self {
        let reason = error.to_string();
        match error {
            object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
                Self::AccessDenied { path, reason }
            }
            object_store::Error::NotFound { .. } => {
                Self::SourceChanged { path, reason: "it is no longer there".into() }
            }
            _ => Self::Unavailable { path, reason },
        }
    }
}

/// The store's own error, however deep the kernel wrapped it.
pub(crate) fn store_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a object_store::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(store) = error.downcast_ref::<object_store::Error>() {
            return Some(store);
        }
        if let Some(KernelError::ObjectStore(store)) = error.downcast_ref::<KernelError>() {
            return Some(store);
        }
        next = error.source();
    }
    None
}
