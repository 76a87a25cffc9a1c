//! Room on the disk. Owns when a write is refused because too little is left, and the reserve with which a store opens
//! on a disk that is full.
//!
//! sled bears no write that fails for want of space: it ends then. So the store asks before it writes, and leaves enough for
//! what sled writes besides.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::error::{Result, StoreError};

const RESERVE: &str = "reserve";
/// What opening writes: snapshot, identity, sentinel. The snapshot grows with the database.
const RESERVE_BYTES: u64 = 4 << 20;
const RESERVE_SHARE: u64 = 32;
/// sled writes a page's change more than once: when it is made, and when the page is moved.
const FACTOR: u64 = 4;

/// The file system that a store lies on.
#[derive(Debug)]
pub(crate) struct Space {
    dir: PathBuf,
    floor: u64,
}

impl Space {
    /// Of the directory of a store, which keeps `floor` bytes free.
    pub fn of(dir: &Path, floor: u64) -> Self {
        Self { dir: dir.to_owned(), floor }
    }

    /// Refuses to write so many bytes when the disk would be full then.
    pub fn room(&self, bytes: u64) -> Result<()> {
        let (free, needed) = (self.free()?, self.floor + FACTOR * bytes);
        if free >= needed { Ok(()) } else { Err(StoreError::DiskFull { dir: self.dir.clone(), free, needed }) }
    }

    fn free(&self) -> Result<u64> {
        let stat = rustix::fs::statvfs(&self.dir).map_err(std::io::Error::from);
        let stat = stat.map_err(StoreError::io("ask for the free space of", &self.dir))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// Before opening: gives the reserve up when there is no other room.
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

    /// Sets the reserve aside when there is room and none yet, for a database of this size. Without one a store works
    /// as well, until it is to start on a full disk.
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
