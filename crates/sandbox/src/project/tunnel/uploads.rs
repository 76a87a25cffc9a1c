//! All upload sessions: creates them, finds them, and deletes those that are too old or too many.
//!
//! It must never delete a session that can still be committed.

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

/// How long a session is kept, in seconds.
const KEPT_SECONDS: i64 = 48 * 3600;
/// The most sessions that are kept.
const SESSIONS_MAX: usize = 20_000;

/// All sessions.
pub struct Uploads {
    dir: PathBuf,
    max: usize,
    /// By id. Ids begin with the time of creation, so the oldest session is first.
    known: Mutex<BTreeMap<String, Arc<Upload>>>,
}

impl Uploads {
    /// Opens the sessions under `dir`, and deletes those that are too old.
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

    /// Sets the most sessions that are kept.
    #[cfg(test)]
    pub fn limit(&mut self, max: usize) {
        self.max = max;
    }

    /// The files that sessions still need. A session whose commit was interrupted counts as open here;
    /// [`Self::reconcile`] closes it.
    pub fn files_in_use(&self, now: i64) -> HashSet<String> {
        self.known.lock().values().flat_map(|upload| upload.files_in_use(now)).collect()
    }

    /// Closes sessions whose commit reached the manifest but not their log.
    pub fn reconcile(&self, catalog: &Catalog) -> ApiResult<()> {
        self.known.lock().values().try_for_each(|upload| upload.reconcile(catalog))
    }

    /// Creates a session.
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

    /// Removes the blocks of expired sessions, then the sessions that are too old, then as many ended sessions as
    /// needed, oldest first.
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

    pub fn get(&self, id: &str) -> ApiResult<Arc<Upload>> {
        self.known.lock().get(id).cloned().ok_or_else(|| no_upload(id))
    }
}
