//! What a store reports about itself: every flush with its commits and bytes, and counts of records by class that
//! change with commits and with nothing else.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use mms_store::{Flush, Observer, Options, Schema, Store, StoreError, TOGETHER, Table};

#[derive(Clone, PartialEq, prost::Message)]
struct Thing {
    #[prost(uint32, tag = "1")]
    state: u32,
}

static THINGS: Table<u64, Thing> = Table::new("things", 1).classed(|thing| thing.state);

/// A table whose records have no class.
static PLAIN: Table<u64, Thing> = Table::new("plain", 1);

#[derive(Default)]
struct Seen(Mutex<Vec<Flush>>);

impl Observer for Seen {
    fn flushed(&self, flush: &Flush) {
        self.0.lock().unwrap().push(*flush);
    }
}

async fn put(store: &Store, key: u64, state: u32) {
    store.commit(move |tx| tx.put(&THINGS, &key, &Thing { state })).await.unwrap();
}

#[tokio::test]
async fn every_flush_is_told_with_what_was_in_it() {
    let (dir, seen) = (tempfile::tempdir().unwrap(), Arc::new(Seen::default()));
    let store = Store::open(dir.path(), Schema::new("things"), Options::default().observed_by(seen.clone())).unwrap();
    for key in 0..5 {
        put(&store, key, 1).await;
    }
    // A commit that writes nothing is part of no flush.
    store.commit(|tx| tx.delete(&THINGS, &99)).await.unwrap();
    let flushes = seen.0.lock().unwrap().clone();
    assert_eq!(flushes.iter().map(|flush| flush.commits).sum::<u64>(), 5, "{flushes:?}");
    assert!(flushes.iter().all(|flush| flush.bytes >= 8 * flush.commits && !flush.took.is_zero()), "{flushes:?}");
    assert_eq!(store.queued(), 0);
}

#[tokio::test]
async fn flushes_for_callers_that_have_time_are_apart_and_one_that_has_none_waits_for_nothing() {
    let (dir, seen) = (tempfile::tempdir().unwrap(), Arc::new(Seen::default()));
    let store = Store::open(dir.path(), Schema::new("things"), Options::default().observed_by(seen.clone())).unwrap();
    let flushes = || u32::try_from(seen.0.lock().unwrap().len()).unwrap();
    let began = Instant::now();
    for key in 0..10 {
        store.commit_together(move |tx| tx.put(&THINGS, &key, &Thing { state: 1 })).await.unwrap();
    }
    let (together, took) = (flushes(), began.elapsed());
    assert_eq!(together, 10, "one caller waits for each");
    assert!(took >= TOGETHER * (together - 1), "{took:?} for {together} flushes");
    // Many callers take no longer than one.
    let began = Instant::now();
    let mut all = tokio::task::JoinSet::new();
    for key in 10..60 {
        let store = store.clone();
        all.spawn(async move { store.commit_together(move |tx| tx.put(&THINGS, &key, &Thing { state: 1 })).await });
    }
    while let Some(one) = all.join_next().await {
        one.unwrap().unwrap();
    }
    let (shared, took) = (flushes() - together, began.elapsed());
    assert!(TOGETHER * (shared - 1) <= took, "{shared} flushes in {took:?}");
    // A commit that must not wait takes the waiting ones with it.
    let (one, other) = tokio::join!(
        store.commit_together(|tx| tx.put(&THINGS, &60, &Thing { state: 1 })),
        store.commit(|tx| tx.put(&THINGS, &61, &Thing { state: 1 })),
    );
    one.and(other).unwrap();
    assert_eq!(seen.0.lock().unwrap().iter().map(|flush| flush.commits).sum::<u64>(), 62);
}

#[tokio::test]
async fn counts_follow_what_is_committed_and_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Store::open(dir.path(), Schema::new("things"), Options::default()).unwrap();
    let store = open();
    put(&store, 1, 7).await;
    let counted = store.count(&THINGS).await.unwrap();
    assert_eq!(counted.now(), [(7, 1)].into());
    put(&store, 2, 7).await;
    put(&store, 1, 8).await;
    // A record that is written twice in one commit, and one that is created and deleted in it.
    let many = |tx: &mut mms_store::Tx<'_>| {
        tx.put(&THINGS, &3, &Thing { state: 7 })?;
        tx.put(&THINGS, &3, &Thing { state: 9 })?;
        tx.put(&THINGS, &4, &Thing { state: 9 })?;
        tx.delete(&THINGS, &4)
    };
    store.commit(many).await.unwrap();
    let plain = store.count(&PLAIN).await.unwrap();
    store
        .commit(|tx| tx.put(&PLAIN, &1, &Thing::default()).and_then(|()| tx.put(&PLAIN, &1, &Thing::default())))
        .await
        .unwrap();
    assert_eq!(plain.total(), 1);
    store.commit(|tx| tx.delete(&PLAIN, &1)).await.unwrap();
    assert_eq!(plain.total(), 0);
    // A commit that fails changes no count.
    let failed = store.commit(move |tx| {
        many(tx)?;
        Err::<(), _>(StoreError::Closed)
    });
    assert!(failed.await.is_err());
    assert_eq!((counted.now(), counted.total()), ([(7, 1), (8, 1), (9, 1)].into(), 3));
    store.commit(|tx| tx.delete(&THINGS, &2)).await.unwrap();
    assert_eq!(counted.now(), [(7, 0), (8, 1), (9, 1)].into());
    store.close().await.unwrap();
    drop(store);
    assert_eq!(open().count(&THINGS).await.unwrap().now(), [(8, 1), (9, 1)].into());
}
