//! The one error shape on the wire: a canonical code, `google.rpc.ErrorInfo` with a stable reason, all field
//! violations, and when a retry makes sense. Services convert their own errors to it; clients read it back.

mod fit;

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

use crate::types::v1::{ErrorReason, FindingReason};

pub use fit::MORE;

/// The `domain` of every `ErrorInfo` that we send.
pub const DOMAIN: &str = "mms";

const PREFIX: &str = "ERROR_REASON_";
const FINDING_PREFIX: &str = "FINDING_REASON_";

/// A failure as callers see it.
#[derive(Debug, Clone)]
pub struct ApiError {
    /// The canonical code.
    pub code: Code,
    /// The stable reason; the contract says what each means.
    pub reason: ErrorReason,
    /// What was wrong, with which value, and what to do; for people.
    pub message: String,
    /// Values for programs, by key. The comment of each reason in the contract says which keys it has.
    pub metadata: HashMap<String, String>,
    /// Every rule that the request breaks; empty for failures of other kinds.
    pub violations: Vec<FieldViolation>,
    /// How long to wait before a retry; `None` if there is nothing to say about that.
    pub retry_after: Option<Duration>,
}

impl ApiError {
    /// A failure without metadata, violations or a time to retry.
    pub fn new(code: Code, reason: ErrorReason, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { code, reason, message, metadata: HashMap::new(), violations: Vec::new(), retry_after: None }
    }

    /// Adds one metadata entry.
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: impl ToString) -> Self {
        self.metadata.insert(key.into(), value.to_string());
        self
    }

    /// Sets how long to wait before a retry.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// UNIMPLEMENTED, reason NOT_YET: the contract defines this, and this version does not implement it yet.
    pub fn not_yet(feature: impl fmt::Display) -> Self {
        Self::new(Code::Unimplemented, ErrorReason::NotYet, format!("{feature} is not implemented in this version"))
            .with("feature", feature)
    }

    /// UNIMPLEMENTED, reason NOT_YET: names all fields that are set and that this version does not implement yet.
    pub fn not_yet_fields(paths: &[String]) -> Self {
        let paths = paths.join(", ");
        let text = format!("not implemented in this version: {paths}; leave out what is named");
        Self::new(Code::Unimplemented, ErrorReason::NotYet, text).with("feature", paths)
    }

    /// INVALID_ARGUMENT with every field that breaks a rule.
    pub fn invalid(violations: Vec<FieldViolation>) -> Self {
        let message = match violations.as_slice() {
            [one] => format!("{} {}", one.field, one.description),
            many => {
                let listed = many.iter().take(fit::LISTED).map(|v| format!("{} {}", v.field, v.description));
                format!("{} fields are not valid: {}", many.len(), listed.collect::<Vec<_>>().join("; "))
            }
        };
        Self { violations, ..Self::new(Code::InvalidArgument, ErrorReason::InvalidField, message) }
    }

    /// INVALID_ARGUMENT for one field that breaks a rule.
    pub fn invalid_field(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self::invalid(vec![FieldViolation::new(field, description)])
    }

    /// NOT_FOUND: the resource does not exist.
    pub fn not_found(resource: impl fmt::Display) -> Self {
        Self::new(Code::NotFound, ErrorReason::NotFound, format!("{resource} does not exist"))
            .with("resource", resource)
    }

    /// ALREADY_EXISTS: the id or display name is taken; `message` says by what.
    pub fn already_exists(resource: impl fmt::Display, message: impl Into<String>) -> Self {
        Self::new(Code::AlreadyExists, ErrorReason::AlreadyExists, message).with("resource", resource)
    }

    /// ABORTED: somebody else changed the resource since the caller read it.
    pub fn etag_mismatch(resource: impl fmt::Display) -> Self {
        let message = format!("{resource} was changed meanwhile; read it again and repeat the change");
        Self::new(Code::Aborted, ErrorReason::EtagMismatch, message).with("resource", resource)
    }

    /// ALREADY_EXISTS: the request id was used before, for a request with other content.
    pub fn request_id_reused(id: impl fmt::Display) -> Self {
        let message = format!("request_id `{id}` was used with other content: use a new one");
        Self::new(Code::AlreadyExists, ErrorReason::RequestIdReused, message).with("request_id", id)
    }

    /// FAILED_PRECONDITION: the resource's state does not allow the call.
    pub fn wrong_state(resource: impl fmt::Display, state: impl fmt::Display, message: impl Into<String>) -> Self {
        Self::new(Code::FailedPrecondition, ErrorReason::WrongState, message)
            .with("resource", resource)
            .with("state", state)
    }

    /// INVALID_ARGUMENT: the page token was made by another method or service, or for other arguments.
    pub fn invalid_page_token() -> Self {
        let message = "the page token was not made by this method for these arguments; start at the first page";
        Self {
            violations: vec![FieldViolation::new("page_token", message)],
            ..Self::new(Code::InvalidArgument, ErrorReason::InvalidPageToken, message)
        }
    }

    /// UNAVAILABLE: a service that is needed does not answer, or this one is starting or shutting down.
    pub fn unavailable(service: impl fmt::Display, message: impl Into<String>) -> Self {
        Self::new(Code::Unavailable, ErrorReason::Unavailable, message).with("service", service)
    }

    /// The store of this service failed. With `ended` it is closed for good and its process will exit, so the answer is
    /// UNAVAILABLE; else INTERNAL. The store's own error names files of this machine: it belongs in the log, so it is
    /// no argument here.
    pub fn store_failed(service: &str, ended: bool) -> Self {
        if !ended {
            return Self::internal(format!("the {service}'s store failed"));
        }
        let text =
            format!("the {service}'s store is closed, because the process shuts down or a write failed; try again");
        Self::unavailable(service, text).retry_after(Duration::from_secs(1))
    }

    /// RESOURCE_EXHAUSTED: the disk of this service's store is full, and nothing was written.
    pub fn storage_full(service: &str) -> Self {
        let text = format!(
            "the disk of the {service}'s store is full: nothing was written, reads still work; its operator must free space"
        );
        Self::new(Code::ResourceExhausted, ErrorReason::StorageFull, text)
            .with("service", service)
            .retry_after(Duration::from_secs(10))
    }

    /// INTERNAL: a fault of ours. The message goes to the caller; what only the operator may read belongs in the log.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Code::Internal, ErrorReason::Internal, message)
    }

    /// Whether the same call may succeed later without anybody doing anything. All callers decide with this function. A
    /// retry is safe only for reads, and for requests with a `request_id`.
    pub fn is_transient(&self) -> bool {
        match self.code {
            // A call that timed out may be faster the next time; every caller bounds its retries itself.
            Code::Unavailable | Code::DeadlineExceeded => true,
            // A request that is too large stays so; every other resource may become free again.
            Code::ResourceExhausted => self.reason != ErrorReason::TooLarge,
            // Our servers give a reason with each of these codes: one without a reason was made by the transport.
            Code::Unknown | Code::Cancelled => self.reason == ErrorReason::Unspecified,
            _ => false,
        }
    }

    /// Reads a status back. A connection that broke is UNAVAILABLE, whatever code the transport gives it. The reason is
    /// UNSPECIFIED if the status comes from a foreign server, or if its reason is newer than this contract.
    pub fn from_status(status: &Status) -> Self {
        let details = status.get_error_details();
        let info = details.error_info().filter(|info| info.domain == DOMAIN);
        Self {
            code: if is_broken_connection(status) { Code::Unavailable } else { status.code() },
            reason: info
                .and_then(|info| ErrorReason::from_str_name(&format!("{PREFIX}{}", info.reason)))
                .unwrap_or(ErrorReason::Unspecified),
            message: status.message().to_owned(),
            metadata: info.map(|info| info.metadata.clone()).unwrap_or_default(),
            violations: details.bad_request().map(|bad| bad.field_violations.clone()).unwrap_or_default(),
            retry_after: details.retry_info().and_then(|retry| retry.retry_delay),
        }
    }
}

/// Whether the transport failed. It reports that as UNKNOWN, CANCELLED or INTERNAL, as a server may for reasons of its
/// own: only the causes of the status tell them apart.
fn is_broken_connection(status: &Status) -> bool {
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        // A peer that was killed in the middle of an answer: h2 does not expose the socket's error as a source.
        let gone = error.downcast_ref::<h2::Error>().is_some_and(|h2| h2.is_io() || h2.is_go_away());
        if gone || error.is::<tonic::transport::Error>() || error.is::<std::io::Error>() {
            return matches!(status.code(), Code::Unknown | Code::Cancelled | Code::Internal);
        }
        cause = error.source();
    }
    false
}

/// The reason as ErrorInfo has it: the name of the enum value without its prefix.
pub fn reason_text(reason: ErrorReason) -> &'static str {
    let name = reason.as_str_name();
    name.strip_prefix(PREFIX).unwrap_or(name)
}

/// The reason of a finding: the name of the enum value without its prefix.
pub fn finding_text(reason: FindingReason) -> &'static str {
    let name = reason.as_str_name();
    name.strip_prefix(FINDING_PREFIX).unwrap_or(name)
}

/// The reason of a finding with this text; `None` for a reason of a newer contract.
pub fn finding_reason(text: &str) -> Option<FindingReason> {
    FindingReason::from_str_name(&format!("{FINDING_PREFIX}{text}"))
}

impl From<ApiError> for Status {
    fn from(error: ApiError) -> Self {
        let error = fit::fit(error);
        let mut details = ErrorDetails::with_error_info(reason_text(error.reason), DOMAIN, error.metadata);
        if !error.violations.is_empty() {
            details.set_bad_request(error.violations);
        }
        if error.retry_after.is_some() {
            details.set_retry_info(error.retry_after);
        }
        Status::with_error_details(error.code, error.message, details)
    }
}

impl From<Status> for ApiError {
    fn from(status: Status) -> Self {
        Self::from_status(&status)
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", reason_text(self.reason), self.message)
    }
}

impl std::error::Error for ApiError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_out_comes_back() {
        let error = ApiError::invalid(vec![
            FieldViolation::new("data_source.databricks.workspace_url", "is required"),
            FieldViolation::new("tables[3].name", "has 300 characters: at most 255 are allowed"),
        ])
        .with("resource", "dataSources/a")
        .retry_after(Duration::from_millis(1500));
        let back = ApiError::from_status(&Status::from(error.clone()));
        assert_eq!(format!("{back:?}"), format!("{error:?}"));
    }

    #[test]
    fn a_foreign_status_keeps_code_and_text() {
        let error = ApiError::from_status(&Status::unavailable("tcp connect error"));
        assert_eq!((error.code, error.reason), (Code::Unavailable, ErrorReason::Unspecified));
        assert_eq!(error.message, "tcp connect error");
    }

    #[test]
    fn what_may_pass_by_itself() {
        use ErrorReason as R;
        for (code, reason, transient) in [
            (Code::Unavailable, R::Unavailable, true),
            (Code::Unavailable, R::Unspecified, true),
            (Code::DeadlineExceeded, R::Deadline, true),
            (Code::ResourceExhausted, R::TooManyCalls, true),
            (Code::ResourceExhausted, R::StorageFull, true),
            (Code::ResourceExhausted, R::Unspecified, true),
            (Code::ResourceExhausted, R::TooLarge, false),
            (Code::Unknown, R::Unspecified, true),
            (Code::Unknown, R::Internal, false),
            (Code::Cancelled, R::Unspecified, true),
            (Code::Cancelled, R::Cancelled, false),
            (Code::Internal, R::Unspecified, false),
            (Code::Internal, R::Internal, false),
            (Code::Aborted, R::EtagMismatch, false),
            (Code::FailedPrecondition, R::WrongState, false),
            (Code::InvalidArgument, R::InvalidField, false),
            (Code::NotFound, R::NotFound, false),
            (Code::Unauthenticated, R::Unauthenticated, false),
        ] {
            assert_eq!(ApiError::new(code, reason, "").is_transient(), transient, "{code:?} {reason:?}");
        }
    }

    #[test]
    fn a_connection_that_breaks_is_away_whatever_shows_it() {
        let reset = || std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        for code in [Code::Unknown, Code::Cancelled, Code::Internal] {
            let mut status = Status::new(code, "broken");
            status.set_source(std::sync::Arc::new(reset()));
            assert_eq!(ApiError::from_status(&status).code, Code::Unavailable, "{code:?}");
        }
        assert_eq!(ApiError::from_status(&Status::internal("a server said so")).code, Code::Internal);
    }

    #[test]
    fn not_yet_says_so() {
        let status = Status::from(ApiError::not_yet("ListTimers"));
        assert_eq!(status.code(), Code::Unimplemented);
        let details = status.get_error_details();
        let info = details.error_info().unwrap();
        assert_eq!((info.reason.as_str(), info.domain.as_str()), ("NOT_YET", "mms"));
        assert_eq!(info.metadata["feature"], "ListTimers");
    }

    #[test]
    fn a_store_that_ended_is_worth_another_try() {
        let (failed, ended) = (ApiError::store_failed("catalog", false), ApiError::store_failed("catalog", true));
        assert_eq!((failed.code, failed.retry_after), (Code::Internal, None));
        assert_eq!((ended.code, ended.retry_after.is_some()), (Code::Unavailable, true));
    }
}
