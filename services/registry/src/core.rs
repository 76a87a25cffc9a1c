//! Owns what all parts of this service share: the store, the keys, leases, and the clock.

use std::sync::Arc;

use mms_http::Traffic;
use mms_server::{Turn, Turns};
use mms_store::Store;

use crate::config::Config;
use crate::lease::Leases;
use crate::reference::Guard;
use crate::vault::KeyRing;
use crate::vended::Vended;

/// The shared parts. Cheap to clone.
#[derive(Clone)]
pub struct Core {
    /// This service's durable tables.
    pub store: Store,
    /// The key-encryption keys.
    pub vault: Arc<KeyRing>,
    /// Sessions and uses.
    pub leases: Arc<Leases>,
    /// The limits for references of secrets.
    pub guard: Arc<Guard>,
    /// Whether a data source may read local files.
    pub allow_local_files: bool,
    /// Hosts that must never be connected to, whatever a network connection allows.
    pub denied_hosts: Arc<[String]>,
    /// Counts the traffic of checks to sources and targets.
    pub traffic: Traffic,
    /// Credentials vended shortly before.
    pub vended: Vended,
    gates: Turns<String>,
    now_ms: fn() -> i64,
}

impl Core {
    /// `now_ms` gives the wall clock in milliseconds since 1970.
    pub fn new(store: Store, vault: KeyRing, guard: Guard, config: &Config, now_ms: fn() -> i64) -> Self {
        Self {
            store,
            vault: Arc::new(vault),
            leases: Arc::new(Leases::new(config.session_term(), config.use_term(), config.max_sessions)),
            guard: Arc::new(guard),
            allow_local_files: config.allow_local_files,
            denied_hosts: config.denied_hosts.clone().into(),
            traffic: Traffic::default(),
            vended: Vended::default(),
            gates: Turns::new(1),
            now_ms,
        }
    }

    /// The wall clock, in milliseconds since 1970.
    pub fn now_ms(&self) -> i64 {
        (self.now_ms)()
    }

    /// Waits until no other call starts, stops or deletes this data source; the turn lasts until it is dropped.
    pub async fn gate(&self, id: &str) -> Turn {
        self.gates.of(&id.to_owned()).await
    }

    /// Drops what is held in memory of a data source that is deleted permanently.
    pub fn forget(&self, id: &str) {
        self.leases.forget(id);
        self.vended.forget(id);
    }
}
