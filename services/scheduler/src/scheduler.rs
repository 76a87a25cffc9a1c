//! What every part of this service shares: the store, the leases' clock, the other services, time and chance. Decides
//! nothing, and knows no part that uses it.

use std::collections::HashMap;
use std::sync::Arc;

use mms_store::Store;
use parking_lot::Mutex;

use crate::key::JobKey;
use crate::lease::clock::Leases;
use crate::moment::Moment;
use crate::peers::Peers;

/// The shared parts; cheap to clone.
#[derive(Clone)]
pub struct Scheduler {
    /// This service's tables.
    pub store: Store,
    /// When leases run out.
    pub leases: Arc<Leases>,
    /// The other services.
    pub peers: Peers,
    turns: Arc<Mutex<HashMap<JobKey, Arc<tokio::sync::Mutex<()>>>>>,
    now_ms: fn() -> i64,
    random: fn() -> f64,
}

impl Scheduler {
    /// Parts that read time and chance from these functions.
    pub fn new(store: Store, leases: Leases, peers: Peers, now_ms: fn() -> i64, random: fn() -> f64) -> Self {
        Self { store, leases: Arc::new(leases), peers, turns: Arc::default(), now_ms, random }
    }

    /// What a commit needs from outside.
    pub fn moment(&self) -> Moment {
        Moment { now_ms: (self.now_ms)(), spread: (self.random)(), incarnation: self.store.incarnation() }
    }

    /// The turn to change a job as a whole: whoever carries a change through waits here for the one before.
    pub async fn turn(&self, job: &JobKey) -> tokio::sync::OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.turns.lock();
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            Arc::clone(turns.entry(job.clone()).or_default())
        };
        turn.lock_owned().await
    }

    /// A random number in 0.0..1.0.
    pub fn random(&self) -> f64 {
        (self.random)()
    }
}
