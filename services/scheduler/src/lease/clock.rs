//! Lease expiry, worker liveness, progress and speed, in memory only. Losing them costs nothing but time: after a
//! restart every lease gets one full term.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use mms_server::pace::Shares;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::key::{JobKey, TaskKey};
use crate::record::{Epoch, Limits, Rate};

/// How far a worker says it has come with a leased task.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Rows read.
    pub rows: i64,
    /// Bytes of source files read.
    pub bytes: i64,
}

struct Held {
    epoch: Epoch,
    expires: Instant,
    progress: Progress,
}

/// Time over which a job's speed is measured.
const SPEED_WINDOW: Duration = Duration::from_secs(60);
/// Most samples kept of one job.
const SAMPLES_MAX: usize = 240;

#[derive(Default)]
struct Inner {
    held: HashMap<TaskKey, Held>,
    seen: HashMap<String, i64>,
    speed: HashMap<JobKey, VecDeque<(Instant, i64)>>,
    expired: u64,
    /// Who has which share of a rate limit. After a restart all shares are given out anew.
    shares: HashMap<Flow, Shares<TaskKey>>,
}

/// What a rate limit bounds: bytes or rows read by the tasks of a data source or of a job.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Flow {
    data_source: String,
    /// None: by all jobs of the data source.
    job: Option<String>,
    rows: bool,
}

impl Inner {
    /// Takes all shares of a task back.
    fn forget_shares(&mut self, key: &TaskKey) {
        self.shares.retain(|_, shares| {
            shares.forget(key);
            !shares.is_empty()
        });
    }

    /// Returns a task's share of a rate limit, per second; 0 if there is no limit.
    fn share(&mut self, key: &TaskKey, of_job: bool, rows: bool, bound: u64) -> u64 {
        let job = of_job.then(|| key.job.job.clone());
        let flow = Flow { data_source: key.job.data_source.clone(), job, rows };
        if bound == 0 {
            self.shares.remove(&flow);
            return 0;
        }
        let is_one = |other: &&TaskKey| match of_job {
            true => other.job == key.job,
            false => other.job.data_source == key.job.data_source,
        };
        let holders = self.held.keys().filter(is_one).count();
        self.shares.entry(flow).or_default().of(key, bound, holders)
    }
}

/// The clock of all leases of this process.
pub struct Leases {
    term: Duration,
    inner: Mutex<Inner>,
}

impl Leases {
    /// A clock whose leases last `term` without a heartbeat.
    pub fn new(term: Duration) -> Self {
        Self { term, inner: Mutex::default() }
    }

    /// How long a lease lasts without a heartbeat.
    pub fn term(&self) -> Duration {
        self.term
    }

    /// Starts the term of a lease that was granted, or that was found in the store.
    pub fn begin(&self, key: TaskKey, epoch: Epoch, now: Instant) {
        let held = Held { epoch, expires: now + self.term, progress: Progress::default() };
        self.inner.lock().held.insert(key, held);
    }

    /// Starts the term of a lease that is in the store but not on this clock, so that it expires like any other: the
    /// worker that asked for it may have disconnected before the answer.
    pub fn adopt(&self, key: TaskKey, epoch: Epoch, now: Instant) {
        let known = self.inner.lock().held.get(&key).is_some_and(|held| held.epoch == epoch);
        if !known {
            self.begin(key, epoch, now);
        }
    }

    /// Whether a lease of this task is on the clock.
    pub fn knows(&self, key: &TaskKey) -> bool {
        self.inner.lock().held.contains_key(key)
    }

    /// Renews a lease for one term and notes its progress. Ignored for another epoch.
    pub fn beat(&self, key: &TaskKey, epoch: Epoch, progress: Progress, now: Instant) {
        if let Some(held) = self.inner.lock().held.get_mut(key)
            && held.epoch == epoch
        {
            held.expires = now + self.term;
            held.progress = progress;
        }
    }

    /// Takes an ended lease off the clock. Ignored for another epoch.
    pub fn end(&self, key: &TaskKey, epoch: Epoch) {
        let inner = &mut *self.inner.lock();
        if inner.held.get(key).is_some_and(|h| h.epoch == epoch) {
            inner.held.remove(key);
            inner.forget_shares(key);
        }
    }

    /// Returns how fast a leased task may read from now on: the lesser of its shares of its data source's and its job's
    /// rate limits.
    pub fn share(&self, key: &TaskKey, limits: &Limits) -> Rate {
        let inner = &mut *self.inner.lock();
        let (of_source, of_job) = (limits.source_rate.unwrap_or_default(), limits.rate.unwrap_or_default());
        let mut least = |rows: bool, source: u64, job: u64| {
            let shares = [inner.share(key, false, rows, source), inner.share(key, true, rows, job)];
            shares.into_iter().filter(|share| *share > 0).min().unwrap_or(0)
        };
        Rate { bytes: least(false, of_source.bytes, of_job.bytes), rows: least(true, of_source.rows, of_job.rows) }
    }

    /// Returns the leases whose term is over.
    pub fn due(&self, now: Instant) -> Vec<(TaskKey, Epoch)> {
        let inner = self.inner.lock();
        inner.held.iter().filter(|(_, h)| h.expires <= now).map(|(key, h)| (key.clone(), h.epoch)).collect()
    }

    /// Counts an expired lease.
    pub fn ran_out(&self) {
        self.inner.lock().expired += 1;
    }

    /// Leases that have expired since this process started.
    pub fn expired(&self) -> u64 {
        self.inner.lock().expired
    }

    /// Leases on the clock.
    pub fn held(&self) -> u64 {
        self.inner.lock().held.len() as u64
    }

    /// The progress of a task that its holder reported last; zero if it is not leased.
    pub fn progress(&self, key: &TaskKey) -> Progress {
        self.inner.lock().held.get(key).map(|held| held.progress).unwrap_or_default()
    }

    /// The progress of a job's leased tasks whose numbers `takes` accepts, summed.
    pub fn sum(&self, job: &JobKey, takes: impl Fn(u32) -> bool) -> Progress {
        let inner = self.inner.lock();
        let own = inner.held.iter().filter(|(key, _)| key.job == *job && takes(key.number));
        own.fold(Progress::default(), |sum, (_, held)| Progress {
            rows: sum.rows + held.progress.rows,
            bytes: sum.bytes + held.progress.bytes,
        })
    }

    /// Notes when a worker was heard of, in Unix milliseconds.
    pub fn saw(&self, worker: &str, now_ms: i64) {
        self.inner.lock().seen.insert(worker.to_owned(), now_ms);
    }

    /// When a worker was last heard of, in Unix milliseconds; None if this process has not heard of it.
    pub fn seen(&self, worker: &str) -> Option<i64> {
        self.inner.lock().seen.get(worker).copied()
    }

    /// Forgets when a worker was last heard of.
    pub fn unsee(&self, worker: &str) {
        self.inner.lock().seen.remove(worker);
    }

    /// Returns a job's speed over the last minute in bytes per second, given how many bytes are done now.
    pub fn speed(&self, job: &JobKey, bytes_done: i64, now: Instant) -> i64 {
        let inner = &mut *self.inner.lock();
        let samples = inner.speed.entry(job.clone()).or_default();
        while samples.front().is_some_and(|(at, _)| now.duration_since(*at) > SPEED_WINDOW)
            || samples.len() >= SAMPLES_MAX
        {
            samples.pop_front();
        }
        samples.push_back((now, bytes_done));
        let Some((first, bytes)) = samples.front() else { return 0 };
        let seconds = now.duration_since(*first).as_secs_f64();
        #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)] // a figure for people
        if seconds > 0.5 { ((bytes_done - bytes).max(0) as f64 / seconds) as i64 } else { 0 }
    }

    /// Forgets the speed of a job that ended.
    pub fn forget(&self, job: &JobKey) {
        self.inner.lock().speed.remove(job);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task() -> TaskKey {
        TaskKey { job: JobKey { data_source: "s".to_owned(), job: "j".to_owned() }, number: 1 }
    }

    #[test]
    fn a_lease_that_nobody_was_told_of_runs_out_too() {
        let leases = Leases::new(Duration::from_secs(10));
        let (start, key) = (Instant::now(), task());
        let epoch = Epoch { incarnation: 1, counter: 1 };
        leases.adopt(key.clone(), epoch, start);
        leases.adopt(key.clone(), epoch, start + Duration::from_secs(9));
        assert_eq!(leases.due(start + Duration::from_secs(10)), vec![(key, epoch)]);
    }

    #[test]
    fn tasks_share_what_their_source_and_job_allow() {
        let leases = Leases::new(Duration::from_secs(10));
        let (now, epoch) = (Instant::now(), Epoch { incarnation: 1, counter: 1 });
        let key =
            |job: &str, number| TaskKey { job: JobKey { data_source: "s".to_owned(), job: job.to_owned() }, number };
        let limits = |own: u64| Limits {
            source_rate: Some(Rate { bytes: 900, rows: 0 }),
            rate: Some(Rate { bytes: own, rows: 10 }),
            ..Limits::default()
        };
        leases.begin(key("j", 1), epoch, now);
        assert_eq!(leases.share(&key("j", 1), &limits(0)), Rate { bytes: 900, rows: 10 });
        leases.begin(key("k", 1), epoch, now);
        assert_eq!(leases.share(&key("k", 1), &limits(0)).bytes, 1, "the other has all, until it was told");
        assert_eq!(leases.share(&key("j", 1), &limits(0)).bytes, 450);
        assert_eq!(leases.share(&key("k", 1), &limits(0)), Rate { bytes: 450, rows: 10 });
        assert_eq!(leases.share(&key("k", 1), &limits(100)).bytes, 100, "its job's own bound is less");
        leases.end(&key("k", 1), epoch);
        assert_eq!(leases.share(&key("j", 1), &limits(0)).bytes, 900);
        assert_eq!(leases.share(&key("j", 1), &Limits::default()), Rate::default(), "no bound");
    }

    #[test]
    fn a_heartbeat_of_an_old_epoch_prolongs_nothing() {
        let leases = Leases::new(Duration::from_secs(10));
        let (start, key) = (Instant::now(), task());
        let (old, new) = (Epoch { incarnation: 1, counter: 1 }, Epoch { incarnation: 1, counter: 2 });
        leases.begin(key.clone(), new, start);
        leases.beat(&key, old, Progress::default(), start + Duration::from_secs(9));
        assert_eq!(leases.due(start + Duration::from_secs(10)), vec![(key.clone(), new)]);
        leases.end(&key, old);
        assert_eq!(leases.due(start + Duration::from_secs(10)).len(), 1);
        leases.beat(&key, new, Progress { rows: 5, bytes: 7 }, start + Duration::from_secs(9));
        assert!(leases.due(start + Duration::from_secs(10)).is_empty());
        assert_eq!(leases.progress(&key).rows, 5);
    }
}
