//! Files of a data directory. Owns the lock, and syncs a directory whenever its entries were changed.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Result, StoreError};

/// Creates a directory that only its owner may enter; of an existing one, sets the permissions.
pub(crate) fn make_dir(path: &Path) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(StoreError::io("create directory", path))?;
    fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(StoreError::io("close to others", path))
}

/// A data directory whose lock this process holds.
pub(crate) struct Directory {
    path: PathBuf,
    /// The system releases the lock when the file is dropped or the process dies.
    _lock: File,
}

impl Directory {
    /// Creates the directory if it does not exist, and takes its lock.
    pub fn lock(path: &Path) -> Result<Self> {
        make_dir(path)?;
        let path = path.canonicalize().map_err(StoreError::io("resolve", path))?;
        if let Some(parent) = path.parent() {
            sync_dir(parent)?;
        }
        let file = path.join("lock");
        let opened = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&file);
        let mut lock = opened.map_err(StoreError::io("open", &file))?;
        match try_for_a_while(&lock) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                lock.read_to_string(&mut holder).map_err(StoreError::io("read", &file))?;
                let holder = if holder.is_empty() { "an unnamed process".into() } else { holder.trim().to_owned() };
                return Err(StoreError::InUse { dir: path, holder });
            }
            Err(TryLockError::Error(error)) => return Err(StoreError::io("lock", &file)(error)),
        }
        lock.set_len(0)
            .and_then(|()| writeln!(lock, "process {}", std::process::id()))
            .map_err(StoreError::io("write", &file))?;
        Ok(Self { path, _lock: lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of the live database.
    pub fn live(&self) -> PathBuf {
        self.path.join("sled")
    }

    pub fn exports(&self) -> PathBuf {
        self.path.join("exports")
    }

    /// Whether no store has ever been in this directory: only then may an empty one be created.
    pub fn is_unused(&self) -> Result<bool> {
        let ours = |name: &String| {
            ["sled", "identity.", "manifest"].iter().any(|ours| name.starts_with(ours)) || name == "exports"
        };
        Ok(!names(&self.path)?.iter().any(ours))
    }
}

/// Retries a held lock for about a second. A lock that was just released can look held for a moment: a process that
/// another thread is starting has copies of all our descriptors until it has become the new program.
fn try_for_a_while(lock: &File) -> Result<(), TryLockError> {
    const TRIES: u32 = 50;
    const PAUSE: Duration = Duration::from_millis(20);
    for _ in 1..TRIES {
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(PAUSE),
            answer => return answer,
        }
    }
    lock.try_lock()
}

/// Makes the entries of a directory durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(StoreError::io("sync directory", dir))
}

/// File names; none for a directory that does not exist. Names that are not UTF-8 are not ours, and left out.
pub(crate) fn names(dir: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(StoreError::io("list", dir))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let name = entry.map_err(StoreError::io("list", dir))?.file_name();
        found.extend(name.into_string().ok());
    }
    Ok(found)
}

/// Removes the files of `dir` whose names match.
pub(crate) fn remove_matching(dir: &Path, matches: impl Fn(&str) -> bool) -> Result<()> {
    let mut removed = false;
    for name in names(dir)?.into_iter().filter(|name| matches(name)) {
        let path = dir.join(name);
        fs::remove_file(&path).map_err(StoreError::io("remove", &path))?;
        removed = true;
    }
    if removed { sync_dir(dir) } else { Ok(()) }
}

/// Removes a directory and everything in it, if it exists.
pub(crate) fn remove_tree(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other.map_err(StoreError::io("remove", dir)),
    }
}

pub(crate) fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(StoreError::io("rename", from))
}
