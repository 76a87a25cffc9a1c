//! What every part of this service shares: the store, the leases' clock, the peers, time and chance.

use std::collections::HashMap;
use std::sync::Arc;

use mms_store::{Store, Tx};
use parking_lot::Mutex;

use crate::change::{self, Cursor, Step};
use crate::clock::Leases;
use crate::error::{Result, SchedulerError};
use crate::peers::Peers;
use crate::record::Job;
use crate::rollup::Moment;
use crate::store::JobKey;

/// What is to be written with the last piece of a change.
pub trait Remember: Fn(&mut Tx<'_>, &Moment) -> Result<()> + Clone + Send + 'static {}

impl<F: Fn(&mut Tx<'_>, &Moment) -> Result<()> + Clone + Send + 'static> Remember for F {}

/// How a change ended.
pub enum Outcome {
    /// As it was to. None: the job is gone.
    Done(Option<Box<Job>>),
    /// Nothing was under way any more.
    Idle(Box<Job>),
}

/// The shared parts; cheap to clone.
#[derive(Clone)]
pub struct Core {
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

impl Core {
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

    /// Carries through what is under way with a job. The answer to a change that somebody else ended is the job alone.
    pub async fn carry(&self, job: &JobKey, done: impl Remember) -> Result<Outcome> {
        let mut cursor = Cursor::default();
        loop {
            let (key, at, from, done) = (job.clone(), self.moment(), cursor, done.clone());
            let piece = move |tx: &mut Tx<'_>| {
                let step = change::step(tx, &at, &key, from)?;
                if matches!(step, Step::Done(_)) {
                    done(tx, &at)?;
                }
                Ok::<_, SchedulerError>(step)
            };
            match self.store.commit(piece).await? {
                Step::More(next, ended) => {
                    ended.iter().for_each(|(task, epoch)| self.leases.end(task, *epoch));
                    cursor = next;
                }
                Step::Done(job) => return Ok(Outcome::Done(job)),
                Step::Idle(job) => return Ok(Outcome::Idle(job)),
                Step::Refused(error) => return Err(error),
            }
        }
    }

    /// A random number in 0.0..1.0.
    pub fn random(&self) -> f64 {
        (self.random)()
    }
}
