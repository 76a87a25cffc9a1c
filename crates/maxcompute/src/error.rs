//! The one error type of this crate, and the meaning of each of the server's error codes. An error names the request, the
//! server's code and message, and the request id. It must never contain a secret.

use std::time::Duration;

use mms_http::HttpError;
use mms_http::retry::{Classify, RetryClass};

use crate::session::SessionState;

/// Upper bound of the wait that the server may ask for in a hold hint.
const HOLD_MAX: Duration = Duration::from_secs(10);
/// The wait after another data operation was found to hold the table.
const BUSY_WAIT: Duration = Duration::from_secs(60);

/// Codes for a missing table, schema or partition. A missing project is not among them: a wrong setting is the likelier cause.
const GONE: [&str; 4] = ["NoSuchTable", "NoSuchSchema", "NoSuchPartition", "ODPS-0130131"];

/// A request that the service refused, in the service's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The request, such as `GET /projects/p/tables/t`.
    pub what: String,
    /// The HTTP status; 200 for a statement that failed.
    pub status: u16,
    /// The service's error code, such as `NoSuchPartition` or `ODPS-0130131`.
    pub code: String,
    /// The service's message, with known secrets masked.
    pub message: String,
    /// The id by which the service's operators find the request.
    pub request_id: Option<String>,
    /// What the code means to a caller.
    pub kind: RefusalKind,
    /// How long the service asks the caller to wait.
    pub hold: Option<Duration>,
}

/// What a refusal means to the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefusalKind {
    /// A rate, slot or query limit was reached: wait, then use less concurrency.
    Throttled,
    /// The service is unhealthy or the slot moved: the same request may succeed later.
    Transient,
    /// Another data operation holds the table: try again in a minute.
    Busy,
    /// A block arrived damaged: send it again.
    CorruptStream,
    /// The session is committed already, or has ended: ask for its state.
    StatusConflict,
    /// The table changed under the session: create a new session.
    SchemaChanged,
    /// The object does not exist.
    NotFound,
    /// The object exists already.
    AlreadyExists,
    /// The account lacks the permission.
    Forbidden,
    /// The account is not accepted: wrong key, signature or clock.
    Unauthenticated,
    /// The SQL does not parse.
    Syntax,
    /// Any other error that a repetition will meet again.
    Invalid,
}

impl RefusalKind {
    /// The meaning of an HTTP status and an error code together.
    #[must_use]
    pub fn of(status: u16, code: &str) -> Self {
        let code = code.split(':').next().unwrap_or_default().trim();
        match code {
            "FlowExceeded" | "SlotExceeded" | "QPSExceeded" | "RequestThrottled" => Self::Throttled,
            "InternalServerError"
            | "ServiceUnavailable"
            | "DataStoreError"
            | "ReadMetaError"
            | "MetaTransactionFailed"
            | "ODPS-0010000"
            | "ODPS-0110141"
            | "ODPS-0420153"
            | "ODPS-0430055" => Self::Transient,
            "DataVersionConflict" | "DataUnderReplication" => Self::Busy,
            "CorruptedDataStream" | "IncompleteBody" | "MalformedDataStream" => Self::CorruptStream,
            "StatusConflict" => Self::StatusConflict,
            "TableModified" | "SchemaModified" => Self::SchemaChanged,
            "ObjectAlreadyExists" => Self::AlreadyExists,
            "NoPermission" | "AccessDenied" | "ODPS-0130013" => Self::Forbidden,
            "AuthorizationRequired"
            | "Unauthorized"
            | "SignatureNotMatch"
            | "RequestTimeTooSkewed"
            | "AuthenticationRequestExpired"
            | "InvalidAccessKeyId" => Self::Unauthenticated,
            "ODPS-0130161" => Self::Syntax,
            "ODPS-0130131" => Self::NotFound,
            code if code.starts_with("NoSuch") => Self::NotFound,
            _ => match status {
                429 => Self::Throttled,
                // 308: the slot moved, and the next request is routed to its new place.
                308 | 408 | 500..=599 => Self::Transient,
                401 => Self::Unauthenticated,
                403 => Self::Forbidden,
                404 => Self::NotFound,
                _ => Self::Invalid,
            },
        }
    }
}

/// Why a request to a project failed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what the fields are")]
pub enum MaxComputeError {
    #[error("{what}: {source}")]
    Http { what: String, source: HttpError },
    #[error("{} was refused: {} {}{}", .0.what, .0.code, .0.message, tagged(.0.request_id.as_deref()))]
    Refused(Box<Refusal>),
    #[error("the answer to {what} does not follow the protocol: {why}{}", tagged(.request_id.as_deref()))]
    Answer { what: String, why: String, request_id: Option<String> },
    #[error("the project's settings are unusable: {what}")]
    Config { what: String },
    #[error("instance {instance} did not end within {}: cancel it, or wait for it longer", seconds(*.waited))]
    StillRunning { instance: String, waited: Duration },
    #[error("statement {statement} may have been received, and was refused when it was sent again: {source}")]
    SubmissionUnknown { statement: uuid::Uuid, source: Box<MaxComputeError> },
    #[error("instance {instance} was cancelled by somebody")]
    Cancelled { instance: String },
    #[error("partition of {table}: {source}")]
    PartitionValue { table: String, source: crate::limits::PartitionValueError },
    #[error("{table} does not accept direct uploads: {why}")]
    Unsupported { table: String, why: String },
    #[error("block {block_id} is out of range: the session takes blocks 0 to {most}; make the blocks larger")]
    BlockId { block_id: u32, most: u32 },
    #[error("rows do not fit the table: {0}")]
    Batch(String),
    #[error("block {block_id} could not be encoded: {why}")]
    Encode { block_id: u32, why: String },
    #[error("a download of {table} is damaged: {why}")]
    Damaged { table: String, why: String },
    #[error(
        "session {session} holds other blocks than were written: missing {missing:?}, not ours {unexpected:?}, other row counts {differing:?}"
    )]
    BlockList { session: String, missing: Vec<u32>, unexpected: Vec<u32>, differing: Vec<u32> },
    #[error(
        "session {session} has no block to commit: to publish that there are no rows, commit the tunnel's block without a record"
    )]
    EmptyCommit { session: String },
    #[error(
        "session {session} is {state}: it cannot publish any more, and whether it did must be told from the target's rows"
    )]
    SessionLost { session: String, state: SessionState },
    #[error(
        "the commit of session {session} has no known outcome (last seen {state}): ask for its state before anything else"
    )]
    OutcomeUnknown { session: String, state: SessionState },
}

fn tagged(id: Option<&str>) -> String {
    id.map(|id| format!(" (request {id})")).unwrap_or_default()
}

fn seconds(time: Duration) -> String {
    format!("{} s", time.as_secs())
}

impl MaxComputeError {
    /// The kind of the refusal; `None` if the error is not a refusal by the service.
    #[must_use]
    pub fn refusal(&self) -> Option<RefusalKind> {
        match self {
            Self::Refused(refusal) => Some(refusal.kind),
            _ => None,
        }
    }

    /// Whether the requested object does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.refusal() == Some(RefusalKind::NotFound)
    }

    /// Whether the table or partition of a session was dropped, or dropped and created again. Such a session can never publish.
    #[must_use]
    pub fn target_is_gone(&self) -> bool {
        match self {
            Self::Refused(refusal) => {
                refusal.kind == RefusalKind::SchemaChanged || GONE.contains(&refusal.code.as_str())
            }
            _ => false,
        }
    }

    /// Whether the service may have carried out the request in spite of this error.
    #[must_use]
    pub fn may_have_acted(&self) -> bool {
        match self {
            Self::Http { source, .. } => source.may_have_acted(),
            Self::Refused(refusal) => matches!(refusal.kind, RefusalKind::Transient | RefusalKind::StatusConflict),
            Self::Answer { .. }
            | Self::StillRunning { .. }
            | Self::OutcomeUnknown { .. }
            | Self::SubmissionUnknown { .. } => true,
            _ => false,
        }
    }
}

impl Classify for MaxComputeError {
    fn retry_class(&self) -> RetryClass {
        match self {
            Self::Http { source, .. } => source.retry_class(),
            Self::Refused(refusal) => match refusal.kind {
                RefusalKind::Throttled => {
                    RetryClass::Throttled { retry_after: refusal.hold.map(|hold| hold.min(HOLD_MAX)) }
                }
                RefusalKind::Busy => RetryClass::Throttled { retry_after: Some(BUSY_WAIT) },
                RefusalKind::Transient | RefusalKind::CorruptStream => RetryClass::Transient,
                _ => RetryClass::Permanent,
            },
            Self::StillRunning { .. } | Self::SubmissionUnknown { .. } => RetryClass::Transient,
            _ => RetryClass::Permanent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(status: u16, code: &str, hold: Option<u64>) -> RetryClass {
        MaxComputeError::Refused(Box::new(Refusal {
            what: "GET /x".into(),
            status,
            code: code.into(),
            message: String::new(),
            request_id: None,
            kind: RefusalKind::of(status, code),
            hold: hold.map(Duration::from_millis),
        }))
        .retry_class()
    }

    #[test]
    fn codes_decide_what_is_tried_again() {
        let throttled = |ms| RetryClass::Throttled { retry_after: Some(Duration::from_millis(ms)) };
        assert_eq!(class(429, "FlowExceeded", Some(1500)), throttled(1500));
        assert_eq!(class(429, "SlotExceeded", Some(60_000)), throttled(10_000));
        assert_eq!(class(429, "", None), RetryClass::Throttled { retry_after: None });
        assert_eq!(class(500, "InternalServerError", None), RetryClass::Transient);
        assert_eq!(class(503, "", None), RetryClass::Transient);
        assert_eq!(class(308, "", None), RetryClass::Transient);
        assert_eq!(class(400, "CorruptedDataStream", None), RetryClass::Transient);
        assert_eq!(class(409, "DataVersionConflict", None), throttled(60_000));
        for code in ["NoSuchPartition", "NoPermission", "InvalidArgument", "StatusConflict", "TableModified"] {
            assert_eq!(class(400, code, None), RetryClass::Permanent, "{code}");
        }
        assert_eq!(RefusalKind::of(200, "ODPS-0130131:[1,15] Table not found"), RefusalKind::NotFound);
        assert_eq!(RefusalKind::of(400, "ODPS-0130161"), RefusalKind::Syntax);
    }
}
