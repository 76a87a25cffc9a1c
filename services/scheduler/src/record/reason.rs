//! Reasons: why a record is in its state.

use mms_proto::ErrorReason;
use mms_store::Known;

/// Why a record is in its state.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Reason {
    #[prost(message, required, tag = "1")]
    pub reason: Known<ErrorReason>,
    /// What was wrong, with which value, and what to do next.
    #[prost(string, tag = "2")]
    pub message: String,
}

impl Reason {
    /// A reason and its text, which is cut to [`CHARS_MAX`] characters.
    pub fn new(reason: ErrorReason, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if let Some((cut, _)) = message.char_indices().nth(CHARS_MAX - 1) {
            message.truncate(cut);
            message.push('…');
        }
        Self { reason: reason.into(), message }
    }
}

/// Most characters of a reason's text, because it is copied into answers, tables and logs.
const CHARS_MAX: usize = 2_048;

/// An event that a record does not accept in its present state. This is a bug: whoever raises an event has checked the
/// state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a {what} that is {stands} does not accept {event}")]
pub struct NotTaken {
    pub what: &'static str,
    /// The record's state, in words.
    pub stands: String,
    /// The event, in words.
    pub event: &'static str,
}
