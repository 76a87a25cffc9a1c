//! Owns [`DeltaError`], the one error of this crate, and its conversion from the kernel's errors. Callers decide by the
//! variant; the kernel's own text is kept as the reason.

use delta_kernel::KernelError;
use delta_kernel::schema::{DataType, PrimitiveType};
use mms_storage::Unreadable;
use url::Url;

/// Why a table's log or files could not be read.
#[derive(Debug, thiserror::Error)]
pub enum DeltaError {
    /// There is no Delta log under the root.
    #[error("{root} is not a Delta table: {reason}")]
    NotDelta {
        /// URL of the table's root, percent-decoded.
        root: String,
        /// What is missing.
        reason: String,
    },
    /// The pinned version cannot be rebuilt from the present log.
    #[error("version {version} of {root} is not in its log: {reason}; plan again at a version that is")]
    VersionGone {
        /// URL of the table's root, percent-decoded.
        root: String,
        /// The version that was asked for.
        version: u64,
        /// What is missing, in the kernel's words.
        reason: String,
    },
    /// Only the table's catalog knows its newest commits.
    #[error(
        "{root} is a catalog-managed table: its log alone may be stale, so it is read through its catalog or with SQL"
    )]
    CatalogManaged {
        /// URL of the table's root, percent-decoded.
        root: String,
    },
    /// The table needs a feature that this reader does not have.
    #[error("{root} cannot be read from its files: {reason}; read it with SQL instead")]
    Unsupported {
        /// URL of the table's root, percent-decoded.
        root: String,
        /// Which feature or version.
        reason: String,
    },
    /// The log contradicts the Delta protocol.
    #[error("the Delta log of {root} is not valid: {reason}")]
    InvalidLog {
        /// URL of the table's root, percent-decoded.
        root: String,
        /// What the protocol does not allow.
        reason: String,
    },
    /// The log names a file that does not lie under the table's root.
    #[error("the log of {root} names {path}, which does not lie under the table's root (a shallow clone?)")]
    OutsideRoot {
        /// URL of the table's root, percent-decoded.
        root: String,
        /// The file's path, percent-decoded.
        path: String,
    },
    /// A column of a file cannot be read, or one of its values is not of the table's type.
    #[error("column `{column}` of file {file}{}: {reason}", at(.row))]
    Column {
        /// Path of the file, percent-decoded.
        file: String,
        /// The column; for a part of it with the names that lead there, separated by dots.
        column: String,
        /// Index of the row in the file from 0, deleted ones counted; None unless the error is about a value.
        row: Option<u64>,
        /// What is wrong, with the value.
        reason: String,
    },
    /// A file contradicts the statistics that its log has of it.
    #[error("{0}")]
    Statistics(Box<Difference>),
    /// A file of the log cannot be read, and nothing else in the log replaces it.
    #[error("file {file} of the Delta log of {root} cannot be read: {reason}")]
    UnreadableLog {
        /// URL of the table's root, percent-decoded.
        root: String,
        /// Name of the file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file of the pinned version was deleted or replaced.
    #[error(
        "file {path} has changed since the table was planned: {reason}; RetryJob with repin plans it again, with its newest version"
    )]
    SourceChanged {
        /// Path of the file, percent-decoded.
        path: String,
        /// What changed.
        reason: String,
    },
    /// A file does not have as many rows as its log says.
    #[error("file {path} has {found} {what}, its log says {expected}; nothing of it may be published")]
    RowCount {
        /// Path of the file, percent-decoded.
        path: String,
        /// What was counted.
        what: &'static str,
        /// The log's number.
        expected: u64,
        /// The file's number.
        found: u64,
    },
    /// A file that has not changed cannot be read.
    #[error("file {path} cannot be read: {reason}")]
    UnreadableFile {
        /// Path of the file, percent-decoded.
        path: String,
        /// Why, in the reader's words.
        reason: String,
    },
    /// The store rejects the credential.
    #[error("access to {path} is denied: {reason}; the credential needs Read and List on the table's folder")]
    AccessDenied {
        /// A file, or the table's root.
        path: String,
        /// The store's answer.
        reason: String,
    },
    /// The credential has expired, or is not valid yet.
    #[error("{path} cannot be read: {reason}; give the data source a credential that is valid now")]
    CredentialExpired {
        /// A file, or the table's root.
        path: String,
        /// The store's answer.
        reason: String,
    },
    /// The store does not answer as it should. The same call may succeed later.
    #[error("storage of {path} is not available: {reason}")]
    Unavailable {
        /// A file, or the table's root.
        path: String,
        /// The store's answer.
        reason: String,
    },
    /// The list of files to read, which the caller gave as a stream, failed.
    #[error("the list of source files could not be read to its end: {0}")]
    Manifest(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A stored table shape that this version cannot read.
    #[error("the table shape is not valid: {0}")]
    InvalidShape(String),
    /// An error of this program.
    #[error("internal error in the Delta reader: {0}")]
    Internal(String),
}

/// A column of a file that contradicts the log's statistics.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "column `{column}` of file {file} has another {what} than the log's statistics say: {found} was read, {told} is \
     recorded; either the column is not the one that was meant, or the writer's statistics are wrong"
)]
pub struct Difference {
    /// Path of the file, percent-decoded.
    pub file: String,
    /// The column; for a part of it with the names that lead there, separated by dots.
    pub column: String,
    /// What differs: the number of NULLs, or a bound.
    pub what: &'static str,
    /// The log's value.
    pub told: String,
    /// The value that was read.
    pub found: String,
}

impl DeltaError {
    /// Whether the same call may succeed later without a new plan.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }

    /// Converts an error of the kernel about the log of `root`.
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
            // A version was pinned, so this was a table once: what is missing now was deleted since.
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

    /// Converts an error of the object store about `path`.
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

/// Longest text of a library in an error, in bytes: a whole error may have 2 KB.
const REASON_BYTES: usize = 1_200;

/// The text, redacted (the store's words may repeat the request's secrets) and cut to [`REASON_BYTES`].
pub(crate) fn bounded(text: &str) -> String {
    let text = mms_storage::redact_text(text);
    if text.len() <= REASON_BYTES {
        return text;
    }
    let end = (0..=REASON_BYTES).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    format!("{} ... ({} bytes more)", &text[..end], text.len() - end)
}

/// The kernel's text without backtraces, and without prefixes that say whose fault it is.
pub(crate) fn kernel_text(error: &KernelError) -> String {
    match error {
        KernelError::Backtraced { source, .. } => kernel_text(source),
        KernelError::Generic(text) | KernelError::InternalError(text) | KernelError::Unsupported(text) => bounded(text),
        KernelError::Parquet(error) => bounded(&error.to_string()),
        other => bounded(&other.to_string()),
    }
}

/// A type, as SQL names it.
pub(crate) fn shown_type(data_type: &DataType) -> String {
    match data_type {
        DataType::Primitive(primitive) => shown_primitive(primitive),
        DataType::Struct(_) => "STRUCT".to_owned(),
        DataType::Array(_) => "ARRAY".to_owned(),
        DataType::Map(_) => "MAP".to_owned(),
        _ => "VARIANT".to_owned(),
    }
}

/// A primitive type, as SQL names it.
pub(crate) fn shown_primitive(primitive: &PrimitiveType) -> String {
    match primitive {
        PrimitiveType::Long => "BIGINT".to_owned(),
        PrimitiveType::Integer => "INT".to_owned(),
        PrimitiveType::Short => "SMALLINT".to_owned(),
        PrimitiveType::Byte => "TINYINT".to_owned(),
        other => other.to_string().to_uppercase(),
    }
}

/// The names that lead to a part of a column, separated by dots.
pub(crate) fn dotted(path: &[String]) -> String {
    path.join(".")
}

fn at(row: &Option<u64>) -> String {
    row.map_or(String::new(), |row| format!(", row {row}"))
}

/// The object store's error inside another error, however deep it is wrapped.
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
