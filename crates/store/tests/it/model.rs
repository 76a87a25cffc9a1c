//! Random commits against a plain map: after each step, rows, indexes, pages, aborted commits and reopening agree with
//! it.

use std::collections::{BTreeMap, BTreeSet};

use crate::common::{BY_TAG, DOCS, Doc, DocKey, doc};
use mms_store::{Options, Read, Schema, Scope, Store, StoreError};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    Put(u64, Vec<&'static str>, usize),
    Delete(u64),
}

#[derive(Debug, Clone)]
enum Action {
    Commit(Vec<Step>),
    Abort(Vec<Step>),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let tags = proptest::sample::subsequence(vec!["a", "ab", "b", ""], 0..=3);
    // Around the size above which records are stored in pieces, and beyond.
    let size = prop_oneof![Just(0usize), 1..50usize, 4050..4110usize, 8000..20_000usize];
    prop_oneof![
        3 => (0..12u64, tags, size).prop_map(|(id, tags, size)| Step::Put(id, tags, size)),
        1 => (0..12u64).prop_map(Step::Delete),
    ]
}

fn action() -> impl Strategy<Value = Action> {
    let steps = || proptest::collection::vec(step(), 1..6);
    prop_oneof![8 => steps().prop_map(Action::Commit), 1 => steps().prop_map(Action::Abort), 1 => Just(Action::Reopen)]
}

type Model = BTreeMap<DocKey, Doc>;

fn key(id: u64) -> DocKey {
    (if id.is_multiple_of(2) { "even" } else { "odd" }.to_owned(), id)
}

fn record(tags: &[&str], size: usize) -> Doc {
    doc("", tags, &"x".repeat(size))
}

fn check(store: &Store, model: &Model) -> Result<(), TestCaseError> {
    let mut rows = Vec::new();
    let mut after = None;
    loop {
        let page = store.read(|r| r.page(&DOCS, &Scope::all(), after.as_ref(), 5)).unwrap();
        rows.extend(page.items);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    prop_assert_eq!(&rows, &model.clone().into_iter().collect::<Vec<_>>());
    let entries: BTreeSet<_> =
        model.iter().flat_map(|(key, doc)| doc.tags.iter().map(|tag| (tag.clone(), key.clone()))).collect();
    let filed = store.read(|r| r.index_keys(&DOCS, &BY_TAG, &Scope::all(), None, 1000)).unwrap();
    prop_assert_eq!(filed.items, entries.into_iter().map(|(_, key)| key).collect::<Vec<_>>());
    let odd = store.read(|r| r.page(&DOCS, &Scope::prefix(&("odd".to_owned(),)).descending(), None, 1000)).unwrap();
    let expected = model.iter().rev().filter(|(key, _)| key.0 == "odd").map(|(k, v)| (k.clone(), v.clone()));
    prop_assert_eq!(odd.items, expected.collect::<Vec<_>>());
    Ok(())
}

async fn run(actions: Vec<Action>) -> Result<(), TestCaseError> {
    let dir = tempfile::tempdir().unwrap();
    let open = || Store::open(dir.path(), Schema::new("model"), Options::default()).unwrap();
    let (mut store, mut model) = (open(), Model::new());
    for action in actions {
        let (steps, abort) = match action {
            Action::Commit(steps) => (steps, false),
            Action::Abort(steps) => (steps, true),
            Action::Reopen => {
                store.close().await.unwrap();
                store = open();
                check(&store, &model)?;
                continue;
            }
        };
        let mut next = model.clone();
        for step in &steps {
            match step {
                Step::Put(id, tags, size) => next.insert(key(*id), record(tags, *size)),
                Step::Delete(id) => next.remove(&key(*id)),
            };
        }
        let (before, after) = (store.durable_revision(), next.clone());
        let outcome = store.commit(move |tx| {
            for step in steps {
                match step {
                    Step::Put(id, tags, size) => tx.put(&DOCS, &key(id), &record(&tags, size))?,
                    Step::Delete(id) => drop(tx.delete(&DOCS, &key(id))?),
                }
            }
            // Within the commit, its own writes can be read.
            let seen = tx.page(&DOCS, &Scope::all(), None, 1000)?;
            assert_eq!(seen.items, after.into_iter().collect::<Vec<_>>());
            if abort { Err(StoreError::Closed) } else { Ok(()) }
        });
        match (outcome.await, abort) {
            (Ok(()), false) => model = next,
            (Err(StoreError::Closed), true) => prop_assert_eq!(store.durable_revision(), before),
            (other, _) => prop_assert!(false, "unexpected {:?}", other),
        }
        check(&store, &model)?;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn the_store_agrees_with_a_map(actions in proptest::collection::vec(action(), 1..25)) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(run(actions))?;
    }
}
