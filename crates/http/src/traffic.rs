//! Owns the counts of what goes over a client, by far end. Plain numbers in memory; who wants them elsewhere asks. A far end
//! is a name that the crate of that end gives itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use reqwest::StatusCode;

/// The far end of a client that no crate has named.
const OTHER: &str = "other";

/// How an exchange came out, as far as counting goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Answered, and well.
    Ok,
    /// 4xx.
    Refused,
    /// 429 or 503: come back later.
    Throttled,
    /// Any other 5xx.
    Failed,
    /// No answer.
    Unanswered,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Ok, Self::Refused, Self::Throttled, Self::Failed, Self::Unanswered];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Refused => "refused",
            Self::Throttled => "throttled",
            Self::Failed => "failed",
            Self::Unanswered => "unanswered",
        }
    }

    pub(crate) fn of(status: StatusCode) -> Self {
        match status.as_u16() {
            429 | 503 => Self::Throttled,
            400..=499 => Self::Refused,
            500.. => Self::Failed,
            _ => Self::Ok,
        }
    }
}

/// What went to one far end and came from it.
#[derive(Debug, Default)]
pub struct Counts {
    requests: [AtomicU64; 5],
    micros: AtomicU64,
    retries: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
}

impl Counts {
    /// Requests that came out so; each try is one.
    pub fn requests(&self, outcome: Outcome) -> u64 {
        self.requests[outcome as usize].load(Relaxed)
    }

    /// Time until answers began.
    pub fn waited(&self) -> Duration {
        Duration::from_micros(self.micros.load(Relaxed))
    }

    /// Tries after the first, of what the retry policy repeats.
    pub fn retries(&self) -> u64 {
        self.retries.load(Relaxed)
    }

    /// Bytes of bodies sent.
    pub fn sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }

    /// Bytes of bodies received.
    pub fn received(&self) -> u64 {
        self.received.load(Relaxed)
    }

    pub(crate) fn exchanged(&self, outcome: Outcome, took: Duration) {
        self.requests[outcome as usize].fetch_add(1, Relaxed);
        self.micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Relaxed);
    }

    pub(crate) fn retried(&self) {
        self.retries.fetch_add(1, Relaxed);
    }

    pub(crate) fn add_sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Relaxed);
    }

    pub(crate) fn add_received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Relaxed);
    }
}

/// The counts of all far ends that a service talks to. Clones count together.
#[derive(Debug, Clone, Default)]
pub struct Traffic(Arc<Mutex<BTreeMap<&'static str, Arc<Counts>>>>);

impl Traffic {
    /// The counts of one far end.
    pub fn of(&self, end: &'static str) -> Arc<Counts> {
        Arc::clone(self.0.lock().entry(end).or_default())
    }

    pub(crate) fn other(&self) -> Arc<Counts> {
        self.of(OTHER)
    }

    /// Shows each far end that there was.
    pub fn each(&self, mut show: impl FnMut(&'static str, &Counts)) {
        for (end, counts) in self.0.lock().iter() {
            show(end, counts);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_come_out_as_they_are_counted() {
        let of = |code| Outcome::of(StatusCode::from_u16(code).unwrap());
        for (code, outcome) in [
            (200, Outcome::Ok),
            (304, Outcome::Ok),
            (404, Outcome::Refused),
            (429, Outcome::Throttled),
            (503, Outcome::Throttled),
            (500, Outcome::Failed),
            (504, Outcome::Failed),
        ] {
            assert_eq!(of(code), outcome, "{code}");
        }
        for (place, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, place);
        }
    }
}
