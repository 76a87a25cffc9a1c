//! What every part of this service shares: the store, the clock of leases, the other services, time and randomness.
//! Decides nothing, and knows no part that uses it.

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

/// The shared parts. Cheap to clone.
#[derive(Clone)]
pub struct Scheduler {
    pub store: Store,
    /// The clock of leases.
    pub leases: Arc<Leases>,
    /// The other services.
    pub peers: Peers,
    /// Why planning waits.
    pub waits: Arc<Waits>,
    turns: Turns<JobKey>,
    now_ms: fn() -> i64,
    random: fn() -> f64,
    roles: Arc<Roles>,
}

/// Returns the role of a subject at present.
type Roles = dyn Fn(&str) -> Role + Send + Sync;

impl Scheduler {
    /// Shared parts that take time and randomness from these functions. No subject has a role.
    pub fn new(store: Store, leases: Leases, peers: Peers, now_ms: fn() -> i64, random: fn() -> f64) -> Self {
        let (leases, waits, turns) = (Arc::new(leases), Arc::default(), Turns::new(1));
        Self { store, leases, peers, waits, turns, now_ms, random, roles: Arc::new(|_| Role::Unspecified) }
    }

    /// Sets the function that returns the present role of a subject.
    #[must_use]
    pub fn with_roles(self, roles: impl Fn(&str) -> Role + Send + Sync + 'static) -> Self {
        Self { roles: Arc::new(roles), ..self }
    }

    /// A caller with this subject and its present role.
    pub fn caller(&self, subject: &str) -> Caller {
        Caller { subject: subject.to_owned(), role: (self.roles)(subject) }
    }

    /// The outside inputs of a commit at this moment.
    pub fn moment(&self) -> Moment {
        Moment { now_ms: (self.now_ms)(), spread: (self.random)(), incarnation: self.store.incarnation() }
    }

    /// Waits for the turn to carry a change of a job through: one at a time for each job.
    pub async fn turn(&self, job: &JobKey) -> Turn {
        self.turns.of(job).await
    }

    /// Does work now and after each change of the store, until the token is cancelled. A failure is logged as `what`,
    /// and the work is retried after the next change.
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
                tracing::warn!(%error, "{what} failed; next attempt at the next change");
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
