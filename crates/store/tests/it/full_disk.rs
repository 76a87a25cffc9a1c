//! A full disk: writes are refused, nothing acknowledged is lost, reads go on, writes resume by themselves, and a store
//! that starts on a full disk serves reads. The disk is a small tmpfs in a mount namespace of its own.
#![allow(clippy::print_stdout, reason = "a test that cannot run says so")]
#![cfg(target_os = "linux")]

use std::env;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::common::{NOTES, Note};
use mms_store::{Options, Read, Schema, Store, StoreError};

const DIR: &str = "MMS_STORE_FULL_CHILD_DIR";
const PATIENCE: Duration = Duration::from_secs(30);

fn open(dir: &Path) -> Store {
    let options = Options { min_free_bytes: 4 << 20, ..Options::default() };
    Store::open(dir.join("store"), Schema::new("full"), options).unwrap()
}

async fn put(store: &Store, number: u64) -> Result<(), StoreError> {
    let note = Note { text: number.to_string().repeat(20_000) };
    store.commit(move |tx| tx.put(&NOTES, &number.to_string(), &note)).await
}

fn assert_has(store: &Store, upto: u64) {
    for number in 0..upto {
        let found = store.read(|r| r.get(&NOTES, &number.to_string())).unwrap();
        assert_eq!(found.map(|note| note.text.len()), Some(number.to_string().len() * 20_000), "{number}");
    }
}

/// Takes all space that is left.
fn fill(dir: &Path) {
    let mut file = File::create(dir.join("filler")).unwrap();
    while file.write_all(&[7; 4096]).is_ok() {}
    while file.write_all(&[7]).is_ok() {}
}

async fn room_again(store: &Store) {
    let mut full = store.full();
    tokio::time::timeout(PATIENCE, full.wait_for(|full| !full)).await.expect("it does not see the space").unwrap();
}

/// The whole test. Runs only in the child process, whose directory is the small disk.
#[tokio::test]
async fn child() {
    let Some(dir) = env::var_os(DIR) else { return };
    let dir = Path::new(&dir);
    fs::write(dir.join("filler"), vec![7; 8 << 20]).unwrap();
    let store = open(dir);
    let (mut number, begun) = (0, Instant::now());
    let error = loop {
        assert!(begun.elapsed() < PATIENCE, "the disk does not fill");
        match put(&store, number).await {
            Ok(()) => number += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StoreError::DiskFull { .. }), "{error}");
    assert!(*store.full().borrow() && number > 10, "{number}");
    assert_has(&store, number);

    fs::remove_file(dir.join("filler")).unwrap();
    room_again(&store).await;
    put(&store, number).await.unwrap();
    number += 1;

    // Not a byte is left for an export, which closing would write.
    fill(dir);
    assert!(matches!(put(&store, number).await, Err(StoreError::DiskFull { .. })));
    store.close().await.unwrap();
    for _ in 0..3 {
        let store = open(dir);
        assert_has(&store, number);
        assert!(matches!(put(&store, number).await, Err(StoreError::DiskFull { .. })));
        assert!(!dir.join("store/exports/partial").exists());
        // The reserve that opening gave up is taken by others at once.
        store.close().await.unwrap();
    }
    let store = open(dir);
    fs::remove_file(dir.join("filler")).unwrap();
    room_again(&store).await;
    put(&store, number).await.unwrap();
    store.close().await.unwrap();
    assert_has(&open(dir), number + 1);
    println!("\nDONE {number}");
}

/// After a failed write only a database that is written anew is trusted. Runs only in the child process.
#[tokio::test]
async fn child_after_a_failed_write() {
    let Some(dir) = env::var_os(DIR) else { return };
    let dir = Path::new(&dir);
    let store = open(dir);
    for number in 0..20 {
        put(&store, number).await.unwrap();
    }
    store.close().await.unwrap();
    // The mark that a store leaves when it stops after a failed write: see `failing_disk`.
    let suspect = dir.join("store/sled.suspect");
    File::create(&suspect).unwrap();
    fill(dir);
    for _ in 0..2 {
        let options = Options { min_free_bytes: 4 << 20, ..Options::default() };
        let refused = Store::open(dir.join("store"), Schema::new("full"), options).err().expect("it must not start");
        let text = refused.to_string();
        assert!(matches!(refused, StoreError::NoRoomToRebuild { .. }), "{text}");
        assert!(text.contains("free some") && text.contains("nothing acknowledged is lost"), "{text}");
        assert!(suspect.exists(), "it is trusted without having been written anew");
    }
    fs::remove_file(dir.join("filler")).unwrap();
    let store = open(dir);
    assert!(!suspect.exists());
    assert_has(&store, 20);
    put(&store, 20).await.unwrap();
    println!("\nDONE");
}

/// Runs one of the two tests above on a small disk.
fn on_a_small_disk(child: &str) {
    let dir = tempfile::tempdir().unwrap();
    let script =
        format!("mount -t tmpfs -o size=40m none \"$1\" && exec \"$2\" --exact full_disk::{child} --nocapture");
    let mut command = Command::new("unshare");
    command.args(["-Urm", "sh", "-c", &script, "sh"]).arg(dir.path()).arg(env::current_exe().unwrap());
    let output = match command.env(DIR, dir.path()).output() {
        Ok(output) if !String::from_utf8_lossy(&output.stdout).contains("running 1 test") => {
            return println!(
                "SKIPPED full_disk: no mount namespace: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(output) => output,
        Err(error) => return println!("SKIPPED full_disk: no unshare: {error}"),
    };
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("\nDONE"), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn it_loses_nothing_serves_reads_and_resumes() {
    on_a_small_disk("child");
}

#[test]
fn a_store_whose_last_write_failed_says_what_room_it_needs() {
    on_a_small_disk("child_after_a_failed_write");
}

/// A failed export leaves no file behind, and the file of an interrupted one is removed at the next start.
#[tokio::test]
async fn a_failed_export_leaves_no_partial_file() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Schema::new("full"), Options::default()).unwrap();
    put(&store, 1).await.unwrap();
    let exports = dir.path().join("exports");
    fs::create_dir(&exports).unwrap();
    // A folder takes the name of the file that an export is first written to.
    fs::create_dir_all(exports.join("partial")).unwrap();
    assert!(store.close().await.is_err());
    fs::remove_dir(exports.join("partial")).unwrap();
    fs::write(exports.join("partial"), "half").unwrap();
    let store = Store::open(dir.path(), Schema::new("full"), Options::default()).unwrap();
    assert!(!exports.join("partial").exists());
    store.close().await.unwrap();
    assert_eq!(fs::read_dir(exports).unwrap().count(), 1);
}
