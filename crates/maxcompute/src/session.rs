//! The states of an upload session, and what to do in each when the outcome of a commit is unknown. Pure: the client asks the
//! server; this module only decides what the answer means.

use std::fmt;

/// The state of an upload session, as the server names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum SessionState {
    /// Open: blocks may be written.
    Normal,
    /// A commit is running.
    Committing,
    /// A commit is being completed.
    Closing,
    /// Committed: the rows are published.
    Closed,
    /// Expired after its 24 hours; nothing was published.
    Expired,
    /// Broken on the server's side.
    Critical,
    /// Aborted; nothing was published.
    Canceled,
    /// The server does not know the session, or not any more.
    Missing,
    /// A state that this client does not know.
    Unknown,
}

impl SessionState {
    /// Parses the server's word, in upper or lower case.
    #[must_use]
    pub fn from_word(word: &str) -> Self {
        match word.to_ascii_lowercase().as_str() {
            "normal" => Self::Normal,
            "committing" => Self::Committing,
            "closing" => Self::Closing,
            "closed" | "committed" => Self::Closed,
            "expired" => Self::Expired,
            "critical" => Self::Critical,
            "canceled" | "cancelled" => Self::Canceled,
            _ => Self::Unknown,
        }
    }
}

impl fmt::Display for SessionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Normal => "normal",
            Self::Committing => "committing",
            Self::Closing => "closing",
            Self::Closed => "closed",
            Self::Expired => "expired",
            Self::Critical => "critical",
            Self::Canceled => "canceled",
            Self::Missing => "missing",
            Self::Unknown => "unknown",
        })
    }
}

/// What to do about a commit whose outcome is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Resolution {
    /// Nothing was committed and the session is still open: send its commit again.
    CommitAgain,
    /// The server has not decided yet: ask again later.
    Wait,
    /// The rows are published.
    Committed,
    /// This session can never publish from now on, and the server does not tell whether it did. Compare the target with the plan;
    /// unless they are equal, write again with a new overwrite session.
    Lost,
}

/// What to do after a commit was, perhaps, sent and the session is in this state.
#[must_use]
pub fn resolve(state: SessionState) -> Resolution {
    match state {
        SessionState::Normal => Resolution::CommitAgain,
        SessionState::Committing | SessionState::Closing | SessionState::Unknown => Resolution::Wait,
        SessionState::Closed => Resolution::Committed,
        SessionState::Expired | SessionState::Critical | SessionState::Canceled | SessionState::Missing => {
            Resolution::Lost
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_state_has_its_resolution() {
        for (word, resolution) in [
            ("normal", Resolution::CommitAgain),
            ("NORMAL", Resolution::CommitAgain),
            ("committing", Resolution::Wait),
            ("closing", Resolution::Wait),
            ("UNKNOWN", Resolution::Wait),
            ("a word of the future", Resolution::Wait),
            ("closed", Resolution::Committed),
            ("expired", Resolution::Lost),
            ("critical", Resolution::Lost),
            ("canceled", Resolution::Lost),
            ("cancelled", Resolution::Lost),
        ] {
            assert_eq!(resolve(SessionState::from_word(word)), resolution, "{word}");
        }
        assert_eq!(resolve(SessionState::Missing), Resolution::Lost);
    }

    proptest! {
        /// An unknown state must lead neither to a second commit nor to a false success.
        #[test]
        fn unknown_words_only_wait(word in "[a-z]{1,6}x[a-z]{0,6}") {
            prop_assume!(SessionState::from_word(&word) == SessionState::Unknown);
            prop_assert_eq!(resolve(SessionState::from_word(&word)), Resolution::Wait);
        }

        #[test]
        fn printing_then_reading_keeps_the_state(word in prop::sample::select(vec![
            "normal", "committing", "closing", "closed", "expired", "critical", "canceled",
        ])) {
            prop_assert_eq!(SessionState::from_word(word).to_string(), word);
        }
    }
}
