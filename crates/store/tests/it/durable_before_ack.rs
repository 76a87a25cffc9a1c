//! Killing a process cannot show a missing fdatasync, so these tests observe the call itself: before every
//! acknowledgement a call has completed that began after the commit was applied.

use std::io;
use std::sync::{Arc, Condvar, Mutex, OnceLock};

use crate::common::{NOTES, Note};
use mms_store::{DiskSync, Options, Read, Revision, Schema, Store, StoreError};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Event {
    /// The real fdatasync returned; it began when `applied` was the newest applied revision.
    Synced {
        applied: Revision,
    },
    Acknowledged {
        revision: Revision,
    },
}

#[derive(Default)]
struct Journal {
    events: Mutex<Vec<Event>>,
    store: OnceLock<Store>,
    gate: Gate,
    broken: Mutex<bool>,
}

/// Blocks syncs while it is shut.
#[derive(Default)]
struct Gate {
    shut: Mutex<bool>,
    opened: Condvar,
}

struct Watched {
    real: Box<dyn DiskSync>,
    journal: Arc<Journal>,
}

impl DiskSync for Watched {
    fn sync(&self) -> io::Result<()> {
        let read = |store: &Store| store.read(|r| Ok::<_, StoreError>(r.revision())).expect("open");
        let applied = self.journal.store.get().map_or(0, read);
        let shut = self.journal.gate.shut.lock().unwrap();
        drop(self.journal.gate.opened.wait_while(shut, |shut| *shut).unwrap());
        if *self.journal.broken.lock().unwrap() {
            return Err(io::Error::other("the disk is gone"));
        }
        self.real.sync()?;
        self.journal.events.lock().unwrap().push(Event::Synced { applied });
        Ok(())
    }
}

fn open() -> (tempfile::TempDir, Arc<Journal>, Store) {
    let dir = tempfile::tempdir().unwrap();
    let journal = Arc::new(Journal::default());
    let watch = Arc::clone(&journal);
    let options =
        Options::default().around_disk_sync(move |real| Box::new(Watched { real, journal: Arc::clone(&watch) }));
    let store = Store::open(dir.path(), Schema::new("watched"), options).unwrap();
    journal.store.set(store.clone()).ok().unwrap();
    (dir, journal, store)
}

async fn write(store: &Store, journal: &Journal, name: String) -> Result<Revision, StoreError> {
    // Both ways of a commit that is durable when it is answered.
    let has_time = name.len().is_multiple_of(2);
    let write =
        move |tx: &mut mms_store::Tx<'_>| tx.put(&NOTES, &name, &Note { text: "x".into() }).map(|()| tx.revision());
    let revision = if has_time { store.commit_together(write).await? } else { store.commit(write).await? };
    journal.events.lock().unwrap().push(Event::Acknowledged { revision });
    Ok(revision)
}

/// Returns once reads see the note.
async fn applied(store: &Store, name: &str) {
    for _ in 0..1_000_000 {
        if store.read(|r| r.get(&NOTES, &name.to_owned())).unwrap().is_some() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("{name} was never applied");
}

/// The first acknowledgement that no completed sync covers; `None` if all are covered.
fn unsynced(events: &[Event]) -> Option<Revision> {
    let mut covered = 0;
    events.iter().find_map(|event| match *event {
        Event::Synced { applied } => {
            covered = covered.max(applied);
            None
        }
        Event::Acknowledged { revision } => (revision > covered).then_some(revision),
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_completes_before_every_acknowledgement() {
    let (_dir, journal, store) = open();
    let writers: Vec<_> = (0..16)
        .map(|writer| {
            let (store, journal) = (store.clone(), Arc::clone(&journal));
            tokio::spawn(async move {
                for number in 0..25 {
                    write(&store, &journal, format!("{writer}/{number}")).await.unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let events = journal.events.lock().unwrap().clone();
    let syncs = events.iter().filter(|event| matches!(event, Event::Synced { .. })).count();
    assert_eq!(events.len() - syncs, 400);
    assert_eq!(unsynced(&events), None);
    assert!(syncs < 400, "{syncs} syncs for 400 commits: writers do not share them");
    // Shows that the check can fail: without the syncs, and with a sync that began too early.
    let without: Vec<_> = events.iter().copied().filter(|event| matches!(event, Event::Acknowledged { .. })).collect();
    assert!(unsynced(&without).is_some());
    assert_eq!(unsynced(&[Event::Synced { applied: 6 }, Event::Acknowledged { revision: 7 }]), Some(7));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_need_not_be_there_at_once_is_answered_before_the_disk_has_it_and_is_there_soon() {
    let (_dir, journal, store) = open();
    let soon = |name: &'static str| {
        let store = store.clone();
        async move {
            let write = move |tx: &mut mms_store::Tx<'_>| {
                tx.put(&NOTES, &name.to_owned(), &Note { text: "x".into() }).map(|()| tx.revision())
            };
            store.commit_soon(write).await.unwrap()
        }
    };
    *journal.gate.shut.lock().unwrap() = true;
    let first = soon("first").await;
    assert!(store.read(|r| r.get(&NOTES, &"first".to_owned())).unwrap().is_some(), "it can be read");
    assert!(store.durable_revision() < first, "the disk has it not yet");
    *journal.gate.shut.lock().unwrap() = false;
    journal.gate.opened.notify_all();
    // No other commit asks for a flush.
    store.until_durable(first).await.unwrap();

    // A commit that waits for the disk also waits for the ones before it.
    let (second, third) = (soon("second").await, write(&store, &journal, "third".into()).await.unwrap());
    assert!(second < third && store.durable_revision() >= third);
    // Many of them share a flush.
    let synced = |journal: &Journal| {
        journal.events.lock().unwrap().iter().filter(|event| matches!(event, Event::Synced { .. })).count()
    };
    let before = synced(&journal);
    let mut last = third;
    for _ in 0..100 {
        last = soon("again").await;
    }
    store.until_durable(last).await.unwrap();
    assert!(synced(&journal) - before < 50, "{} syncs for 100 commits", synced(&journal) - before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acknowledgement_waits_for_the_disk() {
    let (_dir, journal, store) = open();
    *journal.gate.shut.lock().unwrap() = true;
    let waiting = {
        let (store, journal) = (store.clone(), Arc::clone(&journal));
        tokio::spawn(async move { write(&store, &journal, "held".into()).await })
    };
    // From here on only the sync is missing.
    applied(&store, "held").await;
    // A refusal that depends on a write which is not durable yet has to wait as well.
    let refused = {
        let store = store.clone();
        tokio::spawn(async move {
            store
                .commit(
                    |tx| if tx.get(&NOTES, &"held".to_owned())?.is_some() { Err(StoreError::Closed) } else { Ok(()) },
                )
                .await
        })
    };
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert!(!waiting.is_finished() && !refused.is_finished(), "answered before the disk had it");
    assert_eq!(store.durable_revision(), 0);
    *journal.gate.shut.lock().unwrap() = false;
    journal.gate.opened.notify_all();
    assert_eq!(waiting.await.unwrap().unwrap(), 1);
    assert!(refused.await.unwrap().is_err());
    assert_eq!(store.durable_revision(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_durable_read_waits_for_the_disk() {
    let (_dir, journal, store) = open();
    write(&store, &journal, "before".into()).await.unwrap();
    let look = |store: Store, name: &'static str| async move {
        store.read_durable(|r| r.get(&NOTES, &name.to_owned())).await.map(|found| found.is_some())
    };
    assert!(look(store.clone(), "before").await.unwrap());
    *journal.gate.shut.lock().unwrap() = true;
    let waiting = {
        let (store, journal) = (store.clone(), Arc::clone(&journal));
        tokio::spawn(async move { write(&store, &journal, "held".into()).await })
    };
    applied(&store, "held").await;
    let looking = tokio::spawn(look(store.clone(), "held"));
    // "Not found" may depend on a write that is not durable yet, too.
    let missing = tokio::spawn(look(store.clone(), "missing"));
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert!(!looking.is_finished() && !missing.is_finished(), "answered before the disk had it");
    *journal.gate.shut.lock().unwrap() = false;
    journal.gate.opened.notify_all();
    assert!(looking.await.unwrap().unwrap() && !missing.await.unwrap().unwrap());
    assert_eq!(waiting.await.unwrap().unwrap(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_sync_is_no_acknowledgement_and_stops_the_store() {
    let (dir, journal, store) = open();
    write(&store, &journal, "before".into()).await.unwrap();
    let keeping = tokio::spawn({
        let store = store.clone();
        async move { store.keep(std::future::pending()).await }
    });
    let (watched, mut changes) = (store.clone(), store.subscribe());
    let waiting = tokio::spawn(async move { watched.until_durable(2).await });
    *journal.broken.lock().unwrap() = true;
    assert!(matches!(write(&store, &journal, "lost".into()).await, Err(StoreError::Stopped { .. })));
    // A disk that failed once may have dropped what it was given: only a restart shows what is there.
    *journal.broken.lock().unwrap() = false;
    assert!(matches!(write(&store, &journal, "after".into()).await, Err(StoreError::Stopped { .. })));
    // A refused write cannot be read either, nobody waits for it any more, and `keep` returns the cause.
    for name in ["lost", "before"] {
        let read = store.read(|r| r.get(&NOTES, &name.to_owned()));
        assert!(matches!(read, Err(StoreError::Stopped { .. })), "{read:?}");
    }
    assert!(matches!(waiting.await.unwrap(), Err(StoreError::Stopped { .. })));
    assert!(changes.changed().await.is_err());
    let cause = keeping.await.unwrap().unwrap_err();
    assert!(cause.to_string().contains("the disk is gone"), "{cause}");
    assert!(store.close().await.is_err());
    // The system may still show pages that the disk never got: the next start writes all of them anew.
    drop((store, journal));
    let db = || std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(dir.path().join("sled/db")).unwrap());
    for rebuilt in [true, false] {
        let (before, store) = (db(), Store::open(dir.path(), Schema::new("watched"), Options::default()).unwrap());
        assert_eq!(before != db(), rebuilt);
        assert!(store.read(|r| r.get(&NOTES, &"before".to_owned())).unwrap().is_some());
        store.close().await.unwrap();
    }
}
