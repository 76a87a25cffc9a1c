//! One upload session: receives blocks, is committed once. It survives a restart: the session and each of its blocks is
//! on disk before it is acknowledged.
//!
//! It must never publish an incomplete block, nor the blocks of a session twice.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::catalog::Catalog;
use super::super::disk;
use super::super::error::{ApiError, ApiResult, ProjectError};
use super::super::partition::PartKey;
use super::super::request::Params;
use super::super::schema::TableMeta;
use super::super::storage::StreamUnit;
use super::super::table::{FileEntry, Publish, Table};
use super::super::wire::check::CELL_BYTES_MAX;
use super::super::wire::encoding::Encoding;
use super::block::{self, Carrier};
use super::session_log::{self, AppendError, Event};
use super::{addressed, schema_json};

/// The highest block number.
const BLOCK_MAX: u32 = 19_999;
/// How long a session can be used, in seconds.
pub const SESSION_SECONDS: i64 = 24 * 3600;

/// The target and the mode of a session.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Purpose {
    pub schema: String,
    pub table: String,
    pub key: PartKey,
    /// Replaces the rows of the partition instead of adding to them.
    pub overwrite: bool,
    /// Creates the partition at commit if it is absent.
    pub create_partition: bool,
    /// The unit of the timestamps in the streams of a Storage API session; `None` for a session of the tunnel.
    #[serde(default)]
    pub stream: Option<StreamUnit>,
}

/// A block of a session and the attempt at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BlockKey {
    pub block: u32,
    /// Always 0 for a block of the tunnel.
    pub attempt: u32,
}

impl From<u32> for BlockKey {
    fn from(block: u32) -> Self {
        Self { block, attempt: 0 }
    }
}

/// What is stored of a session besides its log.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    pub id: String,
    /// The id of the table; a later table of the same name has another.
    pub table_id: String,
    pub purpose: Purpose,
    /// Seconds since the epoch.
    pub created: i64,
    /// The number of the table's data columns when the session was created.
    pub columns: usize,
}

/// The files received, and when, in seconds since the epoch.
type Blocks = BTreeMap<BlockKey, (FileEntry, i64)>;

#[derive(Default)]
struct Progress {
    blocks: Blocks,
    closed: bool,
    /// Whether its blocks were removed. Then nothing can be committed, even by a request that began before.
    discarded: bool,
    /// Why the log can no longer be written, if so.
    broken: Option<String>,
}

impl Progress {
    fn apply(&mut self, event: Event) -> Option<FileEntry> {
        match event {
            Event::Block { id, attempt, file, at } => {
                self.blocks.insert(BlockKey { block: id, attempt }, (file, at)).map(|(old, _)| old)
            }
            Event::Closed => {
                self.closed = true;
                None
            }
        }
    }
}

/// One session.
pub struct Upload {
    dir: PathBuf,
    record: Record,
    progress: Mutex<Progress>,
}

impl Upload {
    /// Creates a session in `dir`.
    pub fn create(dir: PathBuf, record: Record) -> ApiResult<Self> {
        disk::make_dir(&dir)?;
        disk::write_json(&dir.join("session.json"), &record)?;
        Ok(Self { dir, record, progress: Mutex::default() })
    }

    /// Opens a session; `None` if its creation never finished.
    pub fn open(dir: &Path) -> Result<Option<Self>, ProjectError> {
        if !dir.join("session.json").is_file() {
            return Ok(None);
        }
        let record: Record = disk::read_json(&dir.join("session.json"))?;
        let mut progress = Progress::default();
        for event in session_log::read(dir)? {
            drop(progress.apply(event));
        }
        Ok(Some(Self { dir: dir.to_owned(), record, progress: Mutex::new(progress) }))
    }

    pub fn id(&self) -> &str {
        &self.record.id
    }

    /// Seconds since the epoch.
    pub fn created(&self) -> i64 {
        self.record.created
    }

    /// Whether it was committed.
    pub fn is_closed(&self) -> bool {
        self.progress.lock().closed
    }

    fn append(&self, progress: &mut Progress, event: &Event) -> ApiResult<()> {
        session_log::append(&self.dir, event).map_err(|error| match error {
            AppendError::TakenBack(error) => error.into(),
            AppendError::Torn(error) => {
                progress.broken = Some(error.to_string());
                error.into()
            }
        })
    }

    /// Whether the session is too old to be used.
    pub fn expired(&self, now: i64) -> bool {
        now - self.record.created > SESSION_SECONDS
    }

    fn status(&self, progress: &Progress, now: i64) -> &'static str {
        match progress.closed {
            true => "closed",
            false if progress.discarded || self.expired(now) => "expired",
            false if progress.broken.is_some() => "critical",
            false => "normal",
        }
    }

    fn writable(&self, progress: &Progress, now: i64) -> ApiResult<()> {
        match self.status(progress, now) {
            "normal" => Ok(()),
            "critical" => Err(ApiError::internal(format!(
                "the log of session {} could not be written ({}): open another session",
                self.record.id,
                progress.broken.as_deref().unwrap_or_default()
            ))),
            status => Err(ApiError::status_conflict(format!("session {} is {status}", self.record.id))),
        }
    }

    fn table(&self, catalog: &Catalog) -> ApiResult<Arc<Table>> {
        let table = catalog.table(&self.record.purpose.schema, &self.record.purpose.table)?;
        let meta = table.meta();
        let same = meta.id == self.record.table_id;
        let what = match meta.columns.len() == self.record.columns {
            true if same || catalog.sessions_outlive_tables() => return Ok(table),
            false if same => "altered",
            _ => "made again",
        };
        let message = format!("table {} was {what} after session {} was opened", meta.name, self.record.id);
        Err(ApiError::new(412, "TableModified", message))
    }

    /// Receives one block. A block received again under the same key replaces the earlier one: the last to finish
    /// counts.
    pub fn put(
        &self,
        catalog: &Catalog,
        block: impl Into<BlockKey>,
        carrier: Carrier,
        encoding: Encoding,
        body: impl Read,
        now: i64,
    ) -> ApiResult<FileEntry> {
        let table = self.table(catalog)?;
        self.writable(&self.progress.lock(), now)?;
        let meta = table.meta();
        let name = format!("{}.arrow", uuid::Uuid::new_v4().simple());
        let dir = if catalog.sessions_outlive_tables() { self.own_files()? } else { table.dir().join("files") };
        let file = block::receive(&dir, name, &meta.columns, carrier, encoding, body)?;
        let mut progress = self.progress.lock();
        let path = self.block_path(&table, &file.name);
        let BlockKey { block, attempt } = block.into();
        let event = Event::Block { id: block, attempt, file: file.clone(), at: now };
        let kept = self.writable(&progress, now).and_then(|()| self.append(&mut progress, &event));
        if let Err(error) = kept {
            // The log may hold a part of the line that names the file, so the file is kept until the next start.
            if progress.broken.is_none() {
                fs::remove_file(path)?;
            }
            return Err(error);
        }
        if let Some(old) = progress.apply(event) {
            fs::remove_file(self.block_path(&table, &old.name))?;
        }
        Ok(file)
    }

    /// The directory for blocks if sessions outlive their tables: files in the table's directory would be deleted with
    /// it.
    fn own_files(&self) -> ApiResult<PathBuf> {
        let dir = self.dir.join("files");
        disk::make_dir(&dir)?;
        Ok(dir)
    }

    fn block_path(&self, table: &Table, name: &str) -> PathBuf {
        let own = self.dir.join("files").join(name);
        if own.exists() { own } else { table.file_path(name) }
    }

    /// Publishes all blocks. Committing a closed session again succeeds and changes nothing.
    pub fn commit(&self, catalog: &Catalog, now: i64) -> ApiResult<()> {
        self.commit_blocks(catalog, now, |blocks| Ok(blocks.keys().copied().collect()))
    }

    /// Publishes these attempts, each of which must be the named file, and drops all others. Committing a closed
    /// session again succeeds and changes nothing.
    pub fn commit_named(&self, catalog: &Catalog, named: &[(BlockKey, String)], now: i64) -> ApiResult<()> {
        self.commit_blocks(catalog, now, |blocks| {
            let mut chosen = BTreeSet::new();
            for (key, file) in named {
                if blocks.get(key).is_none_or(|(found, _)| found.name != *file) {
                    return Err(ApiError::invalid(format!("the session has no such attempt: {key:?}")));
                }
                chosen.insert(*key);
            }
            let numbers: BTreeSet<u32> = chosen.iter().map(|key| key.block).collect();
            if numbers.is_empty() || numbers.len() < chosen.len() {
                return Err(ApiError::invalid("a commit names at least one block, and each of them once"));
            }
            Ok(chosen)
        })
    }

    fn commit_blocks(
        &self,
        catalog: &Catalog,
        now: i64,
        choose: impl FnOnce(&Blocks) -> ApiResult<BTreeSet<BlockKey>>,
    ) -> ApiResult<()> {
        let mut progress = self.progress.lock();
        if progress.closed {
            return Ok(());
        }
        self.writable(&progress, now)?;
        let chosen = choose(&progress.blocks)?;
        let (chosen, left): (Vec<_>, Vec<_>) = progress.blocks.iter().partition(|(key, _)| chosen.contains(*key));
        let left: Vec<String> = left.into_iter().map(|(_, (file, _))| file.name.clone()).collect();
        let purpose = &self.record.purpose;
        let publish = Publish {
            key: purpose.key.clone(),
            session: self.record.id.clone(),
            overwrite: purpose.overwrite,
            create: purpose.create_partition,
            files: chosen.into_iter().map(|(_, (file, _))| file.clone()).collect(),
        };
        let table = self.table(catalog)?;
        for file in &publish.files {
            let (from, to) = (self.block_path(&table, &file.name), table.file_path(&file.name));
            if from != to {
                fs::rename(from, to)?;
            }
        }
        table.publish(publish, now)?;
        // From here on the session is committed even if a later step fails: the manifest remembers it.
        progress.closed = true;
        let closed = self.append(&mut progress, &Event::Closed);
        for name in left {
            // A file that cannot be removed is removed at the next start.
            if let Err(error) = fs::remove_file(self.block_path(&table, &name)) {
                tracing::debug!(session = self.record.id, %error, "an unpublished attempt's file stays until restart");
            }
        }
        closed
    }

    /// Records a commit that reached the manifest but not the log. The log must know it, since manifests remember a
    /// limited number of sessions.
    pub fn reconcile(&self, catalog: &Catalog) -> ApiResult<()> {
        let mut progress = self.progress.lock();
        let committed = |table: Arc<Table>| table.has_committed(&self.record.purpose.key, &self.record.id);
        if progress.closed || !self.table(catalog).is_ok_and(committed) {
            return Ok(());
        }
        progress.closed = true;
        self.append(&mut progress, &Event::Closed)
    }

    /// Names of the files that its blocks still need.
    pub fn files_in_use(&self, now: i64) -> Vec<String> {
        let progress = self.progress.lock();
        let needed = !progress.closed && !self.expired(now);
        progress.blocks.values().filter(|_| needed).map(|(file, _)| file.name.clone()).collect()
    }

    /// Removes the blocks of an expired session that was never committed.
    pub fn discard_blocks(&self, catalog: &Catalog) {
        let mut progress = self.progress.lock();
        let Ok(table) = self.table(catalog) else { return };
        if progress.closed {
            return;
        }
        progress.discarded = true;
        for (file, _) in std::mem::take(&mut progress.blocks).into_values() {
            if let Err(error) = fs::remove_file(self.block_path(&table, &file.name)) {
                tracing::debug!(session = self.record.id, %error, "a block of an expired session was not removed");
            }
        }
    }

    /// Deletes the session.
    pub fn remove(&self) -> std::io::Result<()> {
        fs::remove_dir_all(&self.dir)
    }

    /// Describes the session.
    pub fn describe(&self, catalog: &Catalog, now: i64) -> ApiResult<Value> {
        let meta = self.table(catalog)?.meta();
        let progress = self.progress.lock();
        let time = |seconds: i64| super::super::rest::http_time(seconds);
        let blocks: Vec<Value> = progress
            .blocks
            .iter()
            // The blocks of an expired session are removed, or will be soon.
            .filter(|_| progress.closed || !self.expired(now))
            .map(|(key, (file, at))| {
                json!({
                    "BlockID": key.block, "RecordCount": file.rows, "CreateTime": at, "Date": time(*at),
                    "FileName": file.name, "Version": 0,
                })
            })
            .collect();
        Ok(json!({
            "UploadID": self.record.id,
            "Status": self.status(&progress, now),
            "Owner": super::super::rest::OWNER,
            "Initiated": time(self.record.created),
            "IsOverwrite": self.record.purpose.overwrite,
            "MaxFieldSize": CELL_BYTES_MAX,
            "QuotaName": "",
            "Schema": schema_json(&meta.columns, &meta.partition_columns),
            "UploadedBlockList": blocks,
        }))
    }

    /// Whether the session is for this table.
    pub fn is_of(&self, schema: &str, table: &str) -> bool {
        let purpose = &self.record.purpose;
        purpose.schema.eq_ignore_ascii_case(schema) && purpose.table.eq_ignore_ascii_case(table)
    }

    pub fn purpose(&self) -> &Purpose {
        &self.record.purpose
    }

    /// The current definition of its table, which must still be the one it was created for.
    pub fn meta(&self, catalog: &Catalog) -> ApiResult<Arc<TableMeta>> {
        Ok(self.table(catalog)?.meta())
    }

    /// Its status, in the tunnel's word.
    pub fn state(&self, now: i64) -> &'static str {
        self.status(&self.progress.lock(), now)
    }

    /// Checks that a request names the table and partition of the session.
    pub fn check_target(&self, schema: &str, table: &str, catalog: &Catalog, params: &Params) -> ApiResult<()> {
        let purpose = &self.record.purpose;
        if !self.is_of(schema, table) || purpose.stream.is_some() {
            return Err(no_upload(&self.record.id));
        }
        // The table is checked first: one that was created anew may have other partition columns.
        let meta = self.table(catalog)?.meta();
        if addressed(&meta, params)? == purpose.key { Ok(()) } else { Err(no_upload(&self.record.id)) }
    }
}

/// The error for a session that does not exist, or that is for another target than the request names.
pub fn no_upload(id: &str) -> ApiError {
    ApiError::new(404, "NoSuchUpload", format!("there is no upload session {id} of this table and partition"))
}

/// Parses a block number.
pub fn block_id(text: &str) -> ApiResult<u32> {
    text.parse::<u32>()
        .ok()
        .filter(|id| *id <= BLOCK_MAX)
        .ok_or_else(|| ApiError::new(400, "InvalidBlockID", format!("block id `{text}` is not within 0..{BLOCK_MAX}")))
}

#[cfg(test)]
#[path = "upload_tests.rs"]
mod tests;
