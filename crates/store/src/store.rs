//! The handle of a store that services hold. Owns the queue into the committer, and reads of the applied state.

use std::path::Path;
use std::sync::{Arc, mpsc};

use parking_lot::RwLock;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use uuid::Uuid;

use crate::backend::{Backend, MemoryBackend, View};
use crate::commit::{Answer, Committer, Haste, Home, Message, Shared, State};
use crate::dir;
use crate::error::{Result, StoreError};
use crate::key::Key;
use crate::observe::Counted;
use crate::options::Options;
use crate::read::Read;
use crate::schema::Schema;
use crate::sentinel::{Incarnation, Sentinel, read_revision};
use crate::table::Table;
use crate::tx::Tx;

/// Number of a commit: each commit that writes anything gets the next number. It is durable, and within one incarnation
/// it never decreases.
pub type Revision = u64;

/// A service's durable state. Clones share it.
#[derive(Clone)]
pub struct Store {
    handle: Arc<Handle>,
}

struct Handle {
    shared: Arc<Shared>,
    inbox: mpsc::Sender<Message>,
    places: Arc<Semaphore>,
    most_places: usize,
    revisions: watch::Receiver<Revision>,
    full: watch::Receiver<bool>,
    incarnation: Incarnation,
}

/// A consistent view of the applied state.
pub struct Reader<'a> {
    backend: &'a dyn Backend,
    revision: Revision,
}

impl Read for Reader<'_> {
    fn view(&self) -> &dyn View {
        self.backend
    }
}

impl Reader<'_> {
    /// The revision of the state that this reader sees.
    pub fn revision(&self) -> Revision {
        self.revision
    }
}

impl Store {
    /// Opens the store in `dir`, or creates one where none has been before. Blocks while it reads the log, migrates,
    /// rebuilds or restores; on a runtime call it from `spawn_blocking`.
    pub fn open(dir: impl AsRef<Path>, schema: Schema, options: Options) -> Result<Self> {
        let opened = dir::open(dir.as_ref(), &schema, &options)?;
        let home = Home {
            directory: opened.directory,
            sentinel: opened.sentinel.clone(),
            summary: opened.summary,
            manifest: opened.manifest,
            space: opened.space,
            export_every: options.export_every,
            exports_kept: options.exports_kept.max(1),
            exported: opened.exported,
        };
        Self::start(opened.backend, Some(home), &opened.sentinel, &options)
    }

    /// A store that is gone when its last handle is dropped.
    pub fn in_memory(schema: Schema) -> Result<Self> {
        Self::with_backend(Arc::new(MemoryBackend::default()), schema, &Options::default())
    }

    /// A store over a backend of the caller's, which must be empty.
    pub fn with_backend(backend: Arc<dyn Backend>, schema: Schema, options: &Options) -> Result<Self> {
        let sentinel = Sentinel::new(schema.kind, schema.version(), 1, Uuid::new_v4());
        sentinel.write(&*backend)?;
        Self::start(backend, None, &sentinel, options)
    }

    fn start(backend: Arc<dyn Backend>, home: Option<Home>, sentinel: &Sentinel, options: &Options) -> Result<Self> {
        let applied = read_revision(&*backend)?;
        let shared = Arc::new(Shared { state: RwLock::new(State::Open { backend: Arc::clone(&backend), applied }) });
        let (durable, revisions) = watch::channel(applied);
        let (full, told_full) = watch::channel(false);
        let (inbox, messages) = mpsc::channel();
        let committer = Committer::new(Arc::clone(&shared), backend, home, durable, full, options.observer.clone());
        let group = options.group.max(1);
        std::thread::Builder::new()
            .name(format!("store-{}", sentinel.kind))
            .spawn(move || committer.run(&messages, group))
            .map_err(StoreError::io("start the committer of", Path::new(&sentinel.kind)))?;
        let most_places = options.queue.max(1);
        let places = Arc::new(Semaphore::new(most_places));
        let handle = Handle {
            shared,
            inbox,
            places,
            most_places,
            revisions,
            full: told_full,
            incarnation: sentinel.incarnation()?,
        };
        Ok(Self { handle: Arc::new(handle) })
    }

    /// Runs `closure` on the committer, alone, after every commit before it. `Err` writes nothing. `Ok` is returned
    /// once what it wrote, and all it read, is on the disk.
    ///
    /// The closure must be quick and do no I/O: every other commit waits for it. Dropping the future does not take the
    /// commit back once it is queued.
    pub async fn commit<T, E, F>(&self, closure: F) -> Result<T, E>
    where
        F: FnOnce(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.commit_by(Haste::Now, closure).await
    }

    /// As [`commit`](Store::commit), and as durable when it returns, for callers that can wait a moment: flushes that
    /// only such commits ask for are at least [`TOGETHER`](crate::TOGETHER) apart, so that commits close to each other
    /// share one. The first one after a pause does not wait.
    pub async fn commit_together<T, E, F>(&self, closure: F) -> Result<T, E>
    where
        F: FnOnce(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.commit_by(Haste::Together, closure).await
    }

    async fn commit_by<T, E, F>(&self, haste: Haste, closure: F) -> Result<T, E>
    where
        F: FnOnce(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let asked = self.ask(|place, reply| {
            let work = Box::new(move |committer: &mut Committer| -> Answer {
                let outcome = committer.transact(closure);
                Box::new(move |group| {
                    // Before the answer: a caller that has it must find nothing of its commit in the queue.
                    drop(place);
                    // The caller may be gone; the commit stands.
                    reply.send(group.map_err(E::from).and(outcome)).ok();
                })
            });
            Message::Commit(work, haste)
        });
        asked.await?
    }

    /// As [`commit`](Store::commit), but `Ok` is returned once the commit can be read: the disk has it within
    /// [`SOON`](crate::SOON), and before any later commit. Only for what may be lost when the process dies, because its
    /// owner would do it again; never for a promise. Many such commits share one flush.
    pub async fn commit_soon<T, E, F>(&self, closure: F) -> Result<T, E>
    where
        F: FnOnce(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let asked = self.ask(|place, reply| {
            let work = Box::new(move |committer: &mut Committer| {
                let outcome = committer.transact(closure);
                drop(place);
                reply.send(outcome).ok();
            });
            Message::Soon(work)
        });
        asked.await?
    }

    /// Sends a message to the committer, once the queue has a place for it, and waits for the answer.
    async fn ask<T>(&self, message: impl FnOnce(OwnedSemaphorePermit, oneshot::Sender<T>) -> Message) -> Result<T> {
        let place = Arc::clone(&self.handle.places).acquire_owned().await.map_err(|_| StoreError::Closed)?;
        let (reply, answered) = oneshot::channel();
        self.handle.inbox.send(message(place, reply)).map_err(|_| StoreError::Closed)?;
        answered.await.map_err(|_| StoreError::Closed)
    }

    /// Runs `look` over one consistent state: all commits applied so far, including those that are not yet on the disk.
    /// To answer a caller as if something had been done, use [`read_durable`](Store::read_durable). `look` must be
    /// quick, because commits wait for it, and must not call `read` again. Once a write has failed, nothing can be
    /// read.
    pub fn read<T, E: From<StoreError>>(&self, look: impl FnOnce(&Reader<'_>) -> Result<T, E>) -> Result<T, E> {
        match &*self.handle.shared.state.read() {
            State::Open { backend, applied } => look(&Reader { backend: &**backend, revision: *applied }),
            ended => Err(ended.end().unwrap_or(StoreError::Closed).into()),
        }
    }

    /// As [`read`](Store::read), but returns only once the disk has the state that was seen, also if `look` fails.
    pub async fn read_durable<T, E: From<StoreError>>(
        &self,
        look: impl FnOnce(&Reader<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let (seen, revision) = self.read(|reader| Ok::<_, E>((look(reader), reader.revision())))?;
        self.until_durable(revision).await?;
        seen
    }

    /// The newest revision that the disk has.
    pub fn durable_revision(&self) -> Revision {
        *self.handle.revisions.borrow()
    }

    /// Returns once the disk has `revision`, or with the reason why it never will.
    pub async fn until_durable(&self, revision: Revision) -> Result<()> {
        let mut revisions = self.subscribe();
        match revisions.wait_for(|durable| *durable >= revision).await {
            Ok(_) => Ok(()),
            Err(_) => Err(self.end().unwrap_or(StoreError::Closed)),
        }
    }

    /// Why nothing can be read or committed any more; `None` while the store works.
    fn end(&self) -> Option<StoreError> {
        self.handle.shared.state.read().end()
    }

    /// Keeps the store open until `stop`, then closes it. Returns earlier, with the cause, when a write fails: then the
    /// process must end, because only opening the store anew tells what the disk has.
    pub async fn keep(&self, stop: impl Future<Output = ()>) -> Result<()> {
        let mut revisions = self.subscribe();
        let ended = async { while revisions.changed().await.is_ok() {} };
        tokio::select! {
            () = stop => self.close().await,
            () = ended => match self.end() {
                Some(StoreError::Closed) | None => Ok(()),
                Some(cause) => Err(cause),
            },
        }
    }

    /// Watches the durable revision, which changes once per group of commits, so that a stream can wait and then read.
    pub fn subscribe(&self) -> watch::Receiver<Revision> {
        let mut revisions = self.handle.revisions.clone();
        revisions.mark_unchanged();
        revisions
    }

    /// Counts the records of a table by their class: once by reading all of them, and from then on commit by commit, so
    /// that asking for the counts costs nothing.
    pub async fn count<K: Key, R: prost::Message + Default>(&self, table: &'static Table<K, R>) -> Result<Counted> {
        let (reply, answered) = oneshot::channel();
        let work = Box::new(move |committer: &mut Committer| -> Answer {
            let counted = committer.count(table);
            Box::new(move |group| drop(reply.send(group.and(counted))))
        });
        self.handle.inbox.send(Message::Commit(work, Haste::Now)).map_err(|_| StoreError::Closed)?;
        answered.await.map_err(|_| StoreError::Closed)?
    }

    /// The number of commits that wait for the committer or for the disk.
    pub fn queued(&self) -> u64 {
        self.handle.most_places.saturating_sub(self.handle.places.available_permits()) as u64
    }

    /// Watches whether the disk is full: then commits are refused, and reads go on.
    pub fn full(&self) -> watch::Receiver<bool> {
        self.handle.full.clone()
    }

    /// The incarnation of the data, fixed while the store is open.
    pub fn incarnation(&self) -> Incarnation {
        self.handle.incarnation
    }

    /// Finishes what is in the queue, exports, and releases the directory. Afterwards every clone answers `Closed`.
    /// Dropping the last clone does the same without waiting for it.
    pub async fn close(&self) -> Result<()> {
        self.handle.places.close();
        let (reply, closed) = oneshot::channel();
        if self.handle.inbox.send(Message::Close(reply)).is_err() {
            return Ok(());
        }
        // No answer: another call closed the store first.
        closed.await.unwrap_or(Ok(()))
    }
}
