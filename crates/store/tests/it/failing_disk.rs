//! A disk that answers EIO to a write or an fdatasync: the store stops, never repeats the call, and the next start has
//! every acknowledged write. The writer is a process with `fdatasync.c` preloaded.
#![allow(clippy::print_stdout, reason = "helpers are not seen as tests; a test that cannot run says so")]
#![cfg(target_os = "linux")]

use std::env;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;

use crate::common::{NOTES, Note, shim};
use mms_store::{Options, Read, Schema, Store, StoreError};

const DIR: &str = "MMS_STORE_EIO_CHILD_DIR";
const WRITES: u64 = 40;

fn text(number: u64) -> String {
    format!("{number} ").repeat(2000)
}

async fn put(store: &Store, number: u64) -> Result<(), StoreError> {
    store.commit(move |tx| tx.put(&NOTES, &number.to_string(), &Note { text: text(number) })).await
}

/// Writes, and makes the disk fail after half of the writes. Runs only in the child process.
#[tokio::test]
async fn child() {
    let (Some(dir), Some(fail)) = (env::var_os(DIR), env::var_os("MMS_FAIL_FILE")) else { return };
    let store = Store::open(dir, Schema::new("eio"), Options::default()).unwrap();
    let mut acknowledged = 0;
    for number in 0..WRITES {
        if number == WRITES / 2 {
            File::create(&fail).unwrap();
        }
        match put(&store, number).await {
            Ok(()) => acknowledged += 1,
            Err(error) => {
                assert!(matches!(error, StoreError::Io { .. } | StoreError::Stopped { .. }), "{error}");
                break;
            }
        }
    }
    assert!(matches!(put(&store, 99).await, Err(StoreError::Stopped { .. })));
    assert!(matches!(store.read(|r| r.get(&NOTES, &"0".to_owned())), Err(StoreError::Stopped { .. })));
    let cause = store.keep(std::future::pending()).await.unwrap_err();
    std::io::stdout().write_all(format!("\nACKNOWLEDGED {acknowledged} {cause}\n").as_bytes()).unwrap();
    // As a service's process does: it exits, whatever sled's threads still do.
    drop(store);
    std::process::exit(0);
}

fn trial(shim: &Path, variable: &str, told: &str) {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    File::create(at("log")).unwrap();
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "failing_disk::child", "--nocapture"]).env("LD_PRELOAD", shim);
    command.env("MMS_SYNC_LOG", at("log")).env(variable, at("fail"));
    let output = command.env(DIR, at("data")).env("MMS_FAIL_FILE", at("fail")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let line = said.lines().find_map(|line| line.strip_prefix("ACKNOWLEDGED "));
    let line = line.unwrap_or_else(|| panic!("{variable}: {said}\n{}", String::from_utf8_lossy(&output.stderr)));
    let acknowledged: u64 = line.split(' ').next().unwrap().parse().unwrap();
    assert!(acknowledged >= WRITES / 2, "{line}");

    let log = fs::read_to_string(at("log")).unwrap();
    let failed = log.lines().filter(|line| line.starts_with(told) && line.ends_with("/sled/db")).count();
    assert!(failed >= 1, "{variable}: nothing failed: {log}");
    if told == "failed" {
        assert_eq!(failed, 1, "{variable}: the same fdatasync was tried again: {log}");
    }
    let after = log.split(told).last().unwrap();
    assert!(!after.contains("begun 0"), "{variable}: a sync after the failure: {log}");

    fs::remove_file(at("fail")).unwrap();
    let store = Store::open(at("data"), Schema::new("eio"), Options::default()).unwrap();
    for number in 0..acknowledged {
        let found = store.read(|r| r.get(&NOTES, &number.to_string())).unwrap();
        assert_eq!(found.map(|note| note.text), Some(text(number)), "{variable}: {number} of {acknowledged}");
    }
}

#[test]
fn it_ends_the_store_and_loses_nothing_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    match shim(folder.path()) {
        Ok(shim) => {
            trial(&shim, "MMS_SYNC_FAIL", "failed");
            trial(&shim, "MMS_WRITE_FAIL", "unwritten");
        }
        Err(why) => println!("SKIPPED it_ends_the_store_and_loses_nothing_acknowledged: {why}"),
    }
}
