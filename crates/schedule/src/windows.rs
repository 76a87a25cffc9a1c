//! A set of time windows: tasks may start while at least one is open. An empty set is always open.

use crate::window::{AtEnd, Window};

/// Windows, of which one that is open is enough.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Windows(Vec<Window>);

const DAY_MS: i64 = 24 * 3_600_000;
/// What stays open for this long counts as never closing.
const ALWAYS_MS: i64 = 21 * DAY_MS;
/// The period over which openings are measured: two weeks, so that every day of the week is covered completely.
const MEASURED_MS: i64 = 14 * DAY_MS;

impl Windows {
    /// Combines windows; an empty list is always open.
    pub fn new(windows: Vec<Window>) -> Self {
        Self(windows)
    }

    /// The single windows.
    pub fn all(&self) -> &[Window] {
        &self.0
    }

    /// Whether tasks may start at a moment.
    pub fn is_open(&self, ms: i64) -> bool {
        self.0.is_empty() || self.0.iter().any(|window| window.is_open(ms))
    }

    /// When tasks may start next; `ms` itself if they may now. None: never.
    pub fn opens(&self, ms: i64) -> Option<i64> {
        if self.0.is_empty() { Some(ms) } else { self.0.iter().filter_map(|window| window.opens(ms)).min() }
    }

    /// When tasks may no longer start; `ms` itself if they may not now. None: never.
    pub fn closes(&self, ms: i64) -> Option<i64> {
        let mut at = ms;
        while self.is_open(at) {
            // As long as a window is open; then continue with another one that is open when it closes.
            let open = self.0.iter().filter(|window| window.is_open(at));
            let ends: Option<Vec<i64>> = open.map(|window| window.closes(at)).collect();
            at = ends?.into_iter().max()?;
            if at - ms > ALWAYS_MS {
                return None;
            }
        }
        Some(at)
    }

    /// What happens to running tasks while no window is open: what the window says that closed last. If several closed together,
    /// CHECKPOINT prevails. None while a window is open, and without windows.
    pub fn ended_by(&self, ms: i64) -> Option<AtEnd> {
        if self.is_open(ms) {
            return None;
        }
        let closed = self.0.iter().filter_map(|window| Some((window.closed(ms)?, window.at_end())));
        closed.max().map(|(_, at_end)| at_end)
    }

    /// The window that opens next, and when; for messages to people.
    pub fn next(&self, ms: i64) -> Option<(&Window, i64)> {
        self.0.iter().filter_map(|window| Some((window, window.opens(ms)?))).min_by_key(|(_, at)| *at)
    }

    /// The longest time in milliseconds for which tasks may start without a break, measured over two weeks from a moment. None:
    /// always open.
    pub fn longest(&self, ms: i64) -> Option<i64> {
        let (mut at, mut longest) = (ms, 0);
        while at - ms < MEASURED_MS {
            let Some(opens) = self.opens(at) else { break };
            let closes = self.closes(opens)?;
            longest = longest.max(closes - opens);
            at = closes.max(opens + 1);
        }
        Some(longest)
    }
}

#[cfg(test)]
#[path = "windows_tests.rs"]
mod tests;
