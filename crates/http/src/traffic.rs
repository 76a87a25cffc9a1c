//! Owns the counts of requests and bytes, by far end. They are plain numbers in memory; whoever publishes them reads them here. A
//! far end's name is chosen by the crate that talks to it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use reqwest::StatusCode;

/// The name for a client that no crate has named.
const OTHER: &str = "other";

/// The outcome of an exchange, as it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Answered with a status below 400.
    Ok,
    /// Answered with 4xx other than 429.
    Refused,
    /// Answered with 429 or 503: retry later.
    Throttled,
    /// Answered with any other 5xx.
    Failed,
    /// Not answered.
    Unanswered,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 5] = [Self::Ok, Self::Refused, Self::Throttled, Self::Failed, Self::Unanswered];

    /// The name in metrics.
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

/// The counts of one far end.
#[derive(Debug, Default)]
pub struct Counts {
    requests: [AtomicU64; 5],
    micros: AtomicU64,
    retries: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
}

impl Counts {
    /// Number of requests with this outcome; each attempt counts.
    pub fn requests(&self, outcome: Outcome) -> u64 {
        self.requests[outcome as usize].load(Relaxed)
    }

    /// Total time from sending requests to the first byte of their answers.
    pub fn waited(&self) -> Duration {
        Duration::from_micros(self.micros.load(Relaxed))
    }

    /// Number of attempts after the first, as far as the retry policy made them.
    pub fn retries(&self) -> u64 {
        self.retries.load(Relaxed)
    }

    /// Bytes of request bodies.
    pub fn sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }

    /// Bytes of response bodies.
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

/// The counts of all far ends of a service. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Traffic(Arc<Mutex<BTreeMap<&'static str, Arc<Counts>>>>);

impl Traffic {
    /// The counts of one far end, which are created if there are none.
    pub fn of(&self, end: &'static str) -> Arc<Counts> {
        Arc::clone(self.0.lock().entry(end).or_default())
    }

    pub(crate) fn other(&self) -> Arc<Counts> {
        self.of(OTHER)
    }

    /// Calls `show` for each far end that has counts.
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
