//! Schema versions move forward, one atomic step at a time, and never back.

use std::path::Path;

use crate::common::{BY_OWNER, DOCS, Doc, DocKey, NOTES, Note, doc};
use mms_store::{Options, Read, Schema, Scope, Store, StoreError, Table, Tx};

/// The table as an older release declared it: no index yet.
static OLD_DOCS: Table<DocKey, Doc> = Table::new("docs", 1);

fn open(dir: &Path, schema: Schema) -> Result<Store, StoreError> {
    Store::open(dir, schema, Options::default())
}

fn index_owners(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    tx.reindex(&DOCS)
}

fn add_note(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    tx.put(&NOTES, &"migrated".to_owned(), &Note { text: "yes".into() })
}

fn fails_late(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    add_note(tx)?;
    Err(StoreError::Closed)
}

async fn version_1(dir: &Path) {
    let store = open(dir, Schema::new("svc")).unwrap();
    let fill = store.commit(|tx| {
        (0..30).try_for_each(|id| tx.put(&OLD_DOCS, &("s".into(), id), &doc(&format!("owner-{}", id % 3), &[], "")))
    });
    fill.await.unwrap();
    store.close().await.unwrap();
}

#[tokio::test]
async fn steps_run_once_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    version_1(dir.path()).await;
    let schema = || Schema::new("svc").migration(index_owners).migration(add_note);
    let store = open(dir.path(), schema()).unwrap();
    let scope = Scope::exactly(&"owner-1".to_owned());
    assert_eq!(store.read(|r| r.index_page(&DOCS, &BY_OWNER, &scope, None, 100)).unwrap().items.len(), 10);
    assert!(store.read(|r| r.get(&NOTES, &"migrated".to_owned())).unwrap().is_some());
    store.commit(|tx| tx.delete(&NOTES, &"migrated".to_owned())).await.unwrap();
    store.close().await.unwrap();
    let again = open(dir.path(), schema()).unwrap();
    assert_eq!(again.read(|r| r.get(&NOTES, &"migrated".to_owned())).unwrap(), None, "a step ran twice");
}

#[tokio::test]
async fn a_newer_store_and_another_kind_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let newer = Schema::new("svc").migration(add_note);
    open(dir.path(), newer.clone()).unwrap().close().await.unwrap();
    assert!(matches!(open(dir.path(), Schema::new("svc")), Err(StoreError::NewerSchema { found: 2, known: 1 })));
    assert!(matches!(open(dir.path(), Schema::new("other")), Err(StoreError::WrongKind { .. })));
    open(dir.path(), newer).unwrap().close().await.unwrap();
}

#[tokio::test]
async fn a_failed_step_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    version_1(dir.path()).await;
    let failed = open(dir.path(), Schema::new("svc").migration(index_owners).migration(fails_late));
    assert!(matches!(failed, Err(StoreError::Migration { from: 2, .. })));
    // The first step is kept, the second left no trace, and the release between the two opens the store.
    let store = open(dir.path(), Schema::new("svc").migration(index_owners)).unwrap();
    assert_eq!(store.read(|r| r.get(&NOTES, &"migrated".to_owned())).unwrap(), None);
    store.close().await.unwrap();
    assert!(matches!(open(dir.path(), Schema::new("svc")), Err(StoreError::NewerSchema { .. })));
}

#[tokio::test]
async fn records_of_an_older_version_are_upgraded_on_reading() {
    static NEW: Table<String, Note> = Table::new("notes", 2).upgrade(|from, mut note| {
        note.text.push_str(&format!(" (from version {from})"));
        note
    });
    let store = Store::in_memory(Schema::new("svc")).unwrap();
    store.commit(|tx| tx.put(&NOTES, &"n".to_owned(), &Note { text: "old".into() })).await.unwrap();
    let read = || store.read(|r| r.get(&NEW, &"n".to_owned())).unwrap().unwrap();
    assert_eq!(read().text, "old (from version 1)");
    let rewritten = read();
    store.commit(move |tx| tx.put(&NEW, &"n".to_owned(), &rewritten)).await.unwrap();
    assert_eq!(read().text, "old (from version 1)", "a record of today's version is left alone");
}
