//! One table on disk: its definition, one manifest for each partition, and the files that the manifests name.
//!
//! The rename of a manifest is the only commit point. A file that neither a manifest nor an open session names does not
//! exist for readers; it is removed when its last reader has gone, or at the next start.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::disk;
use super::error::{ApiError, ApiResult, ProjectError};
use super::partition::{PartKey, key_text};
use super::schema::{PARTITIONS_MAX, TableMeta};

/// How many committed sessions a manifest remembers, so that a commit that is repeated after a crash is recognised as
/// done.
const SESSIONS_REMEMBERED: usize = 1000;

/// A file of rows, as a manifest lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// The file's name in the table's `files` directory.
    pub name: String,
    pub rows: u64,
    pub bytes: u64,
    /// Number of rows of each batch, so that a range of rows is found without reading the batches before it.
    pub batches: Vec<u64>,
}

/// A file that exists as long as somebody may read it.
#[derive(Debug)]
pub struct DataFile {
    pub path: PathBuf,
    pub entry: FileEntry,
    obsolete: AtomicBool,
}

impl Drop for DataFile {
    fn drop(&mut self) {
        if self.obsolete.load(Ordering::Acquire)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::debug!(path = %self.path.display(), %error, "an obsolete file stays until the next start");
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Manifest {
    values: PartKey,
    files: Vec<FileEntry>,
    sessions: Vec<String>,
    created: i64,
    modified: i64,
}

/// The rows of a partition (or of a table without partitions) at one moment.
#[derive(Debug)]
pub struct Part {
    manifest: Manifest,
    /// Its files, in order.
    pub files: Vec<Arc<DataFile>>,
}

impl Part {
    pub fn rows(&self) -> u64 {
        self.manifest.files.iter().map(|f| f.rows).sum()
    }

    pub fn bytes(&self) -> u64 {
        self.manifest.files.iter().map(|f| f.bytes).sum()
    }

    /// Seconds since the epoch at which the partition was created.
    pub fn created(&self) -> i64 {
        self.manifest.created
    }

    /// Seconds since the epoch at which its rows last changed.
    pub fn modified(&self) -> i64 {
        self.manifest.modified
    }
}

/// What a commit publishes.
pub struct Publish {
    /// The partition; empty for a table without partitions.
    pub key: PartKey,
    pub session: String,
    /// Replaces the rows instead of adding to them.
    pub overwrite: bool,
    /// Creates the partition if it is absent.
    pub create: bool,
    /// The files, in order of their blocks.
    pub files: Vec<FileEntry>,
}

/// A table. Readers see a partition before or after a change, never between.
pub struct Table {
    dir: PathBuf,
    meta: RwLock<Arc<TableMeta>>,
    parts: RwLock<BTreeMap<PartKey, Arc<Part>>>,
    /// Held during every change of the table; true once the table is dropped.
    writer: Mutex<bool>,
}

fn manifest_name(key: &PartKey) -> String {
    let mut hash = Sha256::new();
    for value in key {
        hash.update(value.as_bytes());
        hash.update([0]);
    }
    format!("{}.json", &hex::encode(hash.finalize())[..40])
}

impl Table {
    /// Creates a table under `dir`. The table exists once `meta.json` does.
    pub fn create(dir: PathBuf, meta: TableMeta) -> ApiResult<Self> {
        for sub in ["parts", "files"] {
            fs::create_dir_all(dir.join(sub))?;
        }
        let table = Self::new(dir, meta);
        let meta = table.meta();
        if meta.partition_columns.is_empty() {
            table.write(&PartKey::new(), Vec::new(), Vec::new(), meta.created, meta.created)?;
        }
        disk::write_json(&table.dir.join("meta.json"), &*meta)?;
        table.dir.parent().map_or(Ok(()), disk::sync_dir)?;
        Ok(table)
    }

    fn new(dir: PathBuf, meta: TableMeta) -> Self {
        Self { dir, meta: RwLock::new(Arc::new(meta)), parts: RwLock::default(), writer: Mutex::new(false) }
    }

    /// Opens a table; `None` if its creation never finished. `in_use` names the files of open sessions, which are kept.
    pub fn open(dir: &Path, in_use: &HashSet<String>) -> Result<Option<Self>, ProjectError> {
        if !dir.join("meta.json").is_file() {
            return Ok(None);
        }
        let table = Self::new(dir.to_owned(), disk::read_json(&dir.join("meta.json"))?);
        let io = |doing: &str| disk::io_error(format!("{doing} {}", dir.display()));
        let mut named: HashSet<String> = HashSet::new();
        for entry in fs::read_dir(dir.join("parts")).map_err(io("listing partitions of"))? {
            let path = entry.map_err(io("listing partitions of"))?.path();
            if path.extension().is_none_or(|e| e != "json") {
                fs::remove_file(&path).map_err(io("removing an unfinished manifest of"))?;
                continue;
            }
            let manifest: Manifest = disk::read_json(&path)?;
            named.extend(manifest.files.iter().map(|f| f.name.clone()));
            let part = table.part(manifest);
            table.parts.write().insert(part.manifest.values.clone(), part);
        }
        for entry in fs::read_dir(dir.join("files")).map_err(io("listing files of"))? {
            let entry = entry.map_err(io("listing files of"))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if !named.contains(&name) && !in_use.contains(&name) {
                fs::remove_file(entry.path()).map_err(io("removing an orphan file of"))?;
            }
        }
        Ok(Some(table))
    }

    fn part(&self, manifest: Manifest) -> Arc<Part> {
        let old = self.parts.read().get(&manifest.values).cloned();
        let files = manifest
            .files
            .iter()
            .map(|entry| {
                let kept = old.as_ref().and_then(|p| p.files.iter().find(|f| f.entry.name == entry.name)).cloned();
                kept.unwrap_or_else(|| {
                    let path = self.file_path(&entry.name);
                    Arc::new(DataFile { path, entry: entry.clone(), obsolete: AtomicBool::new(false) })
                })
            })
            .collect();
        Arc::new(Part { manifest, files })
    }

    /// The path of a file of this table.
    pub fn file_path(&self, name: &str) -> PathBuf {
        self.dir.join("files").join(name)
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The current definition.
    pub fn meta(&self) -> Arc<TableMeta> {
        Arc::clone(&self.meta.read())
    }

    pub fn get(&self, key: &PartKey) -> Option<Arc<Part>> {
        self.parts.read().get(key).cloned()
    }

    /// All partitions, sorted by key. A table without partition columns has one, with an empty key.
    pub fn all(&self) -> Vec<(PartKey, Arc<Part>)> {
        self.parts.read().iter().map(|(k, p)| (k.clone(), Arc::clone(p))).collect()
    }

    /// Whether a session's commit is already part of a partition.
    pub fn has_committed(&self, key: &PartKey, session: &str) -> bool {
        self.get(key).is_some_and(|part| part.manifest.sessions.iter().any(|s| s == session))
    }

    /// Writes a manifest (the commit point) and shows it to readers.
    fn write(
        &self,
        key: &PartKey,
        files: Vec<FileEntry>,
        sessions: Vec<String>,
        created: i64,
        modified: i64,
    ) -> ApiResult<()> {
        let manifest = Manifest { values: key.clone(), files, sessions, created, modified };
        disk::write_json(&self.dir.join("parts").join(manifest_name(key)), &manifest)?;
        self.show(manifest);
        Ok(())
    }

    fn show(&self, manifest: Manifest) {
        let part = self.part(manifest);
        let old = self.parts.write().insert(part.manifest.values.clone(), Arc::clone(&part));
        for file in old.iter().flat_map(|p| &p.files) {
            if !part.files.iter().any(|f| Arc::ptr_eq(f, file)) {
                file.obsolete.store(true, Ordering::Release);
            }
        }
    }

    fn writing<T>(&self, change: impl FnOnce(&Arc<TableMeta>) -> ApiResult<T>) -> ApiResult<T> {
        let dropped = self.writer.lock();
        let meta = self.meta();
        if *dropped {
            return Err(ApiError::no_table("", &meta.name));
        }
        change(&meta)
    }

    /// Commits a session's files to one partition, atomically.
    pub fn publish(&self, publish: Publish, now: i64) -> ApiResult<()> {
        self.writing(|meta| {
            let old = self.get(&publish.key);
            if old.is_none() && !publish.create {
                return Err(ApiError::no_partition(&key_text(meta, &publish.key)));
            }
            self.check_room(usize::from(old.is_none()))?;
            let old = old.as_ref().map(|p| &p.manifest);
            let mut files = old.filter(|_| !publish.overwrite).map_or_else(Vec::new, |m| m.files.clone());
            files.extend(publish.files);
            let mut sessions = old.map_or_else(Vec::new, |m| m.sessions.clone());
            sessions.push(publish.session);
            let surplus = sessions.len().saturating_sub(SESSIONS_REMEMBERED);
            sessions.drain(..surplus);
            self.write(&publish.key, files, sessions, old.map_or(now, |m| m.created), now)
        })
    }

    fn check_room(&self, more: usize) -> ApiResult<()> {
        if self.parts.read().len() + more > PARTITIONS_MAX {
            return Err(ApiError::invalid(format!("ODPS-0130071:a table has at most {PARTITIONS_MAX} partitions")));
        }
        Ok(())
    }

    /// Creates partitions: all of them or, if one exists already and that is an error, none.
    pub fn add(&self, keys: &[PartKey], if_not_exists: bool, now: i64) -> ApiResult<()> {
        self.writing(|meta| {
            let mut new: Vec<&PartKey> = Vec::new();
            for key in keys {
                if self.get(key).is_none() && !new.contains(&key) {
                    new.push(key);
                } else if !if_not_exists {
                    let text = key_text(meta, key);
                    return Err(ApiError::new(409, "PartitionAlreadyExists", format!("partition {text} exists")));
                }
            }
            self.check_room(new.len())?;
            let dir = self.dir.join("parts");
            let made: Vec<Manifest> = new
                .into_iter()
                .map(|key| Manifest {
                    values: key.clone(),
                    files: Vec::new(),
                    sessions: Vec::new(),
                    created: now,
                    modified: now,
                })
                .collect();
            for manifest in &made {
                disk::write_json_unsynced_dir(&dir.join(manifest_name(&manifest.values)), manifest)?;
            }
            disk::sync_dir(&dir)?;
            made.into_iter().for_each(|manifest| self.show(manifest));
            Ok(())
        })
    }

    /// Drops partitions with their rows.
    pub fn remove(&self, keys: &[PartKey], if_exists: bool) -> ApiResult<()> {
        self.writing(|meta| {
            if let Some(missing) = keys.iter().find(|key| self.get(key).is_none() && !if_exists) {
                return Err(ApiError::no_partition(&key_text(meta, missing)));
            }
            let dir = self.dir.join("parts");
            for key in keys.iter().filter(|key| self.get(key).is_some()) {
                fs::remove_file(dir.join(manifest_name(key)))?;
                if let Some(part) = self.parts.write().remove(key) {
                    part.files.iter().for_each(|f| f.obsolete.store(true, Ordering::Release));
                }
            }
            Ok(disk::sync_dir(&dir)?)
        })
    }

    /// Deletes the rows of partitions; of all of them if `keys` is `None`.
    pub fn truncate(&self, keys: Option<&[PartKey]>, now: i64) -> ApiResult<()> {
        self.writing(|meta| {
            let all: Vec<PartKey>;
            let keys = match keys {
                Some(keys) => keys,
                None => {
                    all = self.parts.read().keys().cloned().collect();
                    &all
                }
            };
            for key in keys {
                let part = self.get(key).ok_or_else(|| ApiError::no_partition(&key_text(meta, key)))?;
                self.write(key, Vec::new(), part.manifest.sessions.clone(), part.created(), now)?;
            }
            Ok(())
        })
    }

    /// Changes the definition.
    pub fn alter(&self, change: impl FnOnce(&mut TableMeta) -> ApiResult<()>) -> ApiResult<()> {
        self.writing(|meta| {
            let mut changed = TableMeta::clone(meta);
            change(&mut changed)?;
            disk::write_json(&self.dir.join("meta.json"), &changed)?;
            *self.meta.write() = Arc::new(changed);
            Ok(())
        })
    }

    /// Drops the table: `remove` deletes its directory, and every later change fails.
    pub fn drop_with(&self, remove: impl FnOnce(&Path) -> ApiResult<()>) -> ApiResult<()> {
        let mut dropped = self.writer.lock();
        if *dropped {
            return Err(ApiError::no_table("", &self.meta().name));
        }
        remove(&self.dir)?;
        *dropped = true;
        Ok(())
    }
}
