//! A writer process is killed with SIGKILL at random moments: no acknowledged commit is lost, none is torn, and the
//! store opens every time, also when it is being rebuilt or when commits are larger than what sled writes at once.
//! `MMS_STORE_KILLS` sets the number of kills (default 10).
#![allow(clippy::print_stdout, reason = "helpers are not seen as tests; one that fails is a failed test")]

use std::collections::BTreeMap;
use std::env;
use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::common::{BY_OWNER, DOCS, Doc, NOTES, Note, doc};
use mms_store::{MAX_KEY_BYTES, Options, Read, Schema, Scope, Store, StoreError};

const CHILD_DIR: &str = "MMS_STORE_CRASH_CHILD_DIR";
/// If set, the child writes large records.
const LARGE: &str = "MMS_STORE_CRASH_CHILD_LARGE";
/// Several of sled's segments, which have 512 KiB.
const LARGE_BYTES: usize = 3 << 20;
const WRITERS: u64 = 4;

fn open(dir: &Path) -> Result<Store, StoreError> {
    // A low threshold, so that some kills happen during a rebuild.
    let options = Options { rebuild_above: 4 << 20, ..Options::default() };
    Store::open(dir, Schema::new("crash"), options)
}

fn record(writer: u64, number: u64) -> Doc {
    // Every seventh record is large enough to be stored in pieces.
    let size = if number.is_multiple_of(7) { 9000 } else { 200 };
    doc(&writer.to_string(), &[], &number.to_string().repeat(size / 4))
}

fn newest(store: &Store, writer: u64) -> Option<u64> {
    let mine = Scope::prefix(&(writer.to_string(),)).descending();
    store.read(|r| r.page(&DOCS, &mine, None, 1)).unwrap().items.first().map(|(key, _)| key.1)
}

/// The writer. Does nothing unless it runs as the child process.
#[test]
fn crash_child() {
    let Some(dir) = env::var_os(CHILD_DIR) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let store = open(Path::new(&dir)).unwrap();
        if env::var_os(LARGE).is_some() {
            return write_large_forever(&store).await;
        }
        let writers: Vec<_> = (0..WRITERS).map(|writer| tokio::spawn(write_forever(store.clone(), writer))).collect();
        for writer in writers {
            writer.await.unwrap();
        }
    });
}

/// A long key that every eleventh commit of a writer overwrites, one of forty: pages of such keys exceed 128 KiB, and
/// sled keeps those in files of their own.
fn long_key(writer: u64, number: u64) -> String {
    let name = format!("long/{writer}/{:02}/", number / 11 % 40);
    let missing = MAX_KEY_BYTES - 2 - name.len();
    name + &"x".repeat(missing)
}

async fn write_forever(store: Store, writer: u64) {
    let mut number = newest(&store, writer).map_or(0, |newest| newest + 1);
    loop {
        let commit = store.commit(move |tx| {
            tx.put(&DOCS, &(writer.to_string(), number), &record(writer, number))?;
            tx.put(&NOTES, &format!("newest/{writer}"), &Note { text: number.to_string() })?;
            if number.is_multiple_of(11) {
                tx.put(&NOTES, &long_key(writer, number), &Note { text: number.to_string() })?;
            }
            // Records that are overwritten all the time, so that sled has segments to move.
            let text = number.to_string().repeat(300);
            tx.put(&NOTES, &format!("churn/{}", number % 50), &Note { text })
        });
        commit.await.unwrap();
        let line = format!("\nacknowledged {writer} {number}\n");
        std::io::stdout().write_all(line.as_bytes()).unwrap();
        number += 1;
    }
}

fn large(number: u64) -> Note {
    // Each piece of the text shows which record it belongs to.
    let word = format!("{number:015} ");
    Note { text: word.repeat(LARGE_BYTES / word.len()) }
}

async fn write_large_forever(store: &Store) {
    let newest = store.read(|r| r.get(&NOTES, &"newest".to_owned())).unwrap();
    let mut number = newest.map_or(0, |newest| newest.text.parse::<u64>().unwrap() + 1);
    loop {
        let commit = store.commit(move |tx| {
            tx.put(&NOTES, &"large".to_owned(), &large(number))?;
            tx.put(&NOTES, &"newest".to_owned(), &Note { text: number.to_string() })
        });
        commit.await.unwrap();
        std::io::stdout().write_all(format!("\nacknowledged 0 {number}\n").as_bytes()).unwrap();
        number += 1;
    }
}

/// Lets a child write until it has acknowledged `count` commits, kills it, and returns each writer's newest one.
fn round(dir: &Path, count: u64, large: bool) -> BTreeMap<u64, u64> {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "crash::crash_child", "--nocapture"])
        .env(CHILD_DIR, dir)
        .envs(large.then_some((LARGE, "1")))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut acknowledged = BTreeMap::new();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut read = |acknowledged: &mut BTreeMap<u64, u64>| {
        let line = lines.next()?.ok()?;
        if let Some((writer, number)) = line.strip_prefix("acknowledged ").and_then(|rest| rest.split_once(' ')) {
            acknowledged.insert(writer.parse::<u64>().unwrap(), number.parse::<u64>().unwrap());
        }
        Some(())
    };
    let mut seen = 0;
    while seen < count {
        read(&mut acknowledged).expect("the writer ended by itself: its store did not open");
        seen += 1;
    }
    if large {
        // So that the kill hits the middle of a commit or a rebuild, which take some ten milliseconds each.
        std::thread::sleep(Duration::from_micros(RandomState::new().hash_one(count) % 60_000));
    }
    child.kill().unwrap();
    // What was already in the pipe was acknowledged too.
    while read(&mut acknowledged).is_some() {}
    child.wait().unwrap();
    acknowledged
}

fn verify(store: &Store, acknowledged: &BTreeMap<u64, u64>) -> u64 {
    let mut rows = 0;
    for writer in 0..WRITERS {
        let found = newest(store, writer);
        assert!(
            found >= acknowledged.get(&writer).copied(),
            "writer {writer}: {acknowledged:?} acknowledged, {found:?} found"
        );
        let note = store.read(|r| r.get(&NOTES, &format!("newest/{writer}"))).unwrap();
        assert_eq!(note.map(|note| note.text), found.map(|number| number.to_string()), "a commit was torn");
        if let Some(number) = found.map(|found| found - found % 11) {
            let long = store.read(|r| r.get(&NOTES, &long_key(writer, number))).unwrap();
            assert_eq!(long.map(|note| note.text), Some(number.to_string()), "a long key was lost");
        }
        let (mut after, mut expected) = (None, 0);
        loop {
            let page =
                store.read(|r| r.page(&DOCS, &Scope::prefix(&(writer.to_string(),)), after.as_ref(), 500)).unwrap();
            for (key, found) in page.items {
                assert_eq!((key.1, &found), (expected, &record(writer, expected)));
                expected += 1;
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(expected, found.map_or(0, |newest| newest + 1), "writer {writer} has gaps");
        let (mut after, mut filed) = (None, 0);
        loop {
            let scope = Scope::exactly(&writer.to_string());
            let page = store.read(|r| r.index_keys(&DOCS, &BY_OWNER, &scope, after.as_ref(), 1000)).unwrap();
            filed += page.items.len() as u64;
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(filed, expected, "the index of writer {writer} is out of step");
        rows += expected;
    }
    rows
}

/// Identifies the database by its file: a rebuilt one is another file.
fn database(dir: &Path) -> Option<u64> {
    std::fs::metadata(dir.join("sled/db")).ok().map(|db| std::os::unix::fs::MetadataExt::ino(&db))
}

#[test]
fn kills_lose_no_acknowledged_commit() {
    let kills: u64 = env::var("MMS_STORE_KILLS").map_or(10, |kills| kills.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut rows = 0;
    for kill in 0..kills {
        // Every fifth child is killed around its start, the others after a random number of lines.
        let random = RandomState::new().hash_one(kill);
        let lines = if kill % 5 == 4 { random % 4 } else { 10 + random % 600 };
        let acknowledged = round(dir.path(), lines, false);
        let store = open(dir.path()).unwrap_or_else(|error| panic!("after kill {kill}: {error}"));
        rows = verify(&store, &acknowledged);
        runtime.block_on(store.close()).unwrap();
    }
    println!("{kills} kills, {rows} commits, 0 lost, 0 torn, 0 failed opens");
}

#[test]
fn kills_tear_no_commit_of_several_megabytes() {
    let kills: u64 = env::var("MMS_STORE_KILLS").map_or(10, |kills| kills.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (mut newest, mut rebuilds) = (None, 0);
    for kill in 0..kills {
        // Every fifth child is killed around its start, which is when the database is rebuilt.
        let random = RandomState::new().hash_one(kill);
        let acknowledged = round(dir.path(), if kill % 5 == 4 { 0 } else { 6 + 3 * (random % 6) }, true);
        let before = database(dir.path());
        let store = open(dir.path()).unwrap_or_else(|error| panic!("after kill {kill}: {error}"));
        rebuilds += u64::from(before != database(dir.path()));
        let note = store.read(|r| r.get(&NOTES, &"newest".to_owned())).unwrap();
        newest = note.map(|note| note.text.parse::<u64>().unwrap());
        assert!(newest >= acknowledged.get(&0).copied(), "{acknowledged:?} acknowledged, {newest:?} found");
        let found = store.read(|r| r.get(&NOTES, &"large".to_owned())).unwrap();
        assert!(found == newest.map(large), "the record of {newest:?} is torn");
        runtime.block_on(store.close()).unwrap();
    }
    assert!(rebuilds > 0 || kills < 5, "{kills} kills, and none before a rebuild");
    println!("{kills} kills, {newest:?} is the newest commit, {rebuilds} rebuilds, 0 lost, 0 torn, 0 failed opens");
}
