//! Converts durations and etags.

use std::time::Duration;

use mms_proto::time::duration;

/// Milliseconds as a duration of the contract; negative ones are 0.
pub fn duration_of(ms: i64) -> Option<prost_types::Duration> {
    duration(Duration::from_millis(u64::try_from(ms).unwrap_or(0)))
}

/// The etag of a revision.
pub fn etag(revision: u64) -> String {
    format!("{revision:x}")
}
