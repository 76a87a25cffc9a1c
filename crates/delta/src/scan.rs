//! The files of a snapshot, replayed from the log and streamed: a table of a million files is never held at once.

use std::collections::HashMap;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, Int64Array, MapArray, RecordBatch, StringArray, StructArray};
use delta_kernel::engine::arrow_data::EngineDataArrowExt;
use delta_kernel::scan::StatsOptions;
use delta_kernel::schema::DataType;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};

use crate::drive::{Out, Stop, drive};
use crate::place::decoded;
use crate::snapshot::{Opened, passed_by, unreadable};
use crate::{DeletionVector, DeltaError, FileStatistics, PartitionValues, Snapshot, SourceFile, TableShape};

/// Pages of the log that may wait for the consumer.
const PAGES_AHEAD: usize = 2;

impl Snapshot {
    /// The files of this version. The order is that of the log and is the same each time.
    ///
    /// An error is the last item. A stream that ends without one is complete.
    pub fn scan_files(&self) -> BoxStream<'static, Result<SourceFile, DeltaError>> {
        let snapshot = self.clone();
        drive(PAGES_AHEAD, move |out| replay(&snapshot, out))
            .map_ok(|page: Vec<SourceFile>| stream::iter(page).map(Ok))
            .try_flatten()
            .boxed()
    }
}

/// Files of one version, each at a place of its own.
#[derive(Default)]
struct Live {
    /// Places that this replay has given.
    places: HashMap<String, Option<DeletionVector>>,
    /// Files that an earlier replay gave, which broke off.
    given: HashMap<String, Option<DeletionVector>>,
}

fn replay(snapshot: &Snapshot, out: &Out<Vec<SourceFile>>) -> Result<(), Stop> {
    let columns = PartitionColumns::of(snapshot);
    let mut live = Live::default();
    let mut opened = snapshot.opened().clone();
    loop {
        let error = match replay_log(snapshot, &opened, &columns, &mut live, out) {
            Ok(()) => return live.agrees(snapshot).map_err(Stop::from),
            Err(Stop::Failed(error)) => error,
            Err(gone) => return Err(gone),
        };
        let Some(trouble) = opened.reading.trouble() else { return Err(error.into()) };
        let unreadable = unreadable(snapshot.shape().root(), &trouble);
        let mut without = opened.reading.without.clone();
        // A sidecar has no version in its name: it is of the checkpoint that was read.
        let of_sidecar = || if trouble.commit.is_none() { opened.inner.log_segment().checkpoint_version } else { None };
        let version = trouble.checkpoint.or_else(of_sidecar);
        let Some(version) = version.filter(|version| without.checkpoints.insert(*version)) else {
            return Err(unreadable.into());
        };
        // A checkpoint that breaks off somewhere in the middle: the commits say the same from the beginning. What was given
        // already came from commits after it, or from its whole part, and is live there too.
        tracing::warn!(
            file = trouble.file,
            version,
            reason = trouble.reason,
            "checkpoint unreadable; reading commits instead"
        );
        opened = snapshot.reopened(without).map_err(|_| unreadable)?;
        snapshot.note(passed_by(&trouble));
        live.given.extend(std::mem::take(&mut live.places));
    }
}

impl Live {
    /// Whether what was given before a replay broke off is what the whole log has.
    fn agrees(&self, snapshot: &Snapshot) -> Result<(), DeltaError> {
        let other = self.given.iter().find(|(path, vector)| self.places.get(*path) != Some(*vector));
        match other {
            None => Ok(()),
            Some((path, _)) => Err(DeltaError::InvalidLog {
                root: snapshot.shape().shown_root(),
                reason: format!("its checkpoint and its commits say different things of {}", decoded(path)),
            }),
        }
    }
}

fn replay_log(
    snapshot: &Snapshot,
    opened: &Opened,
    columns: &PartitionColumns,
    live: &mut Live,
    out: &Out<Vec<SourceFile>>,
) -> Result<(), Stop> {
    let of_log = |e| DeltaError::of_log(e, snapshot.shape().root(), Some(snapshot.version()));
    let scan = opened
        .inner
        .clone()
        .scan_builder()
        .with_stats(StatsOptions::json_only())
        .without_row_transforms()
        .build()
        .map_err(of_log)?;
    for page in scan.scan_metadata(opened.engine.as_ref()).map_err(of_log)? {
        let page = page.map_err(of_log)?;
        let rows = page.scan_files.apply_selection_vector().and_then(EngineDataArrowExt::try_into_record_batch);
        let mut files = page_files(snapshot, columns, &rows.map_err(of_log)?)?;
        for file in &files {
            if live.places.insert(file.path.clone(), file.deletion_vector.clone()).is_some() {
                return Err(Stop::Failed(DeltaError::InvalidLog {
                    root: snapshot.shape().shown_root(),
                    reason: format!(
                        "two live entries of it name {} (with different deletion vectors, or spelled differently): its rows \
                         would be read twice",
                        decoded(&file.path)
                    ),
                }));
            }
        }
        files.retain(|file| !live.given.contains_key(&file.path));
        if !files.is_empty() {
            out.send(files)?;
        }
    }
    Ok(())
}

/// How the log names the partition columns, and which of them can hold the empty text.
struct PartitionColumns(Vec<(String, String, bool)>);

impl PartitionColumns {
    fn of(snapshot: &Snapshot) -> Self {
        let shape = snapshot.shape();
        let column = |name: &String| {
            let textual = shape
                .schema()
                .field(name.as_str())
                .is_some_and(|field| matches!(field.data_type(), &DataType::STRING | &DataType::BINARY));
            (name.clone(), shape.physical_name(name), textual)
        };
        Self(shape.partition_columns().iter().map(column).collect())
    }

    /// A partition column that the log does not name for a file is NULL in it, as Spark has it. One that it names in another
    /// case only is an error: it would be NULL without a word.
    fn values(&self, mut raw: HashMap<&str, Option<&str>>) -> Result<PartitionValues, String> {
        let value = |(logical, physical, textual): &(String, String, bool)| {
            let told = raw.remove(physical.as_str());
            let folded = physical.to_lowercase();
            if told.is_none()
                && let Some(other) = raw.keys().find(|name| name.to_lowercase() == folded)
            {
                return Err(format!("a value of partition column `{other}`, and none of `{physical}`"));
            }
            let text = told.flatten().filter(|text| *textual || !text.is_empty());
            Ok((logical.clone(), text.map(str::to_owned)))
        };
        self.0.iter().map(value).collect()
    }
}

/// The columns of the kernel's scan rows that make a [`SourceFile`].
struct Rows<'a> {
    path: &'a StringArray,
    size: &'a Int64Array,
    stats: &'a StringArray,
    vector: &'a StructArray,
    storage_type: &'a StringArray,
    path_or_inline: &'a StringArray,
    offset: &'a Int32Array,
    size_in_bytes: &'a Int32Array,
    cardinality: &'a Int64Array,
    partition_values: &'a MapArray,
}

fn column<'a, A: 'static>(columns: &'a dyn Columns, name: &str) -> Result<&'a A, DeltaError> {
    let found = columns.named(name).and_then(|array| array.as_any().downcast_ref());
    found.ok_or_else(|| DeltaError::Internal(format!("the kernel's scan rows have no column {name} of the known type")))
}

trait Columns {
    fn named(&self, name: &str) -> Option<&ArrayRef>;
}

impl Columns for RecordBatch {
    fn named(&self, name: &str) -> Option<&ArrayRef> {
        self.column_by_name(name)
    }
}

impl Columns for StructArray {
    fn named(&self, name: &str) -> Option<&ArrayRef> {
        self.column_by_name(name)
    }
}

impl<'a> Rows<'a> {
    fn of(batch: &'a RecordBatch) -> Result<Self, DeltaError> {
        let vector: &StructArray = column(batch, "deletionVector")?;
        let constants: &StructArray = column(batch, "fileConstantValues")?;
        Ok(Self {
            path: column(batch, "path")?,
            size: column(batch, "size")?,
            stats: column(batch, "stats")?,
            vector,
            storage_type: column(vector, "storageType")?,
            path_or_inline: column(vector, "pathOrInlineDv")?,
            offset: column(vector, "offset")?,
            size_in_bytes: column(vector, "sizeInBytes")?,
            cardinality: column(vector, "cardinality")?,
            partition_values: column(constants, "partitionValues")?,
        })
    }

    fn partition_values(&self, row: usize) -> Result<HashMap<&str, Option<&str>>, DeltaError> {
        let entries = self.partition_values.offsets()[row] as usize..self.partition_values.offsets()[row + 1] as usize;
        let entry = self.partition_values.entries();
        let (keys, values) = match entry.columns() {
            [keys, values] => (keys.as_string_opt::<i32>(), values.as_string_opt::<i32>()),
            _ => (None, None),
        };
        let (Some(keys), Some(values)) = (keys, values) else {
            return Err(DeltaError::Internal("the kernel's partition values are not a map of texts".into()));
        };
        Ok(entries.map(|i| (keys.value(i), values.is_valid(i).then(|| values.value(i)))).collect())
    }

    /// A vector with a negative cardinality is `Err` with it.
    fn deletion_vector(&self, row: usize) -> Result<Option<DeletionVector>, i64> {
        if self.vector.is_null(row) || self.storage_type.is_null(row) {
            return Ok(None);
        }
        let cardinality = self.cardinality.value(row);
        Ok(Some(DeletionVector {
            storage_type: self.storage_type.value(row).to_owned(),
            path_or_inline: self.path_or_inline.value(row).to_owned(),
            offset: self.offset.is_valid(row).then(|| self.offset.value(row)),
            size_in_bytes: self.size_in_bytes.value(row),
            cardinality: u64::try_from(cardinality).map_err(|_| cardinality)?,
        }))
    }
}

fn page_files(
    snapshot: &Snapshot,
    columns: &PartitionColumns,
    batch: &RecordBatch,
) -> Result<Vec<SourceFile>, DeltaError> {
    let rows = Rows::of(batch)?;
    (0..batch.num_rows()).map(|row| source_file(snapshot.shape(), columns, &rows, row)).collect()
}

fn source_file(
    shape: &TableShape,
    columns: &PartitionColumns,
    rows: &Rows<'_>,
    row: usize,
) -> Result<SourceFile, DeltaError> {
    let path = rows.path.value(row);
    let invalid = |reason: String| DeltaError::InvalidLog {
        root: shape.shown_root(),
        reason: format!("file {} has {reason}", decoded(path)),
    };
    shape.locate(path)?;
    let size = rows.size.value(row);
    let size = u64::try_from(size).map_err(|_| invalid(format!("size {size}")))?;
    let deletion_vector =
        rows.deletion_vector(row).map_err(|n| invalid(format!("a deletion vector of cardinality {n}")))?;
    let deleted = deletion_vector.as_ref().map_or(0, |vector| vector.cardinality);
    let statistics = rows.stats.is_valid(row).then(|| FileStatistics::parse(rows.stats.value(row)));
    let rows_left = match statistics.as_ref().and_then(|told| told.rows) {
        None => None,
        Some(stored) => Some(
            stored
                .checked_sub(deleted)
                .ok_or_else(|| invalid(format!("{stored} rows, of which {deleted} are deleted")))?,
        ),
    };
    let partition_values = columns.values(rows.partition_values(row)?).map_err(invalid)?;
    let statistics = statistics.filter(|told| *told != FileStatistics::default());
    Ok(SourceFile { path: path.to_owned(), size, rows: rows_left, partition_values, deletion_vector, statistics })
}
