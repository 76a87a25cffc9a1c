//! Opening a store: one owner at a time, sled's known defects, interrupted swaps, and never an empty store in place of
//! a lost one.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::common::{NOTES, Note};
use mms_store::{Options, Read, Schema, Scope, SledBackend, Store, StoreError};

fn open(dir: &Path) -> Result<Store, StoreError> {
    Store::open(dir, Schema::new("opening"), Options::default())
}

async fn put(store: &Store, key: &str, text: &str) {
    let (key, note) = (key.to_owned(), Note { text: text.to_owned() });
    store.commit(move |tx| tx.put(&NOTES, &key, &note)).await.unwrap();
}

fn text(store: &Store, key: &str) -> Option<String> {
    store.read(|r| r.get(&NOTES, &key.to_owned())).unwrap().map(|note| note.text)
}

/// A closed store with one note, `kept`.
async fn closed(dir: &Path) {
    let store = open(dir).unwrap();
    put(&store, "kept", "yes").await;
    store.close().await.unwrap();
}

async fn assert_kept(dir: &Path) {
    let store = open(dir).unwrap();
    assert_eq!(text(&store, "kept").as_deref(), Some("yes"));
    put(&store, "more", "works").await;
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_second_owner_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let Err(error) = open(dir.path()) else { panic!("two owners") };
    assert!(matches!(&error, StoreError::InUse { holder, .. } if *holder == format!("process {}", std::process::id())));
    store.close().await.unwrap();
    open(dir.path()).unwrap().close().await.unwrap();
}

/// Between fork and exec, the child that another thread starts has a copy of the lock's file descriptor.
#[tokio::test]
async fn a_lock_that_a_starting_process_still_has_a_copy_of_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    closed(dir.path()).await;
    let lock = fs::File::open(dir.path().join("lock")).unwrap();
    lock.lock().unwrap();
    let copy = lock.try_clone().unwrap();
    drop(lock);
    let child = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        drop(copy);
    });
    assert_kept(dir.path()).await;
    child.join().unwrap();
}

#[tokio::test]
async fn dropping_the_last_handle_keeps_what_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    put(&store, "kept", "yes").await;
    let mut ended = store.subscribe();
    drop(store);
    // The watch ends with the committer, which has released the directory by then.
    while ended.changed().await.is_ok() {}
    assert_kept(dir.path()).await;
}

#[tokio::test]
async fn a_half_written_snapshot_does_not_brick_it() {
    let dir = tempfile::tempdir().unwrap();
    closed(dir.path()).await;
    let leftover = || fs::write(dir.path().join("sled/snap.7FFFFFFFFFFFFFFF.generating"), "x").unwrap();
    leftover();
    let bare = SledBackend::open(&dir.path().join("sled"), &Options::default());
    assert!(matches!(bare, Err(StoreError::Corrupt { .. })), "sled bears it now: the precaution can go");
    drop(bare);
    leftover();
    assert_kept(dir.path()).await;
}

#[tokio::test]
async fn a_harmed_snapshot_is_rebuilt_from_the_log() {
    let dir = tempfile::tempdir().unwrap();
    closed(dir.path()).await;
    let mut harmed = 0;
    for entry in fs::read_dir(dir.path().join("sled")).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap().starts_with("snap.") {
            fs::write(path, "garbage, garbage, garbage").unwrap();
            harmed += 1;
        }
    }
    assert!(harmed > 0);
    assert_kept(dir.path()).await;
}

#[tokio::test]
async fn a_lost_database_is_never_replaced_by_an_empty_one() {
    for lost in ["sled", "sled/db"] {
        let dir = tempfile::tempdir().unwrap();
        closed(dir.path()).await;
        let path = dir.path().join(lost);
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap()
        } else {
            fs::remove_file(path).unwrap()
        }
        assert!(matches!(open(dir.path()), Err(StoreError::Missing { .. })), "{lost}");
    }
}

#[tokio::test]
async fn a_garbled_database_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    closed(dir.path()).await;
    let db = dir.path().join("sled/db");
    fs::write(&db, vec![0x5A; fs::metadata(&db).unwrap().len() as usize]).unwrap();
    assert!(matches!(open(dir.path()), Err(StoreError::Corrupt { .. })));
    // The second start must not find an empty store either.
    assert!(matches!(open(dir.path()), Err(StoreError::Corrupt { .. })));
}

#[tokio::test]
async fn an_interrupted_swap_is_finished() {
    let copy = |from: &Path, to: &Path| {
        assert!(std::process::Command::new("cp").arg("-r").args([from, to]).status().unwrap().success());
    };
    for state in 0..4 {
        let dir = tempfile::tempdir().unwrap();
        closed(dir.path()).await;
        let at = |name: &str| dir.path().join(name);
        match state {
            // The new one is complete, but not in place yet.
            0 => copy(&at("sled"), &at("sled.new")),
            // The old one was renamed.
            1 => {
                copy(&at("sled"), &at("sled.new"));
                fs::rename(at("sled"), at("sled.old")).unwrap();
            }
            // The new one is in place, the old one not yet removed.
            2 => copy(&at("sled"), &at("sled.old")),
            // The new one is not complete.
            _ => {
                fs::create_dir(at("sled.building")).unwrap();
                fs::write(at("sled.building/db"), "half").unwrap();
            }
        }
        assert_kept(dir.path()).await;
        for name in ["sled.new", "sled.old", "sled.building"] {
            assert!(!at(name).exists(), "{name} is left over in state {state}");
        }
    }
}

#[tokio::test]
async fn a_bloated_store_is_rebuilt() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    for round in 0..20 {
        let churn = store.commit(move |tx| {
            (0..200).try_for_each(|n| {
                tx.put(&NOTES, &format!("churn/{n}"), &Note { text: format!("{round}").repeat(3000) })
            })
        });
        churn.await.unwrap();
    }
    let clear = store.commit(|tx| (0..200).try_for_each(|n| tx.delete(&NOTES, &format!("churn/{n}")).map(drop)));
    clear.await.unwrap();
    put(&store, "kept", "yes").await;
    let revision = store.durable_revision();
    let incarnation = store.incarnation();
    store.close().await.unwrap();
    let size = || fs::metadata(dir.path().join("sled/db")).unwrap().len();
    let before = size();
    let options = Options { rebuild_above: 1 << 20, ..Options::default() };
    let store = Store::open(dir.path(), Schema::new("opening"), options).unwrap();
    assert!(size() * 2 < before, "{before} bytes before, {} after", size());
    assert_eq!((store.durable_revision(), store.incarnation()), (revision, incarnation));
    let all = store.read(|r| r.page(&NOTES, &Scope::all(), None, 10)).unwrap();
    assert_eq!(all.items, [("kept".to_owned(), Note { text: "yes".into() })]);
    store.close().await.unwrap();
    assert_kept(dir.path()).await;
}
