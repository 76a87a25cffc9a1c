//! Space on the disk. Owns when a write is refused because too little is left, and the reserve that lets a store open
//! on a full disk.
//!
//! sled does not survive a write that fails for want of space. So the store checks the free space before it writes, and
//! leaves enough for what sled writes in addition.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::error::{Result, StoreError};

const RESERVE: &str = "reserve";
/// What opening a store writes: snapshot, identity, sentinel. The snapshot grows with the database.
const RESERVE_BYTES: u64 = 4 << 20;
const RESERVE_SHARE: u64 = 32;
/// sled writes the change of a page more than once: when it is made, and when the page is moved.
const FACTOR: u64 = 4;

/// The file system of a store, and the bytes that must stay free on it.
#[derive(Debug)]
pub(crate) struct Space {
    dir: PathBuf,
    floor: u64,
}

impl Space {
    /// For the store in `dir`, which keeps `floor` bytes free.
    pub fn of(dir: &Path, floor: u64) -> Self {
        Self { dir: dir.to_owned(), floor }
    }

    /// Refuses a write of so many bytes if it could fill the disk.
    pub fn room(&self, bytes: u64) -> Result<()> {
        let (free, needed) = (self.free()?, self.floor + FACTOR * bytes);
        if free >= needed { Ok(()) } else { Err(StoreError::DiskFull { dir: self.dir.clone(), free, needed }) }
    }

    fn free(&self) -> Result<u64> {
        let stat = rustix::fs::statvfs(&self.dir).map_err(std::io::Error::from);
        let stat = stat.map_err(StoreError::io("ask for the free space of", &self.dir))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// Called before opening: removes the reserve if there is no other space.
    pub fn release(&self) -> Result<()> {
        let (path, free) = (self.dir.join(RESERVE), self.free()?);
        if free >= RESERVE_BYTES {
            return Ok(());
        }
        match fs::remove_file(&path) {
            Ok(()) => {
                tracing::warn!(dir = %self.dir.display(), free, "the disk is full: the store opens with its reserve");
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(StoreError::io("remove", &path)(error)),
        }
    }

    /// Allocates the reserve for a database of this size, if there is none yet and there is space. A store works
    /// without one; only a start on a full disk needs it.
    pub fn reserve(&self, database_bytes: u64) {
        let (path, bytes) = (self.dir.join(RESERVE), RESERVE_BYTES + database_bytes / RESERVE_SHARE);
        if path.exists() || self.room(bytes).is_err() {
            return;
        }
        let made = File::create(&path).and_then(|file| {
            rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes)?;
            Ok(())
        });
        if let Err(error) = made {
            tracing::debug!(%error, path = %path.display(), "no reserve: the file system cannot set space aside");
            drop(fs::remove_file(&path));
        }
    }
}
