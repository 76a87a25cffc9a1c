//! The system call that makes a flushed group survive a power cut. It must return only when the disk has everything
//! that sled wrote before.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

/// Makes flushed writes durable.
pub trait DiskSync: Send + Sync {
    /// Returns once the disk has everything that sled wrote to its files before the call.
    fn sync(&self) -> io::Result<()>;
}

/// `fdatasync` on sled's log file, after any blob files it may point at.
///
/// sled moves a page over 128 KiB into a file of its own, which it never syncs. Only a page of many keys beyond 4 KiB is
/// that large, so normally there are none.
pub struct Fdatasync {
    log: File,
    blobs: Mutex<Blobs>,
}

/// The folder of the blob files, held open: a process that cannot open another file must still make durable what it
/// acknowledges. (A new blob file needs a descriptor, as sled needs one to write it; the frame keeps a reserve for
/// that.)
struct Blobs {
    path: PathBuf,
    folder: File,
    entries: rustix::fs::Dir,
    /// Blob files are written once, so each is synced once.
    synced: BTreeSet<OsString>,
}

impl std::fmt::Debug for Fdatasync {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fdatasync").field("log", &self.log).finish_non_exhaustive()
    }
}

impl Fdatasync {
    /// Opens the log file and blob folder of the sled directory `dir`, which must exist.
    pub fn open(dir: &Path) -> io::Result<Self> {
        let path = dir.join("blobs");
        fs::create_dir_all(&path)?;
        let folder = File::open(&path)?;
        let entries = rustix::fs::Dir::new(folder.try_clone()?)?;
        let blobs = Blobs { path, folder, entries, synced: BTreeSet::new() };
        Ok(Self { log: File::open(dir.join("db"))?, blobs: Mutex::new(blobs) })
    }
}

impl Blobs {
    fn sync(&mut self) -> io::Result<()> {
        let mut present = BTreeSet::new();
        self.entries.rewind();
        while let Some(entry) = self.entries.read() {
            let name = OsStr::from_bytes(entry?.file_name().to_bytes()).to_owned();
            if name == "." || name == ".." {
                continue;
            }
            if !self.synced.contains(&name) {
                match File::open(self.path.join(&name)).and_then(|file| file.sync_data()) {
                    // Its page was rewritten in the meantime, so nothing refers to this file any more.
                    Err(error) if error.kind() == ErrorKind::NotFound => continue,
                    other => other?,
                }
            }
            present.insert(name);
        }
        if present != self.synced {
            self.folder.sync_all()?;
            self.synced = present;
        }
        Ok(())
    }
}

impl DiskSync for Fdatasync {
    fn sync(&self) -> io::Result<()> {
        self.blobs.lock().sync()?;
        self.log.sync_data()
    }
}
