//! Exports, restoring from them, and the incarnation that tells copies and restored stores from the original.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::common::{BY_OWNER, DOCS, NOTES, Note, doc};
use mms_store::{Incarnation, Options, Read, Recovery, Schema, Scope, Store, StoreError};

fn open(dir: &Path, options: Options) -> Result<Store, StoreError> {
    Store::open(dir, Schema::new("exported"), options)
}

fn recovering() -> Options {
    Options { recovery: Recovery::NewestExport, ..Options::default() }
}

async fn put(store: &Store, text: &str) {
    let text = text.to_owned();
    store.commit(move |tx| tx.put(&NOTES, &"n".to_owned(), &Note { text })).await.unwrap();
}

fn text(store: &Store) -> Option<String> {
    store.read(|r| r.get(&NOTES, &"n".to_owned())).unwrap().map(|note| note.text)
}

fn exports(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> =
        fs::read_dir(dir.join("exports")).map_or(Vec::new(), |dir| dir.map(|entry| entry.unwrap().path()).collect());
    files.sort();
    files
}

/// Opens the store, writes, and closes it. Returns its incarnation.
async fn session(dir: &Path, written: &str) -> Incarnation {
    let store = open(dir, Options::default()).unwrap();
    put(&store, written).await;
    let incarnation = store.incarnation();
    store.close().await.unwrap();
    incarnation
}

/// As [`session`], for a directory that was put there on purpose.
async fn accepted(dir: &Path, written: &str) -> Incarnation {
    let store = open(dir, Options { recovery: Recovery::AcceptCopy, ..Options::default() }).unwrap();
    put(&store, written).await;
    let incarnation = store.incarnation();
    store.close().await.unwrap();
    incarnation
}

fn copy(from: &Path, to: &Path) {
    let from = from.join(".");
    fs::create_dir_all(to).unwrap();
    assert!(Command::new("cp").arg("-a").args([from.as_path(), to]).status().unwrap().success());
}

#[tokio::test]
async fn a_lost_store_comes_back_from_its_export_as_a_new_incarnation() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), Options::default()).unwrap();
    let large = "x".repeat(100_000);
    let body = large.clone();
    let fill = store.commit(move |tx| {
        tx.put(&DOCS, &("s".into(), 1), &doc("ann", &[], &body))?;
        (2..3000).try_for_each(|id| tx.put(&DOCS, &("s".into(), id), &doc("bob", &["t"], "small")))
    });
    fill.await.unwrap();
    let (revision, before) = (store.durable_revision(), store.incarnation());
    store.close().await.unwrap();
    fs::remove_dir_all(dir.path().join("sled")).unwrap();
    assert!(matches!(open(dir.path(), Options::default()), Err(StoreError::Missing { .. })), "only when asked for");

    let store = open(dir.path(), recovering()).unwrap();
    assert_eq!(store.durable_revision(), revision);
    assert!(store.incarnation() > before && store.incarnation().id != before.id);
    let anns = store.read(|r| r.index_page(&DOCS, &BY_OWNER, &Scope::exactly(&"ann".to_owned()), None, 9)).unwrap();
    assert_eq!(anns.items, [(("s".to_owned(), 1), doc("ann", &[], &large))]);
    let last = store.read(|r| r.page(&DOCS, &Scope::all().descending(), None, 1)).unwrap();
    assert_eq!(last.items[0].0.1, 2999);
    put(&store, "goes on").await;
    let restored = store.incarnation();
    store.close().await.unwrap();
    // With the recovery option left on, a healthy store is opened as it is.
    let store = open(dir.path(), recovering()).unwrap();
    assert_eq!((store.incarnation(), text(&store).as_deref()), (restored, Some("goes on")));
}

#[tokio::test]
async fn a_garbled_store_is_kept_beside_the_restored_one() {
    let dir = tempfile::tempdir().unwrap();
    let before = session(dir.path(), "one").await;
    fs::write(dir.path().join("sled/db"), "garbage").unwrap();
    let store = open(dir.path(), recovering()).unwrap();
    assert_eq!(text(&store).as_deref(), Some("one"));
    assert!(store.incarnation() > before);
    assert!(dir.path().join("sled.broken/db").exists());
}

#[tokio::test]
async fn a_store_that_fell_behind_its_export_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    session(dir.path(), "one").await;
    let file = exports(dir.path()).remove(0);
    // As if the log had lost the commits from here up to revision 99.
    let later = file.to_str().unwrap().replace("0000000001.mmsexport", "0000000099.mmsexport");
    fs::rename(&file, later).unwrap();
    let Err(StoreError::Corrupt { what }) = open(dir.path(), Options::default()) else { panic!("opened") };
    assert!(what.contains("revision 99"), "{what}");
    assert_eq!(text(&open(dir.path(), recovering()).unwrap()).as_deref(), Some("one"));
}

#[tokio::test]
async fn three_exports_are_kept_and_a_harmed_one_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    for number in 1..=5 {
        session(dir.path(), &number.to_string()).await;
    }
    // Nothing changed, so no further export is written.
    open(dir.path(), Options::default()).unwrap().close().await.unwrap();
    let files = exports(dir.path());
    assert_eq!(files.len(), 3, "{files:?}");
    fs::remove_dir_all(dir.path().join("sled")).unwrap();
    // The newest export is cut off, the one before has a flipped bit.
    let newest = fs::read(&files[2]).unwrap();
    fs::write(&files[2], &newest[..newest.len() - 3]).unwrap();
    let mut flipped = fs::read(&files[1]).unwrap();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    fs::write(&files[1], flipped).unwrap();
    let store = open(dir.path(), recovering()).unwrap();
    assert_eq!(text(&store).as_deref(), Some("3"));
    store.close().await.unwrap();

    for file in exports(dir.path()) {
        fs::write(file, "MMSEXP1\n").unwrap();
    }
    fs::remove_dir_all(dir.path().join("sled")).unwrap();
    let Err(StoreError::NoUsableExport { detail, .. }) = open(dir.path(), recovering()) else { panic!("restored") };
    assert!(detail.contains("is incomplete"), "{detail}");
}

#[tokio::test]
async fn a_changing_store_is_exported_while_it_runs() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), Options { export_every: Duration::ZERO, ..Options::default() }).unwrap();
    for number in 0..6 {
        put(&store, &number.to_string()).await;
    }
    // The export is written after the acknowledgement; one more commit waits until it is complete.
    store.commit(|tx| tx.get(&NOTES, &"n".to_owned())).await.unwrap();
    let files = exports(dir.path());
    assert!(files.iter().any(|file| file.to_str().unwrap().ends_with("-00000000000000000006.mmsexport")), "{files:?}");
}

#[tokio::test]
async fn the_same_directory_is_the_same_incarnation() {
    let root = tempfile::tempdir().unwrap();
    let (home, moved) = (root.path().join("home"), root.path().join("moved"));
    let first = session(&home, "1").await;
    assert_eq!(session(&home, "2").await, first);
    fs::rename(&home, &moved).unwrap();
    assert_eq!(session(&moved, "3").await, first);
}

#[tokio::test]
async fn a_copy_is_a_new_incarnation_and_the_original_is_not() {
    let root = tempfile::tempdir().unwrap();
    let (home, copied) = (root.path().join("home"), root.path().join("copied"));
    let first = session(&home, "1").await;
    copy(&home, &copied);
    let Err(StoreError::Doubtful { what, .. }) = open(&copied, Options::default()) else { panic!("unasked") };
    assert!(what.contains("last opened in"), "{what}");
    let second = accepted(&copied, "2").await;
    assert!(second.number > first.number && second.id != first.id);
    assert_eq!(session(&copied, "3").await, second);
    assert_eq!(session(&home, "4").await, first);
}

#[tokio::test]
async fn a_backup_copied_back_over_the_original_is_a_new_incarnation() {
    let root = tempfile::tempdir().unwrap();
    let (home, backup) = (root.path().join("home"), root.path().join("backup"));
    let first = session(&home, "old").await;
    copy(&home, &backup);
    assert_eq!(session(&home, "new").await, first);
    // Put back in place, file by file: files that exist in both keep their inodes.
    for name in ["sled", "exports"] {
        fs::remove_dir_all(home.join(name)).unwrap();
    }
    copy(&backup, &home);
    assert!(matches!(open(&home, Options::default()), Err(StoreError::Doubtful { .. })));
    let restored = accepted(&home, "newer").await;
    assert!(restored.number > first.number);
    // Put back once more: the incarnation must be greater than any that this directory has had.
    for name in ["sled", "exports"] {
        fs::remove_dir_all(home.join(name)).unwrap();
    }
    copy(&backup, &home);
    assert!(accepted(&home, "newest").await.number > restored.number);
}

#[tokio::test]
async fn a_database_behind_its_manifest_is_refused_and_the_loss_is_told() {
    let dir = tempfile::tempdir().unwrap();
    session(dir.path(), "exported").await;
    let (older, newer) = (dir.path().join("sled"), dir.path().join("elsewhere"));
    copy(&older, &newer);
    let store = open(dir.path(), Options::default()).unwrap();
    put(&store, "acknowledged").await;
    // As if the process were killed: no export has the last commit.
    let exported = exports(dir.path());
    store.close().await.unwrap();
    for file in exports(dir.path()).into_iter().filter(|file| !exported.contains(file)) {
        fs::remove_file(file).unwrap();
    }
    fs::remove_dir_all(&older).unwrap();
    fs::rename(&newer, &older).unwrap();
    for recovery in [Recovery::Refuse, Recovery::AcceptCopy] {
        let Err(StoreError::Corrupt { what }) = open(dir.path(), Options { recovery, ..Options::default() }) else {
            panic!("less than was acknowledged is served")
        };
        assert!(what.contains("its manifest knows revision 2"), "{what}");
    }
    assert_eq!(text(&open(dir.path(), recovering()).unwrap()).as_deref(), Some("exported"));
}

#[tokio::test]
async fn a_lost_or_damaged_manifest_is_refused_until_the_database_is_accepted() {
    for damage in [None, Some(vec![0xA5; 32 << 10])] {
        let dir = tempfile::tempdir().unwrap();
        let before = session(dir.path(), "kept").await;
        let file = dir.path().join("manifest");
        match damage {
            None => fs::remove_file(&file).unwrap(),
            Some(bytes) => fs::write(&file, bytes).unwrap(),
        }
        let Err(error) = open(dir.path(), Options::default()) else { panic!("unasked") };
        assert!(
            error.to_string().contains("manifest") && error.to_string().contains("--recover accept-copy"),
            "{error}"
        );
        let after = accepted(dir.path(), "goes on").await;
        assert!(after.number > before.number);
        assert_eq!(text(&open(dir.path(), Options::default()).unwrap()).as_deref(), Some("goes on"));
    }
}

#[tokio::test]
async fn exports_of_an_earlier_incarnation_are_never_pruned() {
    let dir = tempfile::tempdir().unwrap();
    session(dir.path(), "one").await;
    let old = exports(dir.path());
    fs::remove_dir_all(dir.path().join("sled")).unwrap();
    open(dir.path(), recovering()).unwrap().close().await.unwrap();
    for number in 0..6 {
        session(dir.path(), &number.to_string()).await;
    }
    let kept = exports(dir.path());
    assert!(old.iter().all(|file| kept.contains(file)) && kept.len() == old.len() + 3, "{kept:?}");
}

#[tokio::test]
async fn nobody_else_can_look_into_a_store() {
    use std::os::unix::fs::PermissionsExt;
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("store");
    fs::create_dir(&dir).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
    session(&dir, "one").await;
    for folder in [dir.clone(), dir.join("exports")] {
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700, "{}", folder.display());
    }
}
