//! Owns [`Gate`]: how many requests are under way at a workspace at once, for all who call it as the same principal. The
//! number shrinks when the workspace says that there are too many and grows again while it does not; how, is [`Width`],
//! which is pure. Nobody waits here for anything but a place.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Most requests under way at once. No limit of Unity Catalog's is documented, so it is small.
pub(crate) const MOST: u32 = 8;

/// How many requests may be under way.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Width {
    now: u32,
    /// Successes since it last changed.
    good: u32,
    /// How often it was shrunk: a request that began before the last time says nothing about the present width.
    shrunk: u64,
}

impl Width {
    pub(crate) fn new() -> Self {
        Self { now: MOST, good: 0, shrunk: 0 }
    }

    pub(crate) fn now(&self) -> u32 {
        self.now
    }

    /// What a request takes along, to be told with its outcome.
    pub(crate) fn era(&self) -> u64 {
        self.shrunk
    }

    /// The workspace said that there are too many: half as many, once for all that were under way together.
    pub(crate) fn throttled(&mut self, era: u64) {
        if era == self.shrunk {
            self.now = (self.now / 2).max(1);
            self.good = 0;
            self.shrunk += 1;
        }
    }

    /// It answered: one more after as many answers as there are places.
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

/// Lets so many requests through at once.
#[derive(Debug)]
pub(crate) struct Gate {
    state: Mutex<State>,
    left: Notify,
}

/// A request's place; given back when it is dropped.
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
        // Of several places that became free or new at once, each who takes one passes the word on.
        if more {
            self.left.notify_one();
        }
        Some(Place { gate: self, era })
    }

    /// Waits for a place.
    pub(crate) async fn enter(&self) -> Place<'_> {
        loop {
            // Before looking, so that what is given back in between is not missed.
            let left = self.left.notified();
            if let Some(place) = self.try_enter() {
                return place;
            }
            left.await;
        }
    }
}

impl Place<'_> {
    /// The workspace said that there are too many.
    pub(crate) fn throttled(&self) {
        self.gate.state().width.throttled(self.era);
    }

    /// It answered something else.
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
