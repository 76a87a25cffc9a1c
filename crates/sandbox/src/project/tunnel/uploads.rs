//! All upload sessions: opened, found, and forgotten when they are old or too many.
//!
//! It must never forget a session that can still be committed.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::Mutex;

use super::super::catalog::Catalog;
use super::super::disk;
use super::super::error::{ApiError, ApiResult, ProjectError};
use super::super::partition::key_text;
use super::super::table::Table;
use super::upload::{Purpose, Record, Upload, no_upload};

/// How long a session can be asked about.
const KEPT_SECONDS: i64 = 48 * 3600;
/// Most sessions kept.
const SESSIONS_MAX: usize = 20_000;

/// All sessions.
pub struct Uploads {
    dir: PathBuf,
    max: usize,
    /// By id, which begins with the time of creation: the oldest come first.
    known: Mutex<BTreeMap<String, Arc<Upload>>>,
}

impl Uploads {
    /// Opens what lies under `dir`, and forgets what is too old to be asked about.
    pub fn open(dir: PathBuf, now: i64) -> Result<Self, ProjectError> {
        let io = |e| disk::io_error(format!("listing {}", dir.display()))(e);
        disk::make_dir(&dir).map_err(io)?;
        let mut known = BTreeMap::new();
        for entry in fs::read_dir(&dir).map_err(io)? {
            let path = entry.map_err(io)?.path();
            match Upload::open(&path)? {
                Some(upload) if now - upload.created() < KEPT_SECONDS => {
                    known.insert(upload.id().to_owned(), Arc::new(upload));
                }
                _ => fs::remove_dir_all(&path).map_err(io)?,
            }
        }
        Ok(Self { dir, max: SESSIONS_MAX, known: Mutex::new(known) })
    }

    /// Keeps at most so many sessions.
    #[cfg(test)]
    pub fn limit(&mut self, max: usize) {
        self.max = max;
    }

    /// Files that sessions still need. A session whose commit was cut short counts: [`Self::reconcile`] settles it.
    pub fn files_in_use(&self, now: i64) -> HashSet<String> {
        self.known.lock().values().flat_map(|upload| upload.files_in_use(now)).collect()
    }

    /// Closes sessions whose commit reached the manifest but not their log.
    pub fn reconcile(&self, catalog: &Catalog) -> ApiResult<()> {
        self.known.lock().values().try_for_each(|upload| upload.reconcile(catalog))
    }

    /// Opens a session.
    pub fn create(&self, catalog: &Catalog, table: &Table, purpose: Purpose, now: Timestamp) -> ApiResult<Arc<Upload>> {
        let meta = table.meta();
        if !purpose.create_partition && table.get(&purpose.key).is_none() {
            return Err(ApiError::no_partition(&key_text(&meta, &purpose.key)));
        }
        let id = format!("{}{}", now.strftime("%Y%m%d%H%M%S"), uuid::Uuid::new_v4().simple());
        let (table_id, columns) = (meta.id.clone(), meta.columns.len());
        let record = Record { id: id.clone(), table_id, purpose, created: now.as_second(), columns };
        self.make_room(catalog, now.as_second())?;
        let upload = Arc::new(Upload::create(self.dir.join(&id), record)?);
        self.known.lock().insert(id, Arc::clone(&upload));
        Ok(upload)
    }

    /// Removes blocks that nobody can commit, sessions that are too old, and then the oldest that are at their end.
    fn make_room(&self, catalog: &Catalog, now: i64) -> ApiResult<()> {
        let mut known = self.known.lock();
        known.values().filter(|upload| upload.expired(now)).for_each(|upload| upload.discard_blocks(catalog));
        let surplus = (known.len() + 1).saturating_sub(self.max);
        let old = known.values().filter(|upload| now - upload.created() >= KEPT_SECONDS).count();
        let ended = known.values().filter(|upload| upload.is_closed() || upload.expired(now));
        let forgotten: Vec<Arc<Upload>> = ended.take(surplus.max(old)).cloned().collect();
        for upload in &forgotten {
            known.remove(upload.id());
            upload.remove()?;
        }
        if forgotten.len() < surplus {
            let message = format!("{} upload sessions are open: commit some, or wait until they expire", self.max);
            return Err(ApiError::new(429, "SlotExceeded", message));
        }
        Ok(())
    }

    /// One session.
    pub fn get(&self, id: &str) -> ApiResult<Arc<Upload>> {
        self.known.lock().get(id).cloned().ok_or_else(|| no_upload(id))
    }
}
