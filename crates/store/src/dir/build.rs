//! Builds a new database beside the old one and swaps it in, so that a crash at any point leaves one complete database.
//!
//! `sled.building` is incomplete and worthless. Renaming it to `sled.new` marks it as complete and synced. Then the
//! live database is renamed to `sled.old`, the new one takes its name, and the old one is removed. Every open first
//! finishes a swap that was interrupted.
//!
//! `sled.suspect` marks that a write failed: the system's cache may then hold pages that the disk never got, and a
//! later sync does not write them. Only a database that is written anew is known to be on the disk completely.

use std::fs::{self, File};
use std::path::Path;

use super::files::{Directory, remove_matching, remove_tree, rename, sync_dir};
use crate::backend::{Backend, Batch, OpenFailure, SledBackend, open_database};
use crate::error::{Result, StoreError};
use crate::options::Options;

/// Bytes in one batch of the copy.
const BATCH_BYTES: usize = 1 << 20;

pub(crate) struct Builder<'a> {
    directory: &'a Directory,
    backend: SledBackend,
    batch: Batch,
    bytes: usize,
}

impl<'a> Builder<'a> {
    pub fn start(directory: &'a Directory, options: &Options) -> Result<Self> {
        let building = directory.path().join("sled.building");
        remove_tree(&building)?;
        let options = Options { disk_sync: None, ..options.clone() };
        let backend = open_database(&building, &options).map_err(|failure| match failure {
            OpenFailure::Corrupt(what) => StoreError::corrupt(format!("new database: {what}")),
            OpenFailure::Other(error) => error,
        })?;
        Ok(Self { directory, backend, batch: Batch::new(), bytes: 0 })
    }

    pub fn put(&mut self, key: Vec<u8>, value: Vec<u8>) -> Result<()> {
        self.bytes += key.len() + value.len();
        self.batch.insert(key, Some(value));
        if self.bytes >= BATCH_BYTES {
            self.bytes = 0;
            self.backend.apply(std::mem::take(&mut self.batch))?;
        }
        Ok(())
    }

    /// Completes the new database as `sled.new`; [`Directory::finish_swap`] puts it in place.
    pub fn finish(self) -> Result<()> {
        self.backend.apply(self.batch)?;
        self.backend.flush()?;
        drop(self.backend);
        let building = self.directory.path().join("sled.building");
        sync_tree(&building)?;
        rename(&building, &self.directory.path().join("sled.new"))?;
        sync_dir(self.directory.path())
    }
}

fn sync_tree(dir: &Path) -> Result<()> {
    for entry in fs::read_dir(dir).map_err(StoreError::io("list", dir))? {
        let path = entry.map_err(StoreError::io("list", dir))?.path();
        if path.is_dir() {
            sync_tree(&path)?;
        } else {
            File::open(&path).and_then(|file| file.sync_all()).map_err(StoreError::io("sync", &path))?;
        }
    }
    sync_dir(dir)
}

const SUSPECT: &str = "sled.suspect";

impl Directory {
    /// Makes the next open build the database anew.
    pub fn suspect(&self) -> Result<()> {
        let path = self.path().join(SUSPECT);
        File::create(&path).and_then(|file| file.sync_all()).map_err(StoreError::io("create", &path))?;
        sync_dir(self.path())
    }

    pub fn is_suspect(&self) -> bool {
        self.path().join(SUSPECT).exists()
    }

    /// Removes the mark, after the database was built anew.
    pub fn trust(&self) -> Result<()> {
        remove_matching(self.path(), |name| name == SUSPECT)
    }

    /// Finishes a swap wherever it was interrupted, and removes what an interrupted build left.
    pub fn finish_swap(&self) -> Result<()> {
        let [new, old, building] = ["sled.new", "sled.old", "sled.building"].map(|name| self.path().join(name));
        let live = self.live();
        remove_tree(&building)?;
        if new.exists() {
            if live.exists() {
                remove_tree(&old)?;
                rename(&live, &old)?;
            }
            rename(&new, &live)?;
            sync_dir(self.path())?;
        }
        // If there is no live database, the old one must stay for an operator to look at.
        if live.exists() { remove_tree(&old) } else { Ok(()) }
    }
}
