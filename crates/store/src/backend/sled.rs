//! sled 0.34.7 as a backend. Owns how sled is configured and called; its known defects on opening are handled in `dir`.

use std::ops::Bound;
use std::path::{Path, PathBuf};

use super::{Backend, Batch, DiskSync, Fdatasync, View, Visit};
use crate::error::{Result, StoreError};
use crate::options::Options;

/// One sled tree, and the call that makes it durable.
pub struct SledBackend {
    dir: PathBuf,
    db: sled::Db,
    disk: Box<dyn DiskSync>,
}

/// Why sled did not open.
pub(crate) enum OpenFailure {
    /// sled failed or panicked because of its content.
    Corrupt(String),
    /// The system refused a file operation.
    Other(StoreError),
}

/// Opens sled on a thread of its own, because 0.34.7 panics over some torn states instead of returning an error.
pub(crate) fn open_database(dir: &Path, options: &Options) -> Result<SledBackend, OpenFailure> {
    let config = sled::Config::new()
        .path(dir)
        // sled frees disk space only in its background flusher, so that must run.
        .flush_every_ms(Some(500))
        .cache_capacity(options.cache_bytes)
        .mode(sled::Mode::LowSpace);
    let opener = std::thread::Builder::new().name("store-open".into()).spawn(move || open_unlocked(&config));
    let opener = opener.map_err(|error| OpenFailure::Other(StoreError::io("start a thread to open", dir)(error)))?;
    let db = match opener.join() {
        Ok(Ok(db)) => db,
        Ok(Err(sled::Error::Io(error))) if error.kind() != std::io::ErrorKind::UnexpectedEof => {
            return Err(OpenFailure::Other(StoreError::io("open", dir)(error)));
        }
        Ok(Err(error)) => return Err(OpenFailure::Corrupt(error.to_string())),
        Err(panic) => return Err(OpenFailure::Corrupt(format!("sled panicked: {}", panic_message(&*panic)))),
    };
    let disk = Fdatasync::open(dir).map_err(|error| OpenFailure::Other(StoreError::io("open", dir)(error)))?;
    let mut disk: Box<dyn DiskSync> = Box::new(disk);
    if let Some(wrap) = &options.disk_sync {
        disk = wrap(disk);
    }
    Ok(SledBackend { dir: dir.to_owned(), db, disk })
}

/// Retries while sled's file is locked: sled's own threads release it a moment after the database was dropped, as after
/// a rebuild. The lock of the folder excludes other processes, so the holder is a thread that is about to end.
fn open_unlocked(config: &sled::Config) -> sled::Result<sled::Db> {
    const TRIES: u32 = 100;
    const PAUSE: std::time::Duration = std::time::Duration::from_millis(50);
    let held = |error: &sled::Error| matches!(error, sled::Error::Io(e) if e.to_string().contains("acquire lock"));
    for _ in 1..TRIES {
        match config.open() {
            Err(error) if held(&error) => std::thread::sleep(PAUSE),
            opened => return opened,
        }
    }
    config.open()
}

pub(crate) fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".into())
}

impl SledBackend {
    /// Opens sled in `dir` as it is, without the precautions of [`Store::open`](crate::Store::open).
    pub fn open(dir: &Path, options: &Options) -> Result<Self> {
        open_database(dir, options).map_err(|failure| match failure {
            OpenFailure::Corrupt(what) => StoreError::corrupt(format!("database in {}: {what}", dir.display())),
            OpenFailure::Other(error) => error,
        })
    }

    /// Bytes that the database takes on the disk.
    pub fn size_on_disk(&self) -> Result<u64> {
        self.db.size_on_disk().map_err(|error| self.error(error))
    }

    fn error(&self, error: sled::Error) -> StoreError {
        match error {
            sled::Error::Io(error) => StoreError::io("use the database in", &self.dir)(error),
            other => StoreError::corrupt(format!("database in {}: {other}", self.dir.display())),
        }
    }
}

impl View for SledBackend {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.db.get(key).map_err(|error| self.error(error))?.map(|value| value.to_vec()))
    }

    fn visit(&self, from: &[u8], to: &[u8], descending: bool, each: &mut Visit<'_>) -> Result<()> {
        if from >= to {
            return Ok(());
        }
        let mut range = self.db.range::<&[u8], _>((Bound::Included(from), Bound::Excluded(to)));
        while let Some(item) = if descending { range.next_back() } else { range.next() } {
            let (key, value) = item.map_err(|error| self.error(error))?;
            if each(&key, &value)?.is_break() {
                break;
            }
        }
        Ok(())
    }
}

impl Backend for SledBackend {
    fn apply(&self, batch: Batch) -> Result<()> {
        let mut writes = sled::Batch::default();
        for (key, value) in batch {
            match value {
                Some(value) => writes.insert(key, value),
                None => writes.remove(key),
            }
        }
        self.db.apply_batch(writes).map_err(|error| self.error(error))
    }

    fn flush(&self) -> Result<()> {
        self.db.flush().map_err(|error| self.error(error))?;
        self.disk.sync().map_err(StoreError::io("sync", &self.dir.join("db")))
    }
}
