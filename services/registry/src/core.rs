//! What every part of this service shares: the store, the keys, leases, and the time.

use std::sync::Arc;

use mms_http::Traffic;
use mms_server::{Turn, Turns};
use mms_store::Store;

use crate::config::Config;
use crate::lease::Leases;
use crate::reference::Guard;
use crate::vault::KeyRing;
use crate::vended::Vended;

/// The shared parts; cheap to clone.
#[derive(Clone)]
pub struct Core {
    /// This service's tables.
    pub store: Store,
    /// The key-encryption keys.
    pub vault: Arc<KeyRing>,
    /// Sessions and uses.
    pub leases: Arc<Leases>,
    /// Where references of secrets may lead.
    pub guard: Arc<Guard>,
    /// Whether a data source may read files of this machine.
    pub allow_local_files: bool,
    /// What is never called, whatever a network connection allows.
    pub denied_hosts: Arc<[String]>,
    /// What checks send to far ends.
    pub traffic: Traffic,
    /// What was vended a moment ago.
    pub vended: Vended,
    gates: Turns<String>,
    now_ms: fn() -> i64,
}

impl Core {
    /// Parts that read the time from this function.
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

    /// Wall time in ms.
    pub fn now_ms(&self) -> i64 {
        (self.now_ms)()
    }

    /// Waits until nobody else starts or stops this data source.
    pub async fn gate(&self, id: &str) -> Turn {
        self.gates.of(&id.to_owned()).await
    }

    /// Forgets the leases of a data source that is gone for good.
    pub fn forget(&self, id: &str) {
        self.leases.forget(id);
        self.vended.forget(id);
    }
}
