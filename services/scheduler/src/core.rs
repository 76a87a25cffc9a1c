//! What every part of this service shares: the store, the leases' clock, the peers, time and chance.

use std::sync::Arc;

use mms_store::Store;

use crate::clock::Leases;
use crate::peers::Peers;
use crate::rollup::Moment;

/// The shared parts; cheap to clone.
#[derive(Clone)]
pub struct Core {
    /// This service's tables.
    pub store: Store,
    /// When leases run out.
    pub leases: Arc<Leases>,
    /// The other services.
    pub peers: Peers,
    now_ms: fn() -> i64,
    random: fn() -> f64,
}

impl Core {
    /// Parts that read time and chance from these functions.
    pub fn new(store: Store, leases: Leases, peers: Peers, now_ms: fn() -> i64, random: fn() -> f64) -> Self {
        Self { store, leases: Arc::new(leases), peers, now_ms, random }
    }

    /// What a commit needs from outside.
    pub fn moment(&self) -> Moment {
        Moment { now_ms: (self.now_ms)(), spread: (self.random)(), incarnation: self.store.incarnation() }
    }

    /// A random number in 0.0..1.0.
    pub fn random(&self) -> f64 {
        (self.random)()
    }
}
