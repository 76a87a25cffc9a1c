//! When the database took only a part of a commit, because of an error or a panic, nobody can ever read that part.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::common::{NOTES, Note};
use mms_store::{Backend, Batch, MemoryBackend, Options, Read, Schema, Store, StoreError, View, Visit};

const WELL: u8 = 0;
const ERROR: u8 = 1;
const PANIC: u8 = 2;

/// Applies the first row of a batch and then fails, once it is told to.
struct Torn {
    rows: MemoryBackend,
    way: Arc<AtomicU8>,
}

impl View for Torn {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.rows.get(key)
    }

    fn visit(&self, from: &[u8], to: &[u8], descending: bool, each: &mut Visit<'_>) -> Result<(), StoreError> {
        self.rows.visit(from, to, descending, each)
    }
}

impl Backend for Torn {
    fn apply(&self, mut batch: Batch) -> Result<(), StoreError> {
        let way = self.way.load(Ordering::SeqCst);
        if way == WELL {
            return self.rows.apply(batch);
        }
        // The first key is the store's own record; the next one is a row.
        let (key, value) = batch.iter().nth(1).map(|(key, value)| (key.clone(), value.clone())).unwrap();
        batch.clear();
        self.rows.apply([(key, value)].into())?;
        assert!(way != PANIC, "the database panicked on purpose");
        Err(StoreError::Corrupt { what: "torn on purpose".into() })
    }

    fn flush(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

async fn put(store: &Store, names: [&'static str; 2]) -> Result<(), StoreError> {
    let commit =
        store.commit(move |tx| names.iter().try_for_each(|name| tx.put(&NOTES, &(*name).to_owned(), &Note::default())));
    commit.await
}

#[tokio::test]
async fn half_a_commit_is_never_read() {
    for way in [ERROR, PANIC] {
        let told = Arc::new(AtomicU8::new(WELL));
        let backend = Arc::new(Torn { rows: MemoryBackend::default(), way: Arc::clone(&told) });
        let raw = Arc::clone(&backend);
        let store = Store::with_backend(backend, Schema::new("torn"), &Options::default()).unwrap();
        put(&store, ["a", "b"]).await.unwrap();
        told.store(way, Ordering::SeqCst);
        put(&store, ["c", "d"]).await.unwrap_err();
        assert!(raw.get(b"notes\0rc\0\0").unwrap().is_some(), "the half is there");
        for name in ["a", "c", "d"] {
            let read = store.read(|r| r.get(&NOTES, &name.to_owned()));
            assert!(matches!(read, Err(StoreError::Stopped { .. })), "{read:?}");
        }
        assert!(matches!(put(&store, ["e", "f"]).await, Err(StoreError::Stopped { .. })));
        let waited = store.until_durable(u64::MAX).await;
        assert!(matches!(waited, Err(StoreError::Stopped { .. })), "{waited:?}");
        assert!(matches!(store.keep(std::future::pending()).await, Err(StoreError::Stopped { .. })));
    }
}
