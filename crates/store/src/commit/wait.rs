//! How long the committer gathers commits for one flush. Knows times only, nothing of the commits.

use std::time::{Duration, Instant};

/// How long a group may be gathered: as long as its most urgent commit allows.
#[derive(Debug, Default)]
pub(super) enum Wait {
    /// No commit yet.
    #[default]
    Open,
    Until(Instant),
    Over,
}

impl Wait {
    /// Adds a commit that must be flushed by `at`; `None` for at once.
    pub(super) fn at_latest(&mut self, at: Option<Instant>) {
        *self = match (&self, at) {
            (Self::Over, _) | (_, None) => Self::Over,
            (Self::Open, Some(at)) => Self::Until(at),
            (Self::Until(before), Some(at)) => Self::Until(at.min(*before)),
        };
    }

    pub(super) fn left(&self) -> Option<Duration> {
        match self {
            Self::Until(at) => Some(at.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero()),
            Self::Open | Self::Over => None,
        }
    }
}
