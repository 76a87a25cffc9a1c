//! Compares the changes that are found in the commits with the rows of both versions.

use std::collections::BTreeSet;
use std::sync::Arc;

use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::DeltaTable;

const SCHEMA: &str = r#"{"type":"struct","fields":[{"name":"v","type":"long","nullable":true,"metadata":{}},{"name":"p","type":"string","nullable":true,"metadata":{}}]}"#;

/// A table that has only a log. The test remembers which rows each file would have, as numbers.
#[derive(Default)]
struct Model {
    commits: Vec<Vec<Value>>,
    /// Path, partition and rows of live files.
    files: Vec<(String, u8, Vec<u32>)>,
    next: u32,
    /// Rows of each partition, by version.
    versions: Vec<BTreeMap<u8, BTreeSet<u32>>>,
}

impl Model {
    fn add(&mut self, partition: u8, rows: Vec<u32>, changes: bool) -> Value {
        self.next += 1;
        let path = format!("f{}", self.next);
        self.files.push((path.clone(), partition, rows));
        json!({"add": {"path": path, "partitionValues": {"p": partition.to_string()}, "size": 1, "modificationTime": 0,
            "dataChange": changes}})
    }

    fn remove(&mut self, at: usize, changes: bool) -> (Value, u8, Vec<u32>) {
        let (path, partition, rows) = self.files.remove(at);
        let line = json!({"remove": {"path": path, "partitionValues": {"p": partition.to_string()}, "dataChange": changes,
            "deletionTimestamp": 1}});
        (line, partition, rows)
    }

    /// One commit: 0 appends, 1 deletes a file, 2 rewrites one with other rows, 3 compacts a partition.
    fn commit(&mut self, kind: u8, pick: u8) {
        let mut lines = Vec::new();
        let at = if self.files.is_empty() { None } else { Some(usize::from(pick) % self.files.len()) };
        match (kind, at) {
            (1, Some(at)) => lines.push(self.remove(at, true).0),
            (2, Some(at)) => {
                let (line, partition, mut rows) = self.remove(at, true);
                rows.push(1_000 + self.next);
                lines.extend([line, self.add(partition, rows, true)]);
            }
            (3, Some(at)) => {
                let (partition, mut all) = (self.files[at].1, Vec::new());
                while let Some(at) = self.files.iter().position(|(_, other, _)| *other == partition) {
                    let (line, _, rows) = self.remove(at, false);
                    lines.push(line);
                    all.extend(rows);
                }
                lines.push(self.add(partition, all, false));
            }
            _ => {
                let row = self.next;
                lines.push(self.add(pick % 4, vec![row], true));
            }
        }
        self.commits.push(lines);
        let mut rows: BTreeMap<u8, BTreeSet<u32>> = BTreeMap::new();
        for (_, partition, some) in &self.files {
            rows.entry(*partition).or_default().extend(some);
        }
        self.versions.push(rows);
    }

    /// Writes all commits to a log without a checkpoint, and opens the table.
    async fn open(&self) -> (Arc<InMemory>, Snapshot) {
        let store = Arc::new(InMemory::new());
        for (version, lines) in self.commits.iter().enumerate() {
            let mut all = lines.clone();
            if version == 0 {
                all.insert(0, json!({"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}}));
                all.insert(
                    1,
                    json!({"metaData": {"id": "t", "format": {"provider": "parquet", "options": {}}, "schemaString": SCHEMA,
                        "partitionColumns": ["p"], "configuration": {}, "createdTime": 0}}),
                );
            }
            put(&store, version, &all).await;
        }
        let root = Url::parse("memory:///t/").expect("a place");
        let snapshot = DeltaTable::open(store.clone(), &root, None).await.expect("a table");
        (store, snapshot)
    }
}

fn at(version: usize) -> Path {
    Path::from(format!("t/_delta_log/{version:020}.json"))
}

async fn put(store: &InMemory, version: usize, lines: &[Value]) {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    store.put(&at(version), text.into_bytes().into()).await.expect("written");
}

fn of(changes: Changes) -> BTreeMap<u8, u64> {
    let Changes::Of(found) = changes else { panic!("{changes:?}") };
    let partition = |values: &PartitionValues| values[0].1.as_ref().expect("a value").parse().expect("a number");
    found.iter().map(|(values, version)| (partition(values), *version)).collect()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Every partition whose rows differ between two versions is reported with the last commit that changed it, and a partition
    /// that was only compacted is not reported.
    #[test]
    fn partitions_that_are_not_told_have_the_same_rows(acts in proptest::collection::vec((0..4_u8, any::<u8>()), 1..24)) {
        runtime().block_on(async {
            let mut model = Model::default();
            acts.iter().for_each(|(kind, pick)| model.commit(*kind, *pick));
            let (_, snapshot) = model.open().await;
            let last = model.versions.last().expect("a version");
            for (since, rows) in model.versions.iter().enumerate() {
                let told = of(snapshot.changes_since(since as u64).await.expect("a log"));
                for partition in 0..4 {
                    let (same, text) = (rows.get(&partition) == last.get(&partition), partition.to_string());
                    prop_assert!(same || told.contains_key(&partition), "{partition} since {since}: {told:?}");
                    let mut touched = model.commits.iter().enumerate().skip(since + 1).filter(|(_, lines)| {
                        lines.iter().filter_map(|line| line.get("add").or(line.get("remove"))).any(|file| {
                            file["dataChange"] == true && file["partitionValues"]["p"] == *text
                        })
                    });
                    prop_assert_eq!(told.get(&partition).copied(), touched.next_back().map(|(version, _)| version as u64));
                }
            }
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn what_the_log_does_not_say_any_more_is_not_guessed() {
    let mut model = Model::default();
    (0..4).for_each(|pick| model.commit(0, pick));
    let (store, snapshot) = model.open().await;
    let why = |changes| match changes {
        Changes::Unknown(why) => why,
        known => panic!("{known:?}"),
    };
    assert_eq!(of(snapshot.changes_since(3).await.expect("a log")), BTreeMap::new());
    assert!(why(snapshot.changes_since(4).await.expect("a log")).contains("newer than 3"));
    put(&store, 3, &[json!({"remove": {"path": "f1", "dataChange": true}})]).await;
    assert!(why(snapshot.changes_since(2).await.expect("a log")).contains("of which partition"));
    put(&store, 3, &[json!({"remove": {"path": "f1", "dataChange": false}})]).await;
    assert_eq!(of(snapshot.changes_since(2).await.expect("a log")), BTreeMap::new());
    put(&store, 3, &[json!({"remove": 1})]).await;
    assert!(why(snapshot.changes_since(2).await.expect("a log")).contains("cannot be understood"));
    store.delete(&at(2)).await.expect("deleted");
    assert!(why(snapshot.changes_since(1).await.expect("a log")).contains("commit 2 is no longer"));
}
