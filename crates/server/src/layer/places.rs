//! Places: how many calls of each class are handled at once. A class has its own, so that no class can take what another
//! needs: people cannot keep heartbeats out, nor can whoever has no token keep out those who have one.

use std::sync::Arc;

use mms_proto::Role;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::LimitsConfig;
use crate::rights::{Caller, Open};

/// Bytes of request bodies are counted in units of this many.
const UNIT: usize = 1 << 10;

/// Who calls, as far as places are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    Health,
    Reflection,
    Service,
    People,
}

impl Class {
    pub fn of(path: &str, caller: Option<&Caller>) -> Self {
        match (Open::of(path), caller) {
            (Some(Open::Health), _) => Self::Health,
            (Some(Open::Reflection), _) => Self::Reflection,
            (None, Some(Caller { role: Role::Service, .. })) => Self::Service,
            (None, _) => Self::People,
        }
    }
}

/// What a call does with its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Call,
    Stream,
    Wait,
}

/// The places of one class.
#[derive(Debug)]
struct Room {
    calls: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    waits: Arc<Semaphore>,
    /// Calls whose body is still on its way.
    arriving: Arc<Semaphore>,
    /// Units of bodies that are in memory.
    bytes: Arc<Semaphore>,
}

impl Room {
    fn new(calls: usize, streams: usize, waits: usize, bytes: usize) -> Self {
        let places = |count| Arc::new(Semaphore::new(count));
        Self {
            calls: places(calls),
            streams: places(streams),
            waits: places(waits),
            arriving: places(calls.max(streams).max(waits)),
            bytes: places(bytes.div_ceil(UNIT)),
        }
    }
}

/// All places of a process.
#[derive(Debug)]
pub(crate) struct Places([Room; 4]);

/// A place that is held.
pub(crate) type Place = OwnedSemaphorePermit;

impl Places {
    pub fn new(limits: &LimitsConfig) -> Self {
        let open = || {
            let count = limits.concurrent_open_calls;
            Room::new(count, count, count, limits.max_message_bytes)
        };
        let known = || {
            Room::new(
                limits.concurrent_calls,
                limits.concurrent_streams,
                limits.concurrent_waits,
                limits.body_bytes.max(limits.max_message_bytes),
            )
        };
        Self([open(), open(), known(), known()])
    }

    fn room(&self, class: Class) -> &Room {
        &self.0[class as usize]
    }

    /// A place for a call whose request is there.
    pub fn take(&self, class: Class, kind: Kind) -> Option<Place> {
        let room = self.room(class);
        let places = match kind {
            Kind::Call => &room.calls,
            Kind::Stream => &room.streams,
            Kind::Wait => &room.waits,
        };
        places.clone().try_acquire_owned().ok()
    }

    /// A place for a call whose request is on its way.
    pub fn arrive(&self, class: Class) -> Option<Place> {
        self.room(class).arriving.clone().try_acquire_owned().ok()
    }

    /// Memory for so many bytes of a body, rounded up.
    pub fn memory(&self, class: Class, bytes: usize) -> Option<Place> {
        let units = u32::try_from(bytes.div_ceil(UNIT)).ok()?;
        self.room(class).bytes.clone().try_acquire_many_owned(units).ok()
    }
}
