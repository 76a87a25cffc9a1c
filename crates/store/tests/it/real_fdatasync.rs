//! The system call itself, observed from outside: a writer process runs with `fdatasync.c` preloaded. Before each
//! acknowledgement, an fdatasync of its database must have begun after the commit ran, and have succeeded.
#![allow(clippy::print_stdout, reason = "helpers are not seen as tests; a test that cannot run says so")]
#![cfg(target_os = "linux")]

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use crate::common::{NOTES, Note, shim};
use mms_store::{DiskSync, Options, Schema, Store};

const DIR: &str = "MMS_STORE_SYNC_CHILD_DIR";
const LOG: &str = "MMS_SYNC_LOG";
/// If set, the child's store does not sync at all.
const WITHOUT: &str = "MMS_STORE_SYNC_CHILD_WITHOUT";
const WRITERS: u64 = 4;
const COMMITS: u64 = 25;

struct Without;

impl DiskSync for Without {
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

/// The writer. Does nothing unless it runs as the child process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let (Some(dir), Some(log)) = (env::var_os(DIR), env::var_os(LOG)) else { return };
    let log = Arc::new(OpenOptions::new().append(true).open(log).unwrap());
    let tell = |log: &Arc<File>, line: String| (&**log).write_all(line.as_bytes()).unwrap();
    let options = match env::var_os(WITHOUT) {
        Some(_) => Options::default().around_disk_sync(|_| Box::new(Without)),
        None => Options::default(),
    };
    let store = Store::open(dir, Schema::new("synced"), options).unwrap();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (store, log) = (store.clone(), Arc::clone(&log));
            tokio::spawn(async move {
                for number in 0..COMMITS {
                    let inner = Arc::clone(&log);
                    let commit = store.commit(move |tx| {
                        tell(&inner, format!("ran {writer}/{number}\n"));
                        tx.put(&NOTES, &format!("{writer}/{number}"), &Note { text: "x".repeat(100) })
                    });
                    commit.await.unwrap();
                    tell(&log, format!("acknowledged {writer}/{number}\n"));
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
}

/// The events of a writer process and its system calls, in order.
fn journal(shim: &Path, without: bool) -> (PathBuf, String) {
    let dir = tempfile::tempdir().unwrap();
    let (log, data) = (dir.path().join("log"), dir.path().join("data"));
    File::create(&log).unwrap();
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "real_fdatasync::child"]).env("LD_PRELOAD", shim).env(DIR, &data).env(LOG, &log);
    if without {
        command.env(WITHOUT, "1");
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    (data.canonicalize().unwrap().join("sled/db"), fs::read_to_string(&log).unwrap())
}

/// The number of acknowledgements, and the first one that no fdatasync of `db` covers.
fn judge(db: &Path, journal: &str) -> (u64, Option<String>) {
    let (mut waiting, mut begun, mut safe) = (Vec::new(), Vec::new(), Vec::new());
    let mut acknowledged = 0;
    let db = db.display();
    let (begins, synced) = (format!("begun 0 {db}"), format!("synced 0 {db}"));
    for line in journal.lines() {
        if let Some(commit) = line.strip_prefix("ran ") {
            waiting.push(commit);
        } else if line == begins {
            begun.append(&mut waiting);
        } else if line == synced {
            safe.append(&mut begun);
        } else if let Some(commit) = line.strip_prefix("acknowledged ") {
            acknowledged += 1;
            if !safe.contains(&commit) {
                return (acknowledged, Some(commit.to_owned()));
            }
        }
    }
    (acknowledged, None)
}

#[test]
fn the_system_call_returns_before_every_acknowledgement() {
    let folder = tempfile::tempdir().unwrap();
    let shim = match shim(folder.path()) {
        Ok(shim) => shim,
        Err(why) => return println!("SKIPPED the_system_call_returns_before_every_acknowledgement: {why}"),
    };
    let (db, seen) = journal(&shim, false);
    assert_eq!(judge(&db, &seen), (WRITERS * COMMITS, None), "{seen}");
    // Shows that a sync of another file, or none at all, would be noticed.
    assert!(judge(&db.with_file_name("elsewhere"), &seen).1.is_some());
    let (db, without) = journal(&shim, true);
    let (_, missing) = judge(&db, &without);
    assert!(missing.is_some(), "{without}");
}
