//! The one error of this crate, and how the kernel's errors become it. A caller decides by the variant; the kernel's own
//! text goes along as the reason.

use delta_kernel::KernelError;
use delta_kernel::schema::{DataType, PrimitiveType};
use mms_storage::Unreadable;
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
    #[error("the log of {root} names {path}, which does not lie under the table's root (a shallow clone?)")]
    OutsideRoot {
        /// The table's root.
        root: String,
        /// The path, decoded.
        path: String,
    },
    /// A column cannot be read from a file, or a value of it is none of the table's type.
    #[error("column `{column}` of file {file}{}: {reason}", at(.row))]
    Column {
        /// The path, decoded.
        file: String,
        /// The column, with what leads to the part of it.
        column: String,
        /// The row in the file from 0, deleted ones counted, where it is about a value.
        row: Option<u64>,
        /// What is wrong, with the value.
        reason: String,
    },
    /// What was read of a file is not what its log says of it.
    #[error("{0}")]
    Statistics(Box<Difference>),
    /// A file of the log cannot be read, and the rest of the log does not say the same.
    #[error("file {file} of the Delta log of {root} cannot be read: {reason}")]
    UnreadableLog {
        /// The table's root.
        root: String,
        /// The name of the file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file of the pinned version is gone or is another one now.
    #[error(
        "file {path} has changed since the table was planned: {reason}; RetryJob with repin plans it again, with its newest version"
    )]
    SourceChanged {
        /// The path, decoded.
        path: String,
        /// What changed.
        reason: String,
    },
    /// A file has another number of rows than its log says.
    #[error("file {path} has {found} {what}, its log says {expected}; nothing of it may be published")]
    RowCount {
        /// The path, decoded.
        path: String,
        /// Rows, or deleted rows.
        what: &'static str,
        /// The number in the log.
        expected: u64,
        /// The number found.
        found: u64,
    },
    /// A file is there, unchanged, and cannot be read.
    #[error("file {path} cannot be read: {reason}")]
    UnreadableFile {
        /// The path, decoded.
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
    /// The credential's time is over, or has not come.
    #[error("{path} cannot be read: {reason}; give the data source a credential that is valid now")]
    CredentialExpired {
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

/// A column of a file that is not what the log's statistics say.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "column `{column}` of file {file} has another {what} than the log's statistics say: {found} was read, {told} is \
     recorded; either the column is not the one that was meant, or the writer's statistics are wrong"
)]
pub struct Difference {
    /// The path, decoded.
    pub file: String,
    /// The column, with what leads to the part of it.
    pub column: String,
    /// NULLs, or a bound.
    pub what: &'static str,
    /// As the log has it.
    pub told: String,
    /// As it was read.
    pub found: String,
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
        let root = crate::place::decoded(root.as_str());
        if let Some(store) = store_error(&error) {
            return match mms_storage::refusal(store) {
                Some(refused) if refused.why == Unreadable::Missing && version.is_none() => {
                    Self::NotDelta { root, reason: bounded(&refused.to_string()) }
                }
                _ => Self::of_store(store, root),
            };
        }
        let text = kernel_text(&error);
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
            ) => Self::VersionGone { root, version, reason: kernel_text(&e) },
            (
                e @ (KernelError::EmptyLog
                | KernelError::FileNotFound(_)
                | KernelError::InvalidTableLocation(_)
                | KernelError::MissingMetadataAndProtocol
                | KernelError::MissingVersion(_)),
                _,
            ) => Self::NotDelta { root, reason: kernel_text(&e) },
            (KernelError::JoinFailure(reason), _) => Self::Internal(reason),
            _ => Self::InvalidLog { root, reason: text },
        }
    }

    /// An error of the object store about `path`.
    pub(crate) fn of_store(error: &object_store::Error, path: String) -> Self {
        if let Some(refusal) = mms_storage::refusal(error) {
            let reason = bounded(&refusal.to_string());
            return match refusal.why {
                why if why.is_of_time() => Self::CredentialExpired { path, reason },
                Unreadable::Missing => Self::SourceChanged { path, reason },
                Unreadable::Unreachable => Self::Unavailable { path, reason },
                _ => Self::AccessDenied { path, reason },
            };
        }
        let reason = bounded(&error.to_string());
        match error {
            object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
                Self::AccessDenied { path, reason }
            }
            object_store::Error::NotFound { .. } => {
                Self::SourceChanged { path, reason: "it is no longer there".into() }
            }
            object_store::Error::Precondition { .. } => {
                Self::SourceChanged { path, reason: "another file is in its place".into() }
            }
            _ => Self::Unavailable { path, reason },
        }
    }
}

/// Longest text of a library that goes into an error, in bytes: an error may have 2 KB in all.
const REASON_BYTES: usize = 1_200;

/// A text that is not too long. Pieces of it are the storage's own words, which may repeat what it was asked with.
pub(crate) fn bounded(text: &str) -> String {
    let text = mms_storage::redact_text(text);
    if text.len() <= REASON_BYTES {
        return text;
    }
    let end = (0..=REASON_BYTES).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    format!("{} ... ({} bytes more)", &text[..end], text.len() - end)
}

/// What the kernel says, without backtraces and without telling whose fault it is.
pub(crate) fn kernel_text(error: &KernelError) -> String {
    match error {
        KernelError::Backtraced { source, .. } => kernel_text(source),
        KernelError::Generic(text) | KernelError::InternalError(text) | KernelError::Unsupported(text) => bounded(text),
        KernelError::Parquet(error) => bounded(&error.to_string()),
        other => bounded(&other.to_string()),
    }
}

/// A type as SQL names it.
pub(crate) fn shown_type(data_type: &DataType) -> String {
    match data_type {
        DataType::Primitive(primitive) => shown_primitive(primitive),
        DataType::Struct(_) => "STRUCT".to_owned(),
        DataType::Array(_) => "ARRAY".to_owned(),
        DataType::Map(_) => "MAP".to_owned(),
        _ => "VARIANT".to_owned(),
    }
}

/// A primitive type as SQL names it.
pub(crate) fn shown_primitive(primitive: &PrimitiveType) -> String {
    match primitive {
        PrimitiveType::Long => "BIGINT".to_owned(),
        PrimitiveType::Integer => "INT".to_owned(),
        PrimitiveType::Short => "SMALLINT".to_owned(),
        PrimitiveType::Byte => "TINYINT".to_owned(),
        other => other.to_string().to_uppercase(),
    }
}

/// A column and what leads to the part of it.
pub(crate) fn dotted(path: &[String]) -> String {
    path.join(".")
}

fn at(row: &Option<u64>) -> String {
    row.map_or(String::new(), |row| format!(", row {row}"))
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
