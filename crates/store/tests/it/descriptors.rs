//! A process that has no file descriptor left still makes durable what it acknowledges. Runs in a child process,
//! because the limit applies to a whole process.
#![allow(clippy::print_stdout, reason = "helpers are not seen as tests; one that fails is a failed test")]

use std::env;
use std::fs::File;
use std::process::Command;

use crate::common::{NOTES, Note};
use mms_store::{Options, Read, Schema, Store};

const DIR: &str = "MMS_STORE_DESCRIPTORS_CHILD_DIR";

/// Takes every descriptor there is, then writes. Runs only in the child process.
#[tokio::test]
async fn child() {
    let Some(dir) = env::var_os(DIR) else { return };
    let store = Store::open(&dir, Schema::new("descriptors"), Options::default()).unwrap();
    let mut taken = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        taken.push(file);
    }
    for number in 0..20_u64 {
        let note = Note { text: number.to_string() };
        store.commit(move |tx| tx.put(&NOTES, &number.to_string(), &note)).await.unwrap();
    }
    let found = store.read(|r| r.get(&NOTES, &"19".to_owned())).unwrap();
    assert_eq!(found, Some(Note { text: "19".into() }));
    println!("\nWROTE with {} descriptors taken", taken.len());
    drop(taken);
    store.close().await.unwrap();
}

#[test]
fn a_process_without_one_left_goes_on_writing() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 128 && exec \"$1\" --exact descriptors::child --nocapture", "sh"]);
    let output = command.arg(env::current_exe().unwrap()).env(DIR, dir.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("\nWROTE"), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
}
