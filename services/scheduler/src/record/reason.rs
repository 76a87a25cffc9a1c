//! Why something is in its state.

use mms_proto::ErrorReason;
use mms_store::Known;

/// Why something is in its state.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Reason {
    #[prost(message, required, tag = "1")]
    pub reason: Known<ErrorReason>,
    /// What was wrong, with which value, and what to do next.
    #[prost(string, tag = "2")]
    pub message: String,
}

impl Reason {
    /// A reason and its text.
    pub fn new(reason: ErrorReason, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if let Some((cut, _)) = message.char_indices().nth(CHARS_MAX - 1) {
            message.truncate(cut);
            message.push('…');
        }
        Self { reason: reason.into(), message }
    }
}

/// Characters of a reason: it is copied into answers, tables and logs.
const CHARS_MAX: usize = 2_048;

/// An event that a record does not take where it stands: a fault of this program, as whoever raises one has looked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a {what} that is {stands} does not take {event}")]
pub struct NotTaken {
    /// Kind of the record.
    pub what: &'static str,
    /// Where it stands.
    pub stands: String,
    /// What was to happen.
    pub event: &'static str,
}
