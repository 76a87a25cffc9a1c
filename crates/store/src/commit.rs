//! The committer: the one thread that writes. Owns the order of commits, their grouping, and the rule that no commit is
//! acknowledged before its group is on the disk. It must never retry a closure, and never continue after a failed
//! write: from then on nothing can be read either.

mod wait;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use tokio::sync::{oneshot, watch};

use self::wait::Wait;
use crate::backend::{Backend, Batch, guarded, panic_message};
use crate::dir::{Directory, Manifest, Space, Summary};
use crate::error::{Result, StoreError};
use crate::key::Key;
use crate::layout::REVISION_KEY;
use crate::observe::{Census, Counted, Flush, Observer};
use crate::read::walk_rows;
use crate::scope::Scope;
use crate::sentinel::Sentinel;
use crate::table::Table;
use crate::tally::Tally;
use crate::tx::{Classes, MAX_TX_BYTES, Tx};

/// The longest time until the disk has a commit that was acknowledged before (see `Store::commit_soon`).
pub const SOON: Duration = Duration::from_millis(20);
/// The least time between two flushes that only commits of `Store::commit_together` ask for.
pub const TOGETHER: Duration = Duration::from_millis(30);
/// How often the free space of a full disk is checked again.
const LOOK_FOR_SPACE_EVERY: Duration = Duration::from_secs(1);

/// What the committer shares with readers.
pub(crate) struct Shared {
    /// Readers share the lock; the committer takes it exclusively to apply a batch, so that a read sees whole commits
    /// only.
    pub state: RwLock<State>,
}

pub(crate) enum State {
    Open {
        backend: Arc<dyn Backend>,
        /// The revision that reads see; the disk may not have it yet.
        applied: u64,
    },
    /// A write failed: the backend may hold half of a commit, or one that never reaches the disk.
    Stopped(Arc<StoreError>),
    Closed,
}

impl State {
    /// Why nothing can be read or promised any more; `None` while the store is open.
    pub fn end(&self) -> Option<StoreError> {
        match self {
            Self::Open { .. } => None,
            Self::Stopped(cause) => Some(StoreError::Stopped { cause: Arc::clone(cause) }),
            Self::Closed => Some(StoreError::Closed),
        }
    }
}

/// Answers one caller, once it is known whether its group reached the disk.
pub(crate) type Answer = Box<dyn FnOnce(Result<()>) + Send>;
pub(crate) type Work = Box<dyn FnOnce(&mut Committer) -> Answer + Send>;

pub(crate) type Errand = Box<dyn FnOnce(&mut Committer) + Send>;

/// How soon a commit must be flushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Haste {
    /// At once: the group is flushed as soon as everything in the queue is applied.
    Now,
    /// At latest [`TOGETHER`] after the previous flush.
    Together,
}

pub(crate) enum Message {
    /// Acknowledged when the disk has it.
    Commit(Work, Haste),
    /// Acknowledged by the errand itself, before the disk has it.
    Soon(Errand),
    Close(oneshot::Sender<Result<()>>),
}

pub(crate) struct Committer {
    shared: Arc<Shared>,
    backend: Arc<dyn Backend>,
    /// `None` for a store in memory.
    home: Option<Home>,
    /// The revision that the disk has. Owned here, so that its watchers learn when the committer ends; `None` once a
    /// write failed, because the revision never grows again.
    durable: Option<watch::Sender<u64>>,
    applied: u64,
    failed: Option<Arc<StoreError>>,
    /// Whether the disk is full: then commits are refused, and reads go on.
    full: watch::Sender<bool>,
    /// Bytes of the commit that was refused last; the disk counts as full until it has room for them.
    refused: u64,
    /// Who is told of flushes, and the commits and bytes applied since the last one.
    observer: Option<Arc<dyn Observer>>,
    since: (u64, u64),
    /// When the last flush ended.
    flushed: Option<Instant>,
    /// By table, the records by class, for the tables that somebody counts.
    counted: BTreeMap<&'static str, Counted>,
}

/// The store's directory, and what is written into it besides the database.
pub(crate) struct Home {
    pub directory: Directory,
    pub sentinel: Sentinel,
    /// What the database holds, with everything that was applied.
    pub summary: Summary,
    pub manifest: Manifest,
    pub space: Space,
    pub export_every: Duration,
    pub exports_kept: usize,
    pub exported: u64,
}

impl Committer {
    pub fn new(
        shared: Arc<Shared>,
        backend: Arc<dyn Backend>,
        home: Option<Home>,
        durable: watch::Sender<u64>,
        full: watch::Sender<bool>,
        observer: Option<Arc<dyn Observer>>,
    ) -> Self {
        let applied = *durable.borrow();
        let (since, counted) = ((0, 0), BTreeMap::new());
        Self {
            shared,
            backend,
            home,
            durable: Some(durable),
            applied,
            failed: None,
            full,
            refused: 0,
            observer,
            since,
            flushed: None,
            counted,
        }
    }

    /// Runs until the store is closed or its last handle is dropped.
    pub fn run(mut self, inbox: &Receiver<Message>, group: usize) {
        let mut last_export = Instant::now();
        // So that a start on a full disk is reported at once; no commit waits for the result.
        self.room(0).ok();
        loop {
            self.look_for_space();
            let due = self.home.as_ref().map(|home| home.export_every.saturating_sub(last_export.elapsed()));
            let first = match due {
                _ if *self.full.borrow() => inbox.recv_timeout(LOOK_FOR_SPACE_EVERY),
                // Nothing new to export: wait for work without a limit.
                Some(due) if self.export_is_due() => inbox.recv_timeout(due),
                _ => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            let close = match first {
                Ok(message) => self.run_group(message, inbox, group),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => {
                    if let Err(error) = self.close() {
                        tracing::error!(%error, "the store was not closed cleanly");
                    }
                    return;
                }
            };
            if let Some(reply) = close {
                // The receiver may be gone; the store is closed all the same.
                reply.send(self.close()).ok();
                return;
            }
            let interval = self.home.as_ref().map(|home| home.export_every);
            if self.export_is_due() && interval.is_some_and(|every| last_export.elapsed() >= every) {
                last_export = Instant::now();
                if let Err(error) = self.export()
                    && self.failed.is_none()
                {
                    tracing::error!(%error, "export failed; the next one is tried after the usual interval");
                }
            }
        }
    }

    /// Handles one group: applies everything in the queue, at most `limit` messages, flushes once, then answers.
    fn run_group(
        &mut self,
        first: Message,
        inbox: &Receiver<Message>,
        limit: usize,
    ) -> Option<oneshot::Sender<Result<()>>> {
        let before = self.durable.as_ref().map(|durable| *durable.borrow());
        let mut answers: Vec<Answer> = Vec::new();
        let mut close = None;
        let mut next = Some(first);
        let (mut taken, mut until) = (0, Wait::default());
        while let Some(message) = next {
            taken += 1;
            match message {
                Message::Commit(work, haste) => {
                    answers.push(work(self));
                    until.at_latest(match haste {
                        Haste::Now => None,
                        Haste::Together => self.flushed.map(|flushed| flushed + TOGETHER),
                    });
                }
                Message::Soon(errand) => {
                    errand(self);
                    until.at_latest(Some(Instant::now() + SOON));
                }
                Message::Close(reply) => close = Some(reply),
            }
            next = match until.left() {
                // A message behind a close is never taken: its caller sees the channel close.
                _ if close.is_some() || taken >= limit => None,
                // All commits so far may wait: what arrives until then shares the flush.
                Some(left) => inbox.recv_timeout(left).ok(),
                None => inbox.try_recv().ok(),
            };
        }
        // Refusals wait for the flush too: a closure may have refused because of an earlier commit of this group.
        if self.failed.is_none() && before.is_some_and(|before| self.applied > before) {
            let began = Instant::now();
            match guarded(|| self.backend.flush()).and_then(|()| self.note()) {
                Ok(()) => {
                    self.flushed = Some(Instant::now());
                    let (commits, bytes) = std::mem::take(&mut self.since);
                    if let Some(observer) = &self.observer {
                        observer.flushed(&Flush { commits, bytes, took: began.elapsed() });
                    }
                    if let Some(durable) = &self.durable {
                        durable.send_replace(self.applied);
                    }
                }
                Err(error) => self.fail(error),
            }
        }
        let outcome = self.healthy();
        for answer in answers {
            answer(outcome.clone());
        }
        close
    }

    /// Runs one closure and applies what it wrote.
    pub fn transact<T, E, F>(&mut self, closure: F) -> Result<T, E>
    where
        F: FnOnce(&mut Tx<'_>) -> Result<T, E>,
        E: From<StoreError>,
    {
        self.healthy()?;
        let backend = Arc::clone(&self.backend);
        let mut tx = Tx::new(&*backend, self.applied + 1, MAX_TX_BYTES);
        // The writes of a closure that panics are dropped with its transaction, so nothing half-done can be seen.
        let outcome = catch_unwind(AssertUnwindSafe(|| closure(&mut tx)));
        let value = outcome.map_err(|panic| StoreError::ClosurePanicked { message: panic_message(&*panic) })??;
        let bytes = tx.bytes() as u64;
        let (writes, classes) = tx.into_writes();
        if !writes.is_empty() {
            self.room(bytes)?;
            self.apply(writes)?;
            self.since = (self.since.0 + 1, self.since.1 + bytes);
            self.follow(&classes);
        }
        Ok(value)
    }

    fn apply(&mut self, mut writes: Batch) -> Result<()> {
        let revision = self.applied + 1;
        if let Some(home) = &mut self.home
            && let Some(tally) = &mut home.summary.tally
        {
            // An old value cannot be read: then nothing else that is read can be relied upon either.
            let followed = guarded(|| tally.follow(&*self.backend, &writes));
            home.summary.revision = revision;
            if let Err(error) = followed {
                self.fail(error.clone());
                return Err(error);
            }
        }
        writes.insert(REVISION_KEY.to_vec(), Some(revision.to_be_bytes().to_vec()));
        let shared = Arc::clone(&self.shared);
        let mut state = shared.state.write();
        if let Err(error) = guarded(|| self.backend.apply(writes)) {
            // How much of the batch sled took is unknown. Readers are stopped before the lock is released, ahead of
            // `fail`.
            *state = State::Stopped(Arc::new(error.clone()));
            drop(state);
            self.fail(error.clone());
            return Err(error);
        }
        self.applied = revision;
        if let State::Open { applied, .. } = &mut *state {
            *applied = revision;
        }
        Ok(())
    }

    /// Applies the changes of a commit to the counts by class.
    fn follow(&self, classes: &Classes) {
        for ((table, class), by) in classes.iter().filter(|(_, by)| **by != 0) {
            if let Some(counted) = self.counted.get(table) {
                counted.change(*class, *by);
            }
        }
    }

    /// Counts a table's records by class now, and keeps the counts up to date from now on.
    pub fn count<K: Key, R: prost::Message + Default>(&mut self, table: &Table<K, R>) -> Result<Counted> {
        self.healthy()?;
        let class = table.class.unwrap_or(|_| 0);
        let mut census = Census::new();
        guarded(|| {
            walk_rows(&*self.backend, table, &Scope::all(), None, &mut |_, record, _| {
                *census.entry(class(&record)).or_default() += 1;
                Ok(ControlFlow::Continue(()))
            })
        })?;
        let counted = self.counted.entry(table.name).or_default();
        counted.set(census);
        Ok(counted.clone())
    }

    /// Writes to the manifest what the disk has since the last flush.
    fn note(&mut self) -> Result<()> {
        match &mut self.home {
            Some(home) => home.manifest.write(&home.summary),
            None => Ok(()),
        }
    }

    /// Refuses a commit that the disk has no room for, and reports a full disk to its watchers.
    fn room(&mut self, bytes: u64) -> Result<()> {
        let Some(home) = &self.home else { return Ok(()) };
        let room = home.space.room(bytes);
        match &room {
            Ok(()) => self.has_room(),
            Err(error) => {
                self.refused = bytes;
                if !self.full.send_replace(true) {
                    tracing::error!(%error, "the disk is full; commits are refused until there is space");
                }
            }
        }
        room
    }

    /// Checks whether a disk that was full has room again.
    fn look_for_space(&self) {
        if *self.full.borrow() && self.home.as_ref().is_some_and(|home| home.space.room(self.refused).is_ok()) {
            self.has_room();
        }
    }

    fn has_room(&self) {
        if let Some(home) = &self.home
            && self.full.send_replace(false)
        {
            home.space.reserve(home.summary.tally.as_ref().map_or(0, Tally::bytes));
            tracing::info!("the disk has space again; commits are accepted");
        }
    }

    /// Ends the store: no commit and no read succeeds any more, and whoever waits for the disk gets the error.
    fn fail(&mut self, error: StoreError) {
        tracing::error!(%error, "store closed after a failed write; the process will exit");
        if let Some(home) = &self.home
            && let Err(error) = home.directory.suspect()
        {
            tracing::error!(%error, "cannot mark the database to be rebuilt at the next start");
        }
        let cause = Arc::new(error);
        *self.shared.state.write() = State::Stopped(Arc::clone(&cause));
        self.failed = Some(cause);
        self.durable = None;
    }

    fn healthy(&self) -> Result<()> {
        match &self.failed {
            None => Ok(()),
            Some(cause) => Err(StoreError::Stopped { cause: Arc::clone(cause) }),
        }
    }

    fn export_is_due(&self) -> bool {
        self.failed.is_none() && self.home.as_ref().is_some_and(|home| home.exported < self.applied)
    }

    fn export(&mut self) -> Result<()> {
        let Some(home) = &mut self.home else { return Ok(()) };
        // An export must not take the space that commits need.
        home.space.room(home.summary.tally.as_ref().map_or(0, Tally::bytes))?;
        let written = guarded(|| {
            home.directory.export(&*self.backend, &home.sentinel, &home.summary, home.exports_kept)?;
            home.manifest.sync()
        });
        match written {
            // Not the export is at fault but the database: what it holds cannot be relied upon.
            Err(error @ StoreError::Corrupt { .. }) => {
                self.fail(error.clone());
                return Err(error);
            }
            other => other?,
        }
        home.exported = self.applied;
        Ok(())
    }

    /// Closes cleanly: writes a last export, then drops the database and the lock.
    fn close(mut self) -> Result<()> {
        let exported = match if self.export_is_due() { self.export() } else { Ok(()) } {
            // Everything is durable without this export.
            Err(error @ StoreError::DiskFull { .. }) => {
                tracing::warn!(%error, "disk full; store closed without a last export");
                Ok(())
            }
            other => other,
        };
        exported.and_then(|()| self.healthy())
    }
}

impl Drop for Committer {
    /// However the committer ends, reads end too: without it, nothing that is read can become durable.
    fn drop(&mut self) {
        let mut state = self.shared.state.write();
        if matches!(*state, State::Open { .. }) {
            *state = State::Closed;
        }
    }
}
