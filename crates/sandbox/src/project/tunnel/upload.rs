//! Upload sessions: created, fed with blocks, committed once. They outlive a restart: a session and every block of it
//! is on disk before it is acknowledged.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::catalog::Catalog;
use super::super::disk;
use super::super::error::{ApiError, ApiResult, ProjectError};
use super::super::partition::PartKey;
use super::super::table::{FileEntry, Publish, Table};
use super::super::wire::check::CELL_BYTES_MAX;
use super::super::wire::encoding::Encoding;
use super::block::{self, Carrier};
use super::schema_json;

/// Highest block id.
const BLOCK_MAX: u32 = 19_999;
/// How long a session may be used.
const SESSION_SECONDS: i64 = 24 * 3600;
/// How long a session can be asked about.
const KEPT_SECONDS: i64 = 48 * 3600;
/// Most sessions kept.
const SESSIONS_MAX: usize = 20_000;

/// What a session is for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Purpose {
    /// The schema.
    pub schema: String,
    /// The table.
    pub table: String,
    /// The partition.
    pub key: PartKey,
    /// Replace or add.
    pub overwrite: bool,
    /// Make the partition at commit if it is absent.
    pub create_partition: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Record {
    id: String,
    table_id: String,
    purpose: Purpose,
    created: i64,
}

/// A line of a session's log.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Event {
    Block { id: u32, file: FileEntry, at: i64 },
    Closed,
}

struct Progress {
    blocks: BTreeMap<u32, (FileEntry, i64)>,
    closed: bool,
}

impl Progress {
    fn apply(&mut self, event: Event) -> Option<FileEntry> {
        match event {
            Event::Block { id, file, at } => self.blocks.insert(id, (file, at)).map(|(old, _)| old),
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
    fn open(dir: &Path) -> Result<Option<Self>, ProjectError> {
        if !dir.join("session.json").is_file() {
            return Ok(None);
        }
        let record: Record = disk::read_json(&dir.join("session.json"))?;
        let mut progress = Progress { blocks: BTreeMap::new(), closed: false };
        let log = match fs::read_to_string(dir.join("log")) {
            Ok(log) => log,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(disk::io_error(format!("reading {}", dir.display()))(error)),
        };
        // A last line that was cut off was never acknowledged; it is cut away so that the next line stands alone.
        let whole = log.rfind('\n').map_or(0, |i| i + 1);
        for line in log[..whole].lines() {
            let event = serde_json::from_str(line)
                .map_err(|e| ProjectError::Damaged { path: dir.display().to_string(), reason: e.to_string() })?;
            drop(progress.apply(event));
        }
        if whole < log.len() {
            OpenOptions::new()
                .write(true)
                .open(dir.join("log"))
                .and_then(|file| file.set_len(whole as u64).and_then(|()| file.sync_all()))
                .map_err(disk::io_error(format!("repairing {}", dir.display())))?;
        }
        Ok(Some(Self { dir: dir.to_owned(), record, progress: Mutex::new(progress) }))
    }

    fn append(&self, event: &Event) -> ApiResult<()> {
        let mut line = serde_json::to_vec(event).map_err(|error| ApiError::internal(error.to_string()))?;
        line.push(b'\n');
        let path = self.dir.join("log");
        let new = !path.exists();
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        file.write_all(&line)?;
        file.sync_all()?;
        if new { Ok(disk::sync_dir(&self.dir)?) } else { Ok(()) }
    }

    fn expired(&self, now: i64) -> bool {
        now - self.record.created > SESSION_SECONDS
    }

    fn status(&self, progress: &Progress, now: i64) -> &'static str {
        match progress.closed {
            true => "closed",
            false if self.expired(now) => "expired",
            false => "normal",
        }
    }

    fn writable(&self, progress: &Progress, now: i64) -> ApiResult<()> {
        match self.status(progress, now) {
            "normal" => Ok(()),
            status => Err(ApiError::status_conflict(format!("session {} is {status}", self.record.id))),
        }
    }

    fn table(&self, catalog: &Catalog) -> ApiResult<Arc<Table>> {
        let table = catalog.table(&self.record.purpose.schema, &self.record.purpose.table)?;
        if table.meta().id == self.record.table_id {
            return Ok(table);
        }
        let message = format!("table {} was made again after session {} was opened", table.meta().name, self.record.id);
        Err(ApiError::new(412, "TableModified", message))
    }

    /// Receives one block. The same id again replaces it: the last one to finish counts.
    pub fn put(
        &self,
        catalog: &Catalog,
        block: u32,
        carrier: Carrier,
        encoding: Encoding,
        body: impl Read,
    ) -> ApiResult<()> {
        let table = self.table(catalog)?;
        self.writable(&self.progress.lock(), Timestamp::now().as_second())?;
        let meta = table.meta();
        let name = format!("{}.arrow", uuid::Uuid::new_v4().simple());
        let file = block::receive(&table.dir().join("files"), name, &meta.columns, carrier, encoding, body)?;
        let mut progress = self.progress.lock();
        let now = Timestamp::now().as_second();
        let path = table.file_path(&file.name);
        let event = Event::Block { id: block, file, at: now };
        if let Err(error) = self.writable(&progress, now).and_then(|()| self.append(&event)) {
            fs::remove_file(path)?;
            return Err(error);
        }
        if let Some(old) = progress.apply(event) {
            fs::remove_file(table.file_path(&old.name))?;
        }
        Ok(())
    }

    /// Publishes the blocks. A session that is already closed says so again, as success.
    pub fn commit(&self, catalog: &Catalog) -> ApiResult<()> {
        let mut progress = self.progress.lock();
        if progress.closed {
            return Ok(());
        }
        let now = Timestamp::now().as_second();
        self.writable(&progress, now)?;
        let purpose = &self.record.purpose;
        let publish = Publish {
            key: purpose.key.clone(),
            session: self.record.id.clone(),
            overwrite: purpose.overwrite,
            create: purpose.create_partition,
            files: progress.blocks.values().map(|(file, _)| file.clone()).collect(),
        };
        self.table(catalog)?.publish(publish, now)?;
        // From here on it is committed, whatever happens: the manifest remembers the session.
        progress.closed = true;
        self.append(&Event::Closed)
    }

    /// The session as JSON.
    pub fn describe(&self, catalog: &Catalog) -> ApiResult<Value> {
        let meta = self.table(catalog)?.meta();
        let progress = self.progress.lock();
        let time = |seconds: i64| super::super::rest::http_time(seconds);
        let blocks: Vec<Value> = progress
            .blocks
            .iter()
            .map(|(id, (file, at))| {
                json!({
                    "BlockID": id, "RecordCount": file.rows, "CreateTime": at, "Date": time(*at),
                    "FileName": file.name, "Version": 0,
                })
            })
            .collect();
        Ok(json!({
            "UploadID": self.record.id,
            "Status": self.status(&progress, Timestamp::now().as_second()),
            "Owner": super::super::rest::OWNER,
            "Initiated": time(self.record.created),
            "IsOverwrite": self.record.purpose.overwrite,
            "MaxFieldSize": CELL_BYTES_MAX,
            "QuotaName": "",
            "Schema": schema_json(&meta.columns, &meta.partition_columns),
            "UploadedBlockList": blocks,
        }))
    }

    /// Whether a request names the table and partition that the session is for.
    pub fn check_target(&self, schema: &str, table: &str) -> ApiResult<()> {
        let purpose = &self.record.purpose;
        if purpose.schema.eq_ignore_ascii_case(schema) && purpose.table.eq_ignore_ascii_case(table) {
            return Ok(());
        }
        Err(no_upload(&self.record.id))
    }
}

fn no_upload(id: &str) -> ApiError {
    ApiError::new(404, "NoSuchUpload", format!("there is no upload session {id} of this table"))
}

/// A block id in a request.
pub fn block_id(text: &str) -> ApiResult<u32> {
    text.parse::<u32>()
        .ok()
        .filter(|id| *id <= BLOCK_MAX)
        .ok_or_else(|| ApiError::new(400, "InvalidBlockID", format!("block id `{text}` is not within 0..{BLOCK_MAX}")))
}

/// All sessions.
pub struct Uploads {
    dir: PathBuf,
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
                Some(upload) if now - upload.record.created < KEPT_SECONDS => {
                    known.insert(upload.record.id.clone(), Arc::new(upload));
                }
                _ => fs::remove_dir_all(&path).map_err(io)?,
            }
        }
        Ok(Self { dir, known: Mutex::new(known) })
    }

    /// Files that sessions still need. A session whose commit was cut short counts: [`Self::reconcile`] settles it.
    pub fn files_in_use(&self) -> HashSet<String> {
        let known = self.known.lock();
        let open = known.values().filter(|u| !u.progress.lock().closed);
        open.flat_map(|u| u.progress.lock().blocks.values().map(|(f, _)| f.name.clone()).collect::<Vec<_>>()).collect()
    }

    /// Closes sessions whose commit reached the manifest but not their log.
    pub fn reconcile(&self, catalog: &Catalog) {
        for upload in self.known.lock().values() {
            let purpose = &upload.record.purpose;
            let table = upload.table(catalog);
            if table.is_ok_and(|t| t.has_committed(&purpose.key, &upload.record.id)) {
                upload.progress.lock().closed = true;
            }
        }
    }

    /// Opens a session.
    pub fn create(&self, table: &Table, purpose: Purpose) -> ApiResult<Arc<Upload>> {
        let now = Timestamp::now();
        let meta = table.meta();
        if !purpose.create_partition && table.get(&purpose.key).is_none() {
            return Err(ApiError::no_partition(&super::super::partition::key_text(&meta, &purpose.key)));
        }
        let stamp = now.strftime("%Y%m%d%H%M%S").to_string();
        let id = format!("{stamp}{}", uuid::Uuid::new_v4().simple());
        let record = Record { id: id.clone(), table_id: meta.id.clone(), purpose, created: now.as_second() };
        let dir = self.dir.join(&id);
        self.make_room(now.as_second())?;
        disk::make_dir(&dir)?;
        disk::write_json(&dir.join("session.json"), &record)?;
        let progress = Mutex::new(Progress { blocks: BTreeMap::new(), closed: false });
        let upload = Arc::new(Upload { dir, record, progress });
        self.known.lock().insert(id, Arc::clone(&upload));
        Ok(upload)
    }

    fn make_room(&self, now: i64) -> ApiResult<()> {
        let mut known = self.known.lock();
        let old: Vec<String> =
            known.values().filter(|u| now - u.record.created >= KEPT_SECONDS).map(|u| u.record.id.clone()).collect();
        for id in old {
            known.remove(&id);
            fs::remove_dir_all(self.dir.join(&id))?;
        }
        if known.len() >= SESSIONS_MAX {
            return Err(ApiError::new(429, "SlotExceeded", format!("{SESSIONS_MAX} upload sessions are kept: wait")));
        }
        Ok(())
    }

    /// One session.
    pub fn get(&self, id: &str) -> ApiResult<Arc<Upload>> {
        self.known.lock().get(id).cloned().ok_or_else(|| no_upload(id))
    }
}
