//! Owns [`Gate`]: bounds how many requests are under way at a workspace, for all who call it as the same principal. The bound
//! shrinks when the workspace says that there are too many requests and grows again while it does not: [`Width`], which is
//! pure, says how. Nobody waits here for anything but a place.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Most requests under way. Small, because Unity Catalog documents no limit.
pub(crate) const MOST: u32 = 8;

/// The number of requests that may be under way.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Width {
    now: u32,
    /// Successes since `now` last changed.
    good: u32,
    /// How often it shrank. A request that began before the last time says nothing about the present width.
    shrunk: u64,
}

impl Width {
    pub(crate) fn new() -> Self {
        Self { now: MOST, good: 0, shrunk: 0 }
    }

    pub(crate) fn now(&self) -> u32 {
        self.now
    }

    /// The era that a request begins in; its outcome is told with it.
    pub(crate) fn era(&self) -> u64 {
        self.shrunk
    }

    /// The workspace answered that there are too many requests. Halves the width, once for all requests of one era.
    pub(crate) fn throttled(&mut self, era: u64) {
        if era == self.shrunk {
            self.now = (self.now / 2).max(1);
            self.good = 0;
            self.shrunk += 1;
        }
    }

    /// The workspace answered anything else. Widens by one after as many answers as there are places.
    pub(crate) fn answered(&mut self, era: u64) {
        if era != self.shrunk || self.now >= MOST {
            return;
        }
        self.good += 1;
        if self.good >= self.now {
            self.now += 1;
            self.good = 0;
        }
    }
}

#[derive(Debug)]
struct State {
    width: Width,
    under_way: u32,
}

/// Lets a bounded number of requests through at once.
#[derive(Debug)]
pub(crate) struct Gate {
    state: Mutex<State>,
    left: Notify,
}

/// A request's place, released when it is dropped.
#[derive(Debug)]
pub(crate) struct Place<'g> {
    gate: &'g Gate,
    era: u64,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self { state: Mutex::new(State { width: Width::new(), under_way: 0 }), left: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_enter(&self) -> Option<Place<'_>> {
        let mut state = self.state();
        if state.under_way >= state.width.now() {
            return None;
        }
        state.under_way += 1;
        let more = state.under_way < state.width.now();
        let era = state.width.era();
        drop(state);
        // Several places may have become free at once: each caller that takes one wakes the next.
        if more {
            self.left.notify_one();
        }
        Some(Place { gate: self, era })
    }

    /// Waits for a free place.
    pub(crate) async fn enter(&self) -> Place<'_> {
        loop {
            // Registered before the check, so that a place released in between is not missed.
            let left = self.left.notified();
            if let Some(place) = self.try_enter() {
                return place;
            }
            left.await;
        }
    }
}

impl Place<'_> {
    /// Tells that the workspace answered that there are too many requests.
    pub(crate) fn throttled(&self) {
        self.gate.state().width.throttled(self.era);
    }

    /// Tells that the workspace answered anything else.
    pub(crate) fn answered(&self) {
        self.gate.state().width.answered(self.era);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.gate.state().under_way -= 1;
        self.gate.left.notify_one();
    }
}

#[cfg(test)]
#[path = "gate_tests.rs"]
mod tests;
