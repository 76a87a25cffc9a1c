//! Gives every failure a reason before it leaves, also those that the transport makes without one.

use http::HeaderMap;
use mms_proto::ApiError;
use mms_proto::types::v1::ErrorReason;
use tonic::{Code, Status};

const STATUS_HEADERS: [&str; 3] = ["grpc-status", "grpc-message", "grpc-status-details-bin"];

/// Reads the status from these headers or trailers and, if it is a failure without a reason, gives it one there. An
/// INTERNAL failure also gets the request id, to search the log for. Returns the status for the log; `None` if the
/// headers have none.
pub(super) fn settle(headers: &mut HeaderMap, request_id: &str) -> Option<Status> {
    let status = Status::from_header_map(headers)?;
    if status.code() == Code::Ok {
        return Some(status);
    }
    let error = ApiError::from_status(&status);
    let settled = match (error.reason, error.code) {
        (ErrorReason::Internal, _) => with_id(error, request_id),
        // A status with details of its own.
        _ if !status.details().is_empty() => return Some(status),
        (_, Code::Internal | Code::Unknown | Code::DataLoss) if !is_decode_error(&error.message) => {
            // This text was not written for callers: it belongs in the log.
            let public = ApiError::internal("an internal fault");
            replace(headers, &Status::from(with_id(public, request_id)));
            return Some(status);
        }
        _ => with_reason(error),
    };
    let settled = Status::from(settled);
    replace(headers, &settled);
    Some(settled)
}

fn with_id(mut error: ApiError, request_id: &str) -> ApiError {
    error.message = format!("{}; search the log for request {request_id}", error.message);
    error.with("request_id", request_id)
}

/// Failures made by tonic have no details: their code tells what happened.
fn with_reason(mut error: ApiError) -> ApiError {
    let (code, reason) = match error.code {
        Code::OutOfRange => (Code::ResourceExhausted, ErrorReason::TooLarge),
        Code::ResourceExhausted => (Code::ResourceExhausted, ErrorReason::TooLarge),
        Code::Internal => (Code::InvalidArgument, ErrorReason::Malformed),
        Code::InvalidArgument => (Code::InvalidArgument, ErrorReason::Malformed),
        Code::Unimplemented => (Code::Unimplemented, ErrorReason::Malformed),
        Code::Cancelled => (Code::Cancelled, ErrorReason::Cancelled),
        Code::DeadlineExceeded => (Code::DeadlineExceeded, ErrorReason::Deadline),
        Code::Unavailable => (Code::Unavailable, ErrorReason::Unavailable),
        Code::NotFound => (Code::NotFound, ErrorReason::NotFound),
        Code::AlreadyExists => (Code::AlreadyExists, ErrorReason::AlreadyExists),
        Code::Unauthenticated => (Code::Unauthenticated, ErrorReason::Unauthenticated),
        other => (other, ErrorReason::Unspecified),
    };
    if error.message.is_empty() && code == Code::Unimplemented {
        error.message = "this process does not serve that method; list its methods with reflection".into();
    }
    ApiError { code, reason, ..error }
}

/// Whether tonic could not decode the request. It answers INTERNAL then, although the fault is the caller's.
fn is_decode_error(message: &str) -> bool {
    message.starts_with("failed to decode Protobuf message")
}

fn replace(headers: &mut HeaderMap, status: &Status) {
    let kept = headers.clone();
    for name in STATUS_HEADERS {
        headers.remove(name);
    }
    if status.add_header(headers).is_err() {
        // The new status does not fit into headers; the previous one did.
        *headers = kept;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(status: Status) -> (ApiError, Status) {
        let mut headers = HeaderMap::new();
        status.add_header(&mut headers).unwrap();
        let logged = settle(&mut headers, "id-1").unwrap();
        (ApiError::from_status(&Status::from_header_map(&headers).unwrap()), logged)
    }

    #[test]
    fn bare_failures_get_a_reason() {
        let cases = [
            (Status::unimplemented(""), Code::Unimplemented, ErrorReason::Malformed),
            (Status::out_of_range("too large"), Code::ResourceExhausted, ErrorReason::TooLarge),
            (Status::internal("failed to decode Protobuf message: X"), Code::InvalidArgument, ErrorReason::Malformed),
            (Status::deadline_exceeded("x"), Code::DeadlineExceeded, ErrorReason::Deadline),
            (Status::cancelled("x"), Code::Cancelled, ErrorReason::Cancelled),
        ];
        for (bare, code, reason) in cases {
            let (error, _) = settled(bare);
            assert_eq!((error.code, error.reason), (code, reason));
        }
    }

    #[test]
    fn a_text_that_nobody_chose_for_callers_stays_in_the_log() {
        let (error, logged) = settled(Status::unknown("sled: /var/lib/x is broken"));
        assert_eq!((error.code, error.reason), (Code::Internal, ErrorReason::Internal));
        assert!(!error.message.contains("sled") && error.message.contains("id-1"), "{}", error.message);
        assert!(logged.message().contains("sled"));
    }

    #[test]
    fn a_service_keeps_its_own_details() {
        let (error, _) = settled(ApiError::not_found("dataSources/a").into());
        assert_eq!((error.reason, error.metadata["resource"].as_str()), (ErrorReason::NotFound, "dataSources/a"));
        let (error, _) = settled(ApiError::internal("the store is full").into());
        assert_eq!(error.message, "the store is full; search the log for request id-1");
        assert_eq!(error.metadata["request_id"], "id-1");
    }
}
