//! Places: how many calls of each class are handled at once. Each class has its own, so that none can take what another
//! needs: people cannot block heartbeats, and callers without a token cannot block those who have one. Counts the calls
//! that find no place.

use std::sync::Arc;

use mms_proto::Role;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::LimitsConfig;
use crate::metrics::{Counter, Label, Metric, Metrics};
use crate::rights::{Caller, Open};

/// Memory for request bodies is counted in units of this many bytes.
const UNIT: usize = 1 << 10;

/// The kind of caller, which decides whose places a call takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    Health,
    Reflection,
    Service,
    People,
}

impl Class {
    const ALL: [(Self, &'static str); 4] = [
        (Self::Health, "health"),
        (Self::Reflection, "reflection"),
        (Self::Service, "service"),
        (Self::People, "people"),
    ];

    pub fn of(path: &str, caller: Option<&Caller>) -> Self {
        match (Open::of(path), caller) {
            (Some(Open::Health), _) => Self::Health,
            (Some(Open::Reflection), _) => Self::Reflection,
            (None, Some(Caller { role: Role::Service, .. })) => Self::Service,
            (None, _) => Self::People,
        }
    }
}

/// The kind of place that a call takes.
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
    /// Calls whose request is still arriving.
    arriving: Arc<Semaphore>,
    /// Memory for request bodies, in units.
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
pub(crate) struct Places {
    rooms: [Room; 4],
    refused: [Refused; 4],
}

/// Counts the calls of one class that found no place, by kind.
#[derive(Debug)]
struct Refused {
    calls: Counter,
    streams: Counter,
    waits: Counter,
    arriving: Counter,
    memory: Counter,
}

impl Refused {
    fn of(metrics: &Metrics, class: &'static str) -> Self {
        let counter = |place| metrics.counter(Metric::RpcRefused, &[(Label::Class, class), (Label::Place, place)]);
        Self {
            calls: counter("call"),
            streams: counter("stream"),
            waits: counter("wait"),
            arriving: counter("arrival"),
            memory: counter("memory"),
        }
    }
}

/// A place; it is given back when it is dropped.
pub(crate) type Place = OwnedSemaphorePermit;

impl Places {
    pub fn new(limits: &LimitsConfig, metrics: &Metrics) -> Self {
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
        let refused = Class::ALL.map(|(_, name)| Refused::of(metrics, name));
        Self { rooms: [open(), open(), known(), known()], refused }
    }

    fn take_of(places: &Arc<Semaphore>, count: u32, refused: &Counter) -> Option<Place> {
        let place = places.clone().try_acquire_many_owned(count).ok();
        if place.is_none() {
            refused.add(1);
        }
        place
    }

    /// A place for a call whose request has arrived; `None` if all are taken.
    pub fn take(&self, class: Class, kind: Kind) -> Option<Place> {
        let (room, refused) = (&self.rooms[class as usize], &self.refused[class as usize]);
        match kind {
            Kind::Call => Self::take_of(&room.calls, 1, &refused.calls),
            Kind::Stream => Self::take_of(&room.streams, 1, &refused.streams),
            Kind::Wait => Self::take_of(&room.waits, 1, &refused.waits),
        }
    }

    /// A place for a call whose request is arriving; `None` if all are taken.
    pub fn arrive(&self, class: Class) -> Option<Place> {
        Self::take_of(&self.rooms[class as usize].arriving, 1, &self.refused[class as usize].arriving)
    }

    /// Memory for so many bytes of a request, rounded up to units; `None` if there is not enough.
    pub fn memory(&self, class: Class, bytes: usize) -> Option<Place> {
        let units = u32::try_from(bytes.div_ceil(UNIT)).ok()?;
        Self::take_of(&self.rooms[class as usize].bytes, units, &self.refused[class as usize].memory)
    }
}
