//! The one conformance suite, generic over the backend, run against sled and against the backend in memory.

use std::{ops::ControlFlow, sync::Arc};

use crate::common::{BY_OWNER, BY_TAG, Doc, NOTES, Note, doc};
use mms_store::{
    Backend, Index, MAX_KEY_BYTES, MAX_TX_BYTES, MAX_VALUE_BYTES, MemoryBackend, Options, Page, Read, Schema, Scope,
    SledBackend, Store, StoreError, Table,
};

use crate::common::DOCS;

/// Every behaviour that a service may rely on, whatever the backend. `make` creates an empty one.
pub async fn conformance<B: Backend>(make: impl Fn() -> B) {
    let store = || Store::with_backend(Arc::new(make()), Schema::new("suite"), &Options::default()).expect("starts");
    backend_keeps_order(&make());
    rows_are_written_read_and_deleted(&store()).await;
    a_refused_commit_leaves_no_trace(&store()).await;
    a_commit_sees_its_own_writes(&store()).await;
    indexes_follow_their_rows(&store()).await;
    pages_cover_everything_once(&store()).await;
    large_values_come_back_whole(&store()).await;
    limits_are_typed_errors(&store()).await;
    revisions_are_watched(&store()).await;
    concurrent_commits_lose_no_update(&store()).await;
    a_closed_store_says_so(&store()).await;
}

fn backend_keeps_order(backend: &impl Backend) {
    let write = |key: &[u8], value: Option<&[u8]>| (key.to_vec(), value.map(<[u8]>::to_vec));
    backend.apply([write(b"b", Some(b"2")), write(b"a", Some(b"1")), write(b"c", Some(b"3"))].into()).unwrap();
    backend.apply([write(b"b", None), write(b"d", Some(b""))].into()).unwrap();
    backend.flush().unwrap();
    assert_eq!(backend.get(b"b").unwrap(), None);
    assert_eq!(backend.get(b"d").unwrap(), Some(Vec::new()));
    let walk = |from: &[u8], to: &[u8], descending, most: usize| {
        let mut seen = Vec::new();
        backend
            .visit(from, to, descending, &mut |key, _| {
                seen.push(String::from_utf8(key.to_vec()).unwrap());
                Ok(if seen.len() == most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
            })
            .unwrap();
        seen.concat()
    };
    assert_eq!(walk(b"a", b"d", false, 9), "ac");
    assert_eq!(walk(b"a", b"z", true, 2), "dc");
    assert_eq!(walk(b"z", b"a", false, 9), "");
}

async fn put(store: &Store, id: u64, record: Doc) {
    store.commit(move |tx| tx.put(&DOCS, &("s".into(), id), &record)).await.unwrap();
}

async fn rows_are_written_read_and_deleted(store: &Store) {
    let key = ("s".to_owned(), 1);
    put(store, 1, doc("ann", &[], "one")).await;
    assert_eq!(store.read(|r| r.get(&DOCS, &key)).unwrap(), Some(doc("ann", &[], "one")));
    // Two tables change in one commit.
    let deleted = store.commit(|tx| {
        tx.put(&NOTES, &"n".to_owned(), &Note { text: "note".into() })?;
        tx.delete(&DOCS, &("s".into(), 1))
    });
    assert!(deleted.await.unwrap());
    assert_eq!(store.read(|r| r.get(&DOCS, &key)).unwrap(), None);
    assert!(store.read(|r| r.get(&NOTES, &"n".to_owned())).unwrap().is_some());
    let again = store.commit(|tx| tx.delete(&DOCS, &("s".into(), 1)));
    assert!(!again.await.unwrap());
}

async fn a_refused_commit_leaves_no_trace(store: &Store) {
    #[derive(Debug)]
    enum Refused {
        Taken,
        Store,
    }
    impl From<StoreError> for Refused {
        fn from(_: StoreError) -> Self {
            Self::Store
        }
    }
    put(store, 1, doc("ann", &[], "one")).await;
    let before = store.durable_revision();
    let refused = store.commit(|tx| {
        tx.put(&DOCS, &("s".into(), 2), &doc("bob", &["x"], "two"))?;
        if tx.get(&DOCS, &("s".into(), 1))?.is_some() { Err(Refused::Taken) } else { Ok(()) }
    });
    assert!(matches!(refused.await, Err(Refused::Taken)));
    let panicked = store.commit(|tx| {
        tx.put(&DOCS, &("s".into(), 2), &doc("bob", &["x"], "two"))?;
        assert!(tx.revision() == 0, "a closure that panics on purpose");
        Ok::<_, StoreError>(())
    });
    assert!(matches!(panicked.await, Err(StoreError::ClosurePanicked { message }) if message.contains("on purpose")));
    assert_eq!(store.read(|r| r.get(&DOCS, &("s".into(), 2))).unwrap(), None);
    assert_eq!(owned_by(store, "bob"), Vec::<u64>::new());
    assert_eq!(store.durable_revision(), before);
    put(store, 3, doc("bob", &[], "the store goes on")).await;
}

async fn a_commit_sees_its_own_writes(store: &Store) {
    for id in [1, 2, 4] {
        put(store, id, doc("ann", &[], "old")).await;
    }
    let seen = store.commit(|tx| {
        tx.put(&DOCS, &("s".into(), 3), &doc("bob", &[], "new"))?;
        tx.put(&DOCS, &("s".into(), 4), &doc("ann", &[], "changed"))?;
        tx.put(&DOCS, &("s".into(), 9), &doc("ann", &[], "new"))?;
        tx.delete(&DOCS, &("s".into(), 1))?;
        let mut up = Vec::new();
        tx.scan(&DOCS, &Scope::all(), |key, record| {
            up.push((key.1, record.body));
            ControlFlow::Continue(())
        })?;
        let down = tx.page(&DOCS, &Scope::all().descending(), None, 3)?;
        let anns = tx.index_page(&DOCS, &BY_OWNER, &Scope::exactly(&"ann".to_owned()), None, 10)?;
        Ok::<_, StoreError>((up, ids(&down), ids(&anns)))
    });
    let (up, down, anns) = seen.await.unwrap();
    let up: Vec<_> = up.iter().map(|(id, body)| (*id, body.as_str())).collect();
    assert_eq!(up, [(2, "old"), (3, "new"), (4, "changed"), (9, "new")]);
    assert_eq!(down, [9, 4, 3]);
    assert_eq!(anns, [2, 4, 9]);
}

fn ids<C>(page: &Page<((String, u64), Doc), C>) -> Vec<u64> {
    page.items.iter().map(|(key, _)| key.1).collect()
}

fn owned_by(store: &Store, owner: &str) -> Vec<u64> {
    let scope = Scope::exactly(&owner.to_owned());
    ids(&store.read(|r| r.index_page(&DOCS, &BY_OWNER, &scope, None, 100)).unwrap())
}

fn tagged(store: &Store, tag: &str) -> Vec<u64> {
    let scope = Scope::starting_with(tag);
    let page = store.read(|r| r.index_keys(&DOCS, &BY_TAG, &scope, None, 100)).unwrap();
    page.items.iter().map(|key| key.1).collect()
}

async fn indexes_follow_their_rows(store: &Store) {
    put(store, 1, doc("ann", &["red", "round"], "")).await;
    put(store, 2, doc("bob", &["red"], "")).await;
    assert_eq!(
        (owned_by(store, "ann"), tagged(store, "red"), tagged(store, "r")),
        (vec![1], vec![1, 2], vec![1, 2, 1])
    );
    put(store, 1, doc("bob", &["round"], "")).await;
    assert_eq!((owned_by(store, "ann"), owned_by(store, "bob")), (vec![], vec![1, 2]));
    assert_eq!((tagged(store, "red"), tagged(store, "round")), (vec![2], vec![1]));
    store.commit(|tx| tx.delete(&DOCS, &("s".into(), 2))).await.unwrap();
    assert_eq!((owned_by(store, "bob"), tagged(store, "red")), (vec![1], vec![]));
    static UNDECLARED: Index<u64, (String, u64), Doc> = Index::new("undeclared", |key, _| vec![key.1]);
    let refused = store.read(|r| r.index_page(&DOCS, &UNDECLARED, &Scope::all(), None, 1));
    assert!(matches!(refused, Err(StoreError::UnknownIndex { index: "undeclared", .. })));
}

async fn pages_cover_everything_once(store: &Store) {
    let fill = store.commit(|tx| {
        for id in 0..25 {
            for source in ["s", "t"] {
                let owner = if id % 2 == 0 { "even" } else { "odd" };
                tx.put(&DOCS, &(source.into(), id), &doc(owner, &[], ""))?;
            }
        }
        Ok::<_, StoreError>(())
    });
    fill.await.unwrap();
    for scope in [Scope::prefix(&("t".to_owned(),)), Scope::prefix(&("t".to_owned(),)).descending()] {
        let (mut after, mut seen) = (None, Vec::new());
        loop {
            let page = store.read(|r| r.page(&DOCS, &scope, after.as_ref(), 7)).unwrap();
            assert!(page.items.iter().all(|(key, _)| key.0 == "t"));
            seen.extend(ids(&page));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..25).collect::<Vec<_>>());
    }
    let (mut after, mut seen) = (None, 0);
    loop {
        let scope = Scope::exactly(&"odd".to_owned());
        let page = store.read(|r| r.index_page(&DOCS, &BY_OWNER, &scope, after.as_ref(), 5)).unwrap();
        seen += page.items.len();
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, 24);
    let range = Scope::range(("t".to_owned(), 3)..=("t".to_owned(), 5));
    assert_eq!(ids(&store.read(|r| r.page(&DOCS, &range, None, 0)).unwrap()), [3], "a page holds at least one item");
    assert_eq!(ids(&store.read(|r| r.page(&DOCS, &range, None, 10)).unwrap()), [3, 4, 5]);
    // The page is exactly full, so no other page follows.
    assert_eq!(store.read(|r| r.page(&DOCS, &range, None, 3)).unwrap().next, None);
}

async fn large_values_come_back_whole(store: &Store) {
    for size in [4000, 4096, 5000, 1 << 20, MAX_VALUE_BYTES - 8, 6000, 10] {
        let text: String = (0..size).map(|at| char::from(b'a' + (at % 23) as u8)).collect();
        let expected = text.clone();
        store.commit(move |tx| tx.put(&NOTES, &"big".to_owned(), &Note { text })).await.unwrap();
        let found = store.read(|r| r.get(&NOTES, &"big".to_owned())).unwrap().unwrap();
        assert!(found.text == expected, "{size} bytes did not come back");
    }
}

async fn limits_are_typed_errors(store: &Store) {
    let text = "x".repeat(MAX_VALUE_BYTES);
    let large = store.commit(move |tx| tx.put(&NOTES, &"big".to_owned(), &Note { text })).await;
    assert!(matches!(large, Err(StoreError::ValueTooLarge { table: "notes", limit: MAX_VALUE_BYTES, .. })));
    let long = store.commit(|tx| tx.put(&NOTES, &"k".repeat(MAX_KEY_BYTES), &Note::default())).await;
    assert!(matches!(long, Err(StoreError::KeyTooLong { .. })));
    let many = store.commit(|tx| {
        let note = Note { text: "x".repeat(MAX_VALUE_BYTES - 8) };
        ["a", "b", "c", "d", "e"].iter().try_for_each(|key| tx.put(&NOTES, &(*key).to_owned(), &note))
    });
    assert!(matches!(many.await, Err(StoreError::TransactionTooLarge { limit: MAX_TX_BYTES })));
    assert_eq!(store.read(|r| r.page(&NOTES, &Scope::all(), None, 10)).unwrap().items, []);
    static NEWER: Table<String, Note> = Table::new("notes", 2);
    store.commit(|tx| tx.put(&NEWER, &"new".to_owned(), &Note::default())).await.unwrap();
    let newer = store.read(|r| r.get(&NOTES, &"new".to_owned()));
    assert!(matches!(newer, Err(StoreError::NewerRecord { found: 2, known: 1, .. })));
}

async fn revisions_are_watched(store: &Store) {
    let mut revisions = store.subscribe();
    assert!(!revisions.has_changed().unwrap());
    let before = store.durable_revision();
    let promised =
        store.commit(|tx| tx.put(&NOTES, &"n".into(), &Note::default()).map(|()| tx.revision())).await.unwrap();
    assert_eq!(promised, before + 1);
    revisions.changed().await.unwrap();
    assert_eq!(*revisions.borrow_and_update(), promised);
    // A commit that writes nothing gets no revision.
    store.commit(|tx| tx.get(&NOTES, &"n".into())).await.unwrap();
    assert_eq!(store.durable_revision(), promised);
    store.until_durable(promised).await.unwrap();
}

async fn concurrent_commits_lose_no_update(store: &Store) {
    let writers: Vec<_> = (0..8)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                for _ in 0..25 {
                    let add = store.commit(|tx| {
                        let mut note = tx.get(&NOTES, &"counter".into())?.unwrap_or_default();
                        note.text.push('.');
                        tx.put(&NOTES, &"counter".into(), &note)
                    });
                    add.await.unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(store.read(|r| r.get(&NOTES, &"counter".into())).unwrap().unwrap().text.len(), 200);
}

async fn a_closed_store_says_so(store: &Store) {
    let other = store.clone();
    store.close().await.unwrap();
    other.close().await.unwrap();
    assert!(matches!(other.read(|r| r.get(&NOTES, &"n".into())), Err(StoreError::Closed)));
    let late = other.commit(|tx| tx.put(&NOTES, &"n".into(), &Note::default())).await;
    assert!(matches!(late, Err(StoreError::Closed)));
    assert!(matches!(other.until_durable(99).await, Err(StoreError::Closed)));
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_conforms() {
    conformance(MemoryBackend::default).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sled_conforms() {
    let root = tempfile::tempdir().unwrap();
    let count = std::cell::Cell::new(0);
    conformance(|| {
        count.set(count.get() + 1);
        SledBackend::open(&root.path().join(count.get().to_string()), &Options::default()).unwrap()
    })
    .await;
    // The limits of keys and values are there to prevent pages that sled moves into blob files.
    for number in 1..=count.get() {
        let blobs = root.path().join(number.to_string()).join("blobs");
        assert_eq!(std::fs::read_dir(blobs).map_or(0, Iterator::count), 0, "store {number} made blob files");
    }
}
