//! The call that makes a flushed group survive a power cut. Owns exactly that: it must return only when the disk has
//! what sled wrote before.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

/// Makes what was flushed durable.
pub trait DiskSync: Send + Sync {
    /// Returns once the disk has everything that sled wrote to its files before the call.
    fn sync(&self) -> io::Result<()>;
}

/// `fdatasync` on sled's log file, after any blob files it may point at.
///
/// sled moves a page over 128 KiB into a file of its own, which it never syncs. Only a page of many keys beyond 4 KiB is
/// that large, so normally there are none.
#[derive(Debug)]
pub struct Fdatasync {
    log: File,
    blobs: PathBuf,
    /// Blob files are written once, so each is synced once.
    synced: Mutex<BTreeSet<OsString>>,
}

impl Fdatasync {
    /// For the sled directory `dir`, which exists.
    pub fn open(dir: &Path) -> io::Result<Self> {
        Ok(Self { log: File::open(dir.join("db"))?, blobs: dir.join("blobs"), synced: Mutex::default() })
    }

    fn sync_blobs(&self) -> io::Result<()> {
        let entries = match fs::read_dir(&self.blobs) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut synced = self.synced.lock();
        let mut present = BTreeSet::new();
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            if !synced.contains(&name) {
                match File::open(entry.path()).and_then(|file| file.sync_data()) {
                    // Its page was rewritten meanwhile, so nothing points at it any more.
                    Err(error) if error.kind() == ErrorKind::NotFound => continue,
                    other => other?,
                }
            }
            present.insert(name);
        }
        if present != *synced {
            File::open(&self.blobs)?.sync_all()?;
            *synced = present;
        }
        Ok(())
    }
}

impl DiskSync for Fdatasync {
    fn sync(&self) -> io::Result<()> {
        self.sync_blobs()?;
        self.log.sync_data()
    }
}
