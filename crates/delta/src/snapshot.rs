//! One version of one table, pinned. Opening it checks that this reader can read it at all: what it cannot is refused
//! here, before anything is planned.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::Arc;

use arrow::datatypes::SchemaRef as ArrowSchemaRef;
use delta_kernel::schema::SchemaRef;
use delta_kernel::snapshot::SnapshotRef;
use delta_kernel::table_features::Operation;
use delta_kernel::{Engine, Snapshot as KernelSnapshot};
use delta_kernel_default_engine::DefaultEngineBuilder;
use delta_kernel_default_engine::executor::tokio::TokioMultiThreadExecutor;
use object_store::ObjectStore;
use url::Url;

use crate::drive::{ask, io};
use crate::{DeltaError, TableShape};

/// Log files read ahead. The kernel's own figure is a thousand, which no stated bound of memory bears.
const LOG_READ_AHEAD: NonZero<usize> = NonZero::new(8).expect("eight is not zero");
/// Log entries in one piece.
const LOG_BATCH_ROWS: NonZero<usize> = NonZero::new(1000).expect("a thousand is not zero");

/// A Delta table by its place.
#[derive(Debug)]
pub struct DeltaTable;

impl DeltaTable {
    /// Opens `version` of the table under `root`, or its newest. `store` is the whole container or file system that
    /// `root` names.
    ///
    /// # Errors
    /// The table is not there, not at this version, or needs what this reader does not have.
    pub async fn open(store: Arc<dyn ObjectStore>, root: &Url, version: Option<u64>) -> Result<Snapshot, DeltaError> {
        let mut root = root.clone();
        if !root.path().ends_with('/') {
            root.set_path(&format!("{}/", root.path()));
        }
        ask(move || open(store, root, version)).await
    }
}

/// One version of one table.
#[derive(Clone)]
pub struct Snapshot {
    inner: SnapshotRef,
    engine: Arc<dyn Engine>,
    shape: TableShape,
    timestamp_ms: Option<i64>,
}

fn open(store: Arc<dyn ObjectStore>, root: Url, version: Option<u64>) -> Result<Snapshot, DeltaError> {
    let engine = engine(store, LOG_READ_AHEAD, LOG_BATCH_ROWS)?;
    let of_log = |e| DeltaError::of_log(e, &root, version);
    let mut builder = KernelSnapshot::builder_for(root.as_str());
    if let Some(version) = version {
        builder = builder.at_version(version);
    }
    let inner = builder.build(engine.as_ref()).map_err(of_log)?;
    let table = inner.table_configuration();
    table.ensure_operation_supported(Operation::Scan).map_err(of_log)?;
    let shape = TableShape::new(
        root.clone(),
        inner.schema(),
        table.logical_partition_columns().to_vec(),
        table.column_mapping_mode().into(),
    )?;
    // A commit file may be gone while a checkpoint still carries its version: then only the time is unknown.
    let timestamp_ms = inner.get_timestamp(engine.as_ref()).ok();
    Ok(Snapshot { inner, engine, shape, timestamp_ms })
}

/// The kernel's engine over `store`, its I/O on the runtime of this crate.
pub(crate) fn engine(
    store: Arc<dyn ObjectStore>,
    read_ahead: NonZero<usize>,
    batch_rows: NonZero<usize>,
) -> Result<Arc<dyn Engine>, DeltaError> {
    let executor = Arc::new(TokioMultiThreadExecutor::new(io()?));
    let builder = DefaultEngineBuilder::new(store).with_task_executor(executor);
    Ok(Arc::new(builder.with_buffer_size(read_ahead).with_batch_size(batch_rows).build()))
}

impl Snapshot {
    /// The version that is pinned.
    pub fn version(&self) -> u64 {
        self.inner.version()
    }

    /// When it was committed, in milliseconds since 1970, where the log still says so.
    pub fn timestamp_ms(&self) -> Option<i64> {
        self.timestamp_ms
    }

    /// What a worker needs to read its files.
    pub fn shape(&self) -> &TableShape {
        &self.shape
    }

    /// The logical schema with all its metadata.
    pub fn schema(&self) -> &SchemaRef {
        self.shape.schema()
    }

    /// The schema of every batch that is read.
    pub fn arrow_schema(&self) -> &ArrowSchemaRef {
        self.shape.arrow_schema()
    }

    /// Logical names of the partition columns, in the table's order.
    pub fn partition_columns(&self) -> &[String] {
        self.shape.partition_columns()
    }

    /// The id that the table keeps for life.
    pub fn table_id(&self) -> &str {
        self.inner.table_configuration().metadata().id()
    }

    /// The properties set on the table.
    pub fn properties(&self) -> BTreeMap<String, String> {
        self.inner.metadata_configuration().iter().map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    /// The lowest reader version that may read the table.
    pub fn min_reader_version(&self) -> i32 {
        self.inner.table_configuration().protocol().min_reader_version()
    }

    /// The features a reader must have, by their names in the protocol, sorted. Column mapping is named for tables of
    /// reader version 2 as well, where it is implied.
    pub fn reader_features(&self) -> Vec<String> {
        let protocol = self.inner.table_configuration().protocol();
        let mut names: Vec<String> =
            protocol.reader_features().unwrap_or_default().iter().map(ToString::to_string).collect();
        if protocol.min_reader_version() == 2 {
            names.push("columnMapping".to_owned());
        }
        names.sort();
        names
    }

    pub(crate) fn inner(&self) -> &SnapshotRef {
        &self.inner
    }

    pub(crate) fn engine(&self) -> &Arc<dyn Engine> {
        &self.engine
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot").field("version", &self.version()).field("shape", &self.shape).finish_non_exhaustive()
    }
}
