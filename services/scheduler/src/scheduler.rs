//! What every part of this service shares: the store, the leases' clock, the other services, time and chance. Decides
//! nothing, and knows no part that uses it.

use std::sync::Arc;

use mms_proto::Role;
use mms_server::{Caller, Turn, Turns};
use mms_store::Store;
use tokio_util::sync::CancellationToken;

use crate::key::JobKey;
use crate::lease::clock::Leases;
use crate::moment::Moment;
use crate::peers::Peers;
use crate::plan::waits::Waits;

/// The shared parts; cheap to clone.
#[derive(Clone)]
pub struct Scheduler {
    /// This service's tables.
    pub store: Store,
    /// When leases run out.
    pub leases: Arc<Leases>,
    /// The other services.
    pub peers: Peers,
    /// What planning waits for.
    pub waits: Arc<Waits>,
    turns: Turns<JobKey>,
    now_ms: fn() -> i64,
    random: fn() -> f64,
    roles: Arc<Roles>,
}

/// What a subject may do today.
type Roles = dyn Fn(&str) -> Role + Send + Sync;

impl Scheduler {
    /// Parts that read time and chance from these functions.
    pub fn new(store: Store, leases: Leases, peers: Peers, now_ms: fn() -> i64, random: fn() -> f64) -> Self {
        let (leases, waits, turns) = (Arc::new(leases), Arc::default(), Turns::new(1));
        Self { store, leases, peers, waits, turns, now_ms, random, roles: Arc::new(|_| Role::Unspecified) }
    }

    /// The same, with what subjects may do today; before, nobody may do anything.
    #[must_use]
    pub fn with_roles(self, roles: impl Fn(&str) -> Role + Send + Sync + 'static) -> Self {
        Self { roles: Arc::new(roles), ..self }
    }

    /// A subject as a caller who calls now.
    pub fn caller(&self, subject: &str) -> Caller {
        Caller { subject: subject.to_owned(), role: (self.roles)(subject) }
    }

    /// What a commit needs from outside.
    pub fn moment(&self) -> Moment {
        Moment { now_ms: (self.now_ms)(), spread: (self.random)(), incarnation: self.store.incarnation() }
    }

    /// The turn to change a job as a whole: whoever carries a change through waits here for the one before.
    pub async fn turn(&self, job: &JobKey) -> Turn {
        self.turns.of(job).await
    }

    /// Does something now and after changes of the store, until the token is cancelled. What fails is logged as `what`, and
    /// tried again with the next change.
    pub async fn after_changes<E: std::fmt::Display, F: Future<Output = Result<(), E>>>(
        &self,
        stop: CancellationToken,
        what: &str,
        work: impl Fn() -> F,
    ) {
        let mut changes = self.store.subscribe();
        loop {
            changes.mark_unchanged();
            if let Err(error) = work().await {
                tracing::warn!(%error, "{what} is tried again");
            }
            tokio::select! {
                () = stop.cancelled() => return,
                changed = changes.changed() => if changed.is_err() { return },
            }
        }
    }

    /// A random number in 0.0..1.0.
    pub fn random(&self) -> f64 {
        (self.random)()
    }
}
