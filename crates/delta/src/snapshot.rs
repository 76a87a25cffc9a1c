//! Pins one version of a table. Opening it checks that this reader can read the table at all: what it cannot read is refused
//! here, before anything is planned.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::SchemaRef as ArrowSchemaRef;
use delta_kernel::schema::SchemaRef;
use delta_kernel::snapshot::SnapshotRef;
use delta_kernel::table_features::Operation;
use delta_kernel::{Engine, KernelError, Snapshot as KernelSnapshot};
use object_store::ObjectStore;
use url::Url;

use crate::drive::ask;
use crate::features::lacking;
use crate::log::{self, LogNote, LogReading, SchemaText, Trouble, UnreadableColumn, Without};
use crate::place::decoded;
use crate::{ColumnMapping, DeltaError, TableShape};

/// Opens Delta tables.
#[derive(Debug)]
pub struct DeltaTable;

impl DeltaTable {
    /// Opens `version` of the table under `root`, or its newest one for None. `store` must be the whole container or file
    /// system that `root` names.
    ///
    /// # Errors
    /// The table or the version does not exist, or it needs a feature that this reader does not have.
    pub async fn open(store: Arc<dyn ObjectStore>, root: &Url, version: Option<u64>) -> Result<Snapshot, DeltaError> {
        let mut root = root.clone();
        if !root.path().ends_with('/') {
            root.set_path(&format!("{}/", root.path()));
        }
        ask(move |_| open(store, root, version)).await
    }
}

/// One version of one table, with the log that it was read from.
#[derive(Clone)]
pub struct Snapshot {
    opened: Opened,
    store: Arc<dyn ObjectStore>,
    shape: TableShape,
    schema: SchemaText,
    timestamp_ms: Option<i64>,
    /// Remarks about the log, from its opening and from every replay since.
    notes: Arc<Mutex<BTreeSet<LogNote>>>,
}

/// A log as it was opened.
#[derive(Clone)]
pub(crate) struct Opened {
    pub inner: SnapshotRef,
    pub engine: Arc<dyn Engine>,
    pub reading: Arc<LogReading>,
}

/// How often a log is read again without one more of its checkpoints: tables keep only a few.
const ATTEMPTS: usize = 20;

fn open(store: Arc<dyn ObjectStore>, root: Url, version: Option<u64>) -> Result<Snapshot, DeltaError> {
    let mut notes = BTreeSet::new();
    let opened = open_log(&store, &root, version, Without::default(), &mut notes)?;
    let of_log = |e| DeltaError::of_log(e, &root, version);
    let table = opened.inner.table_configuration();
    table.ensure_operation_supported(Operation::Scan).map_err(of_log)?;
    let schema = opened.reading.schema().unwrap_or_else(|| SchemaText::of(table.metadata().schema_string()));
    let mapping = column_mapping(&opened.inner, &root)?;
    let partition_columns = table.logical_partition_columns().to_vec();
    let shape = TableShape::new(root, opened.inner.schema(), partition_columns, mapping)?;
    // A commit file may be deleted while a checkpoint still has its version; then only the time is unknown.
    let timestamp_ms = opened.inner.get_timestamp(opened.engine.as_ref()).ok();
    let snapshot = Snapshot { opened, store, shape, schema, timestamp_ms, notes: Arc::new(Mutex::new(notes)) };
    let features = snapshot.reader_features();
    let lacking = lacking(&features);
    if !lacking.is_empty() {
        let reason = format!("it needs reader features that are not supported here: {}", lacking.join(", "));
        return Err(DeltaError::Unsupported { root: snapshot.shape.shown_root(), reason });
    }
    Ok(snapshot)
}

/// Opens a log. Checkpoints that cannot be read are ignored as long as the commits say the same.
pub(crate) fn open_log(
    store: &Arc<dyn ObjectStore>,
    root: &Url,
    version: Option<u64>,
    without: Without,
    notes: &mut BTreeSet<LogNote>,
) -> Result<Opened, DeltaError> {
    let mut without = without;
    let mut first: Option<DeltaError> = None;
    for _ in 0..ATTEMPTS {
        let reading = LogReading::new(store.clone(), root, without.clone());
        let engine = log::engine(reading.clone())?;
        let mut builder = KernelSnapshot::builder_for(root.as_str());
        if let Some(version) = version {
            builder = builder.at_version(version);
        }
        let built = builder.build(engine.as_ref());
        let empty = reading.empty_checkpoints();
        if let Some(file) = empty.last() {
            let (root, reason) = (decoded(root.as_str()), "it has no bytes, and commits before it are gone".to_owned());
            first.get_or_insert(DeltaError::UnreadableLog { root, file: file.clone(), reason });
        }
        let error = match built {
            Ok(inner) if is_whole(&inner) => {
                notes.extend(empty.into_iter().map(|file| LogNote {
                    file,
                    message: "it has no bytes; the commits before it were read instead".to_owned(),
                }));
                return Ok(Opened { inner, engine, reading });
            }
            Ok(inner) => {
                let version = version.unwrap_or_else(|| inner.version());
                let reason = "its oldest commits are gone, and no checkpoint replaces them".to_owned();
                let gone = DeltaError::VersionGone { root: decoded(root.as_str()), version, reason };
                return Err(first.unwrap_or(gone));
            }
            Err(error) => error,
        };
        match reading.trouble() {
            Some(trouble) => {
                let error = unreadable(root, &trouble);
                let Some(checkpoint) = trouble.checkpoint.filter(|version| !without.checkpoints.contains(version))
                else {
                    return Err(first.unwrap_or(error));
                };
                first.get_or_insert(error);
                notes.insert(passed_by(&trouble));
                without.checkpoints.insert(checkpoint);
            }
            // `_last_checkpoint` names a checkpoint that does not exist (any more).
            None if is_about_hint(&error) && !without.hint => {
                without.hint = true;
                notes.insert(LogNote {
                    file: "_last_checkpoint".to_owned(),
                    message: "it names a checkpoint that does not exist or has no bytes; the log was read without it"
                        .to_owned(),
                });
            }
            None => return Err(first.unwrap_or_else(|| DeltaError::of_log(error, root, version))),
        }
    }
    Err(first.unwrap_or_else(|| DeltaError::Internal("no attempt to read the log succeeded".into())))
}

/// Whether the log is complete: it begins at a checkpoint, or at version 0.
fn is_whole(inner: &KernelSnapshot) -> bool {
    let segment = inner.log_segment();
    let first = segment.listed.ascending_commit_files.first().map(|commit| commit.version);
    segment.checkpoint_version.is_some() || first == Some(0)
}

fn is_about_hint(error: &KernelError) -> bool {
    match error {
        KernelError::Backtraced { source, .. } => is_about_hint(source),
        other => other.to_string().contains("_last_checkpoint"),
    }
}

pub(crate) fn unreadable(root: &Url, trouble: &Trouble) -> DeltaError {
    DeltaError::UnreadableLog {
        root: decoded(root.as_str()),
        file: trouble.file.clone(),
        reason: trouble.reason.clone(),
    }
}

pub(crate) fn passed_by(trouble: &Trouble) -> LogNote {
    let message = format!("it cannot be read ({}); the commits before it were read instead", trouble.reason);
    LogNote { file: trouble.file.clone(), message }
}

/// The table's column mapping, read from the property itself: the kernel treats a value that it cannot parse as no mapping.
fn column_mapping(inner: &KernelSnapshot, root: &Url) -> Result<ColumnMapping, DeltaError> {
    let table = inner.table_configuration();
    let refuse = |reason: String| Err(DeltaError::Unsupported { root: decoded(root.as_str()), reason });
    let Some(text) = inner.metadata_configuration().get("delta.columnMapping.mode") else {
        return Ok(ColumnMapping::None);
    };
    let mode = match text.to_lowercase().as_str() {
        "none" => return Ok(ColumnMapping::None),
        "name" => ColumnMapping::Name,
        "id" => ColumnMapping::Id,
        _ => {
            return refuse(format!(
                "its property delta.columnMapping.mode is {text:?}, which is none of none, name and id: set the column \
                 mapping mode that its files were written in"
            ));
        }
    };
    let protocol = table.protocol();
    let features = protocol.reader_features().unwrap_or_default();
    let named = features.iter().any(|feature| feature.to_string() == "columnMapping");
    if protocol.min_reader_version() == 2 || named {
        return Ok(mode);
    }
    refuse(format!(
        "its property delta.columnMapping.mode is {text:?}, and its protocol (reader version {}) has no column mapping: \
         upgrade the protocol or take the property away",
        protocol.min_reader_version()
    ))
}

impl Snapshot {
    /// The pinned version.
    pub fn version(&self) -> u64 {
        self.opened.inner.version()
    }

    /// Time of the commit in milliseconds since 1970; None if the log no longer has it.
    pub fn timestamp_ms(&self) -> Option<i64> {
        self.timestamp_ms
    }

    /// What a worker needs to read the files.
    pub fn shape(&self) -> &TableShape {
        &self.shape
    }

    /// The logical schema with all its metadata.
    pub fn schema(&self) -> &SchemaRef {
        self.shape.schema()
    }

    /// Schema of every batch that is read.
    pub fn arrow_schema(&self) -> &ArrowSchemaRef {
        self.shape.arrow_schema()
    }

    /// Logical names of the partition columns, in the table's order.
    pub fn partition_columns(&self) -> &[String] {
        self.shape.partition_columns()
    }

    /// The table's own id, which it keeps for life.
    pub fn table_id(&self) -> &str {
        self.opened.inner.table_configuration().metadata().id()
    }

    /// The schema as JSON, as the log has it, with types that this reader cannot parse.
    pub fn schema_json(&self) -> &str {
        &self.schema.whole
    }

    /// Columns whose values cannot be read at all. A plan must refuse them: the schema has other types in their place.
    pub fn unreadable_columns(&self) -> &[UnreadableColumn] {
        &self.schema.unreadable
    }

    /// What was ignored of the log so far, and why.
    pub fn notes(&self) -> Vec<LogNote> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// The table's properties.
    pub fn properties(&self) -> BTreeMap<String, String> {
        self.opened.inner.metadata_configuration().iter().map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    /// The lowest reader version that may read the table.
    pub fn min_reader_version(&self) -> i32 {
        self.opened.inner.table_configuration().protocol().min_reader_version()
    }

    /// The features that a reader must have, by their names in the protocol, sorted. Tables of reader version 2 imply column
    /// mapping, which is then listed too.
    pub fn reader_features(&self) -> Vec<String> {
        let protocol = self.opened.inner.table_configuration().protocol();
        let mut names: Vec<String> =
            protocol.reader_features().unwrap_or_default().iter().map(ToString::to_string).collect();
        if protocol.min_reader_version() == 2 {
            names.push("columnMapping".to_owned());
        }
        names.sort();
        names
    }

    pub(crate) fn opened(&self) -> &Opened {
        &self.opened
    }

    pub(crate) fn note(&self, note: LogNote) {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).insert(note);
    }

    /// The same version, read again while parts of its log are ignored.
    pub(crate) fn reopened(&self, without: Without) -> Result<Opened, DeltaError> {
        let mut notes = BTreeSet::new();
        let opened = open_log(&self.store, self.shape.root(), Some(self.version()), without, &mut notes)?;
        let same = opened.inner.table_configuration().metadata() == self.opened.inner.table_configuration().metadata()
            && opened.inner.table_configuration().protocol() == self.opened.inner.table_configuration().protocol();
        if !same {
            return Err(DeltaError::InvalidLog {
                root: self.shape.shown_root(),
                reason: "its commits and its checkpoint disagree about its schema or protocol".to_owned(),
            });
        }
        notes.into_iter().for_each(|note| self.note(note));
        Ok(opened)
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot").field("version", &self.version()).field("shape", &self.shape).finish_non_exhaustive()
    }
}
