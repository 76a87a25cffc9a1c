//! Writes a Delta table by hand: Parquet files and the JSON commits that name them. Rows are streamed; memory is
//! bounded by one row group for each partition that a commit touches.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use roaring::RoaringTreemap;
use serde_json::{Value, json};
use uuid::Uuid;

use super::schema::{DeltaSchema, rename};
use super::{SampleError, partition, vector};

/// The most files that may be open at once in one commit.
const MAX_OPEN_PARTITIONS: usize = 64;
/// Rows of a row group. An open file buffers at most one row group in memory.
const ROW_GROUP_ROWS: usize = 32 * 1024;

/// How files name the columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mapping {
    /// By their logical names.
    None,
    /// By generated physical names.
    Name,
}

/// Where a deletion vector is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VectorStorage {
    /// In the commit itself.
    Inline,
    /// In a file of its own.
    File,
}

/// What a table consists of.
#[derive(Clone, Debug)]
pub struct TableSpec {
    /// The logical columns in order.
    pub schema: SchemaRef,
    /// Which of them are partition columns.
    pub partition_columns: Vec<String>,
    /// How files name the columns.
    pub mapping: Mapping,
    /// Whether rows can be deleted by vectors.
    pub deletion_vectors: bool,
    /// The number of rows after which a new file is started.
    pub rows_per_file: usize,
    /// The time of version 0, in milliseconds since the epoch. Each later commit is dated one second after the one
    /// before.
    pub written_ms: i64,
}

impl TableSpec {
    /// An unpartitioned table without column mapping and deletion vectors.
    pub fn new(schema: SchemaRef, written_ms: i64) -> Self {
        Self {
            schema,
            partition_columns: Vec::new(),
            mapping: Mapping::None,
            deletion_vectors: false,
            rows_per_file: 100_000,
            written_ms,
        }
    }
}

/// A file of the newest version.
struct LiveFile {
    add: Value,
    rows: u64,
    deleted: RoaringTreemap,
}

/// A Delta table that is being written.
pub struct DeltaWriter {
    dir: PathBuf,
    spec: TableSpec,
    delta: DeltaSchema,
    live: Vec<LiveFile>,
    next_version: u64,
    next_file: u64,
}

impl DeltaWriter {
    /// Creates the table as version 0, without rows. The folder must not hold a table yet.
    ///
    /// # Errors
    /// The folder cannot be written, or Delta does not have one of the types.
    pub fn create(dir: &Path, spec: TableSpec) -> Result<Self, SampleError> {
        let log = dir.join("_delta_log");
        fs::create_dir_all(&log).map_err(SampleError::io(&log))?;
        let delta = DeltaSchema::of(&spec.schema, spec.mapping)?;
        let mut writer = Self { dir: dir.to_owned(), spec, delta, live: Vec::new(), next_version: 0, next_file: 0 };
        let actions = vec![writer.protocol(), writer.metadata()];
        writer.commit("CREATE TABLE", actions)?;
        Ok(writer)
    }

    /// Adds rows in one commit and returns its version.
    ///
    /// # Errors
    /// The rows need more than 64 open files, one for each partition, or a file cannot be written.
    pub fn append<I, E>(&mut self, batches: I) -> Result<u64, SampleError>
    where
        I: IntoIterator<Item = Result<RecordBatch, E>>,
        SampleError: From<E>,
    {
        let added = self.write_files(batches)?;
        let actions = added.iter().map(|file| json!({"add": file.add})).collect();
        self.live.extend(added);
        self.commit("WRITE", actions)
    }

    /// Replaces all rows in one commit and returns its version.
    ///
    /// # Errors
    /// As [`DeltaWriter::append`].
    pub fn overwrite(&mut self, batch: RecordBatch) -> Result<u64, SampleError> {
        let added = self.write_files([Ok::<_, SampleError>(batch)])?;
        let mut actions: Vec<_> = self.live.iter().map(|file| self.remove(file)).collect();
        actions.extend(added.iter().map(|file| json!({"add": file.add})));
        self.live = added;
        self.commit("WRITE", actions)
    }

    /// Deletes rows of a live file with a deletion vector, in addition to those already deleted, and returns the
    /// version. `file` counts the live files from 0, `rows` the rows of that file.
    ///
    /// # Errors
    /// The file or a row does not exist, or a file cannot be written.
    pub fn delete(&mut self, file: usize, rows: &[u64], storage: VectorStorage) -> Result<u64, SampleError> {
        let live = self.live.get(file).ok_or(SampleError::NoSuchRow { file, row: 0 })?;
        if let Some(&row) = rows.iter().find(|&&row| row >= live.rows) {
            return Err(SampleError::NoSuchRow { file, row });
        }
        let removed = self.remove(live);
        let (mut add, mut deleted) = (live.add.clone(), live.deleted.clone());
        deleted.extend(rows.iter().copied());
        add["deletionVector"] = self.descriptor(&deleted, storage)?;
        self.live[file] = LiveFile { add: add.clone(), rows: self.live[file].rows, deleted };
        self.commit("DELETE", vec![removed, json!({"add": add})])
    }

    /// Changes the columns and returns the version. Existing files stay as they are; columns that they lack read as
    /// NULL.
    ///
    /// # Errors
    /// Delta does not have one of the types, or the commit cannot be written.
    pub fn set_schema(&mut self, schema: SchemaRef) -> Result<u64, SampleError> {
        self.delta = DeltaSchema::of(&schema, self.spec.mapping)?;
        self.spec.schema = schema;
        let metadata = self.metadata();
        self.commit("ADD COLUMNS", vec![metadata])
    }

    /// The number of rows of the newest version.
    pub fn rows(&self) -> u64 {
        self.live.iter().map(|file| file.rows - file.deleted.len()).sum()
    }

    fn protocol(&self) -> Value {
        let mut features = Vec::new();
        features.extend((self.spec.mapping == Mapping::Name).then_some("columnMapping"));
        features.extend(self.spec.deletion_vectors.then_some("deletionVectors"));
        features.extend(self.delta.has_ntz.then_some("timestampNtz"));
        if features.is_empty() {
            return json!({"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}});
        }
        json!({"protocol": {
            "minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": features, "writerFeatures": features,
        }})
    }

    fn metadata(&self) -> Value {
        let mut configuration = BTreeMap::new();
        if self.spec.mapping == Mapping::Name {
            configuration.insert("delta.columnMapping.mode", "name".to_owned());
            configuration.insert("delta.columnMapping.maxColumnId", self.delta.highest_id.to_string());
        }
        if self.spec.deletion_vectors {
            configuration.insert("delta.enableDeletionVectors", "true".to_owned());
        }
        json!({"metaData": {
            "id": self.uuid(u64::MAX).to_string(),
            "format": {"provider": "parquet", "options": {}},
            "schemaString": self.delta.json.to_string(),
            "partitionColumns": self.spec.partition_columns,
            "configuration": configuration,
            "createdTime": self.spec.written_ms,
        }})
    }

    fn remove(&self, file: &LiveFile) -> Value {
        let mut remove = json!({
            "path": file.add["path"], "dataChange": true, "deletionTimestamp": self.now_ms(),
            "extendedFileMetadata": true, "partitionValues": file.add["partitionValues"], "size": file.add["size"],
        });
        if let Some(vector) = file.add.get("deletionVector") {
            remove["deletionVector"] = vector.clone();
        }
        json!({"remove": remove})
    }

    fn descriptor(&mut self, deleted: &RoaringTreemap, storage: VectorStorage) -> Result<Value, SampleError> {
        let bytes = vector::serialise(deleted);
        let mut descriptor = json!({"sizeInBytes": bytes.len(), "cardinality": deleted.len()});
        match storage {
            VectorStorage::Inline => {
                descriptor["storageType"] = "i".into();
                descriptor["pathOrInlineDv"] = vector::z85(&bytes).into();
            }
            VectorStorage::File => {
                let uuid = self.next_uuid();
                let path = self.dir.join(format!("deletion_vector_{uuid}.bin"));
                fs::write(&path, vector::file(&bytes)).map_err(SampleError::io(&path))?;
                descriptor["storageType"] = "u".into();
                descriptor["pathOrInlineDv"] = vector::z85(uuid.as_bytes()).into();
                descriptor["offset"] = vector::FILE_OFFSET.into();
            }
        }
        Ok(descriptor)
    }

    /// Writes the log file under another name, then renames it, so that readers never see a partial commit.
    fn commit(&mut self, operation: &str, actions: Vec<Value>) -> Result<u64, SampleError> {
        let version = self.next_version;
        let log = self.dir.join("_delta_log");
        let (path, aside) = (log.join(format!("{version:020}.json")), log.join(format!(".{version:020}.tmp")));
        let info = json!({"commitInfo": {"timestamp": self.now_ms(), "operation": operation}});
        let lines: String = std::iter::once(info).chain(actions).map(|action| format!("{action}\n")).collect();
        let mut file = OpenOptions::new().write(true).create_new(true).open(&aside).map_err(SampleError::io(&aside))?;
        file.write_all(lines.as_bytes()).map_err(SampleError::io(&aside))?;
        if path.exists() {
            return Err(SampleError::io(&path)(std::io::ErrorKind::AlreadyExists.into()));
        }
        fs::rename(&aside, &path).map_err(SampleError::io(&path))?;
        self.next_version += 1;
        Ok(version)
    }

    fn now_ms(&self) -> i64 {
        self.spec.written_ms + i64::try_from(self.next_version).unwrap_or(0) * 1000
    }

    /// Ids are derived from the table's name and a number, so that the same table is always written the same way.
    fn uuid(&self, number: u64) -> Uuid {
        let name = self.dir.file_name().unwrap_or_default().as_encoded_bytes();
        let hash =
            name.iter().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x100_0000_01b3));
        Uuid::from_u64_pair(hash, number)
    }

    fn next_uuid(&mut self) -> Uuid {
        self.next_file += 1;
        self.uuid(self.next_file)
    }

    fn write_files<I, E>(&mut self, batches: I) -> Result<Vec<LiveFile>, SampleError>
    where
        I: IntoIterator<Item = Result<RecordBatch, E>>,
        SampleError: From<E>,
    {
        let mut open: BTreeMap<Vec<Option<String>>, OpenFile> = BTreeMap::new();
        let mut done = Vec::new();
        for batch in batches {
            let batch = batch?;
            for (key, rows) in self.partitions_of(&batch)? {
                if !open.contains_key(&key) {
                    if open.len() == MAX_OPEN_PARTITIONS {
                        return Err(SampleError::TooManyPartitions { limit: MAX_OPEN_PARTITIONS });
                    }
                    open.insert(key.clone(), self.open_file(&key)?);
                }
                let part = take_record_batch(&batch, &UInt32Array::from(rows))?;
                let Some(file) = open.get_mut(&key) else { continue };
                file.write(&part)?;
                if file.rows >= self.spec.rows_per_file as u64
                    && let Some(full) = open.remove(&key)
                {
                    done.push(full.close(self.now_ms())?);
                }
            }
        }
        for file in open.into_values() {
            done.push(file.close(self.now_ms())?);
        }
        Ok(done)
    }

    /// The row numbers of each partition, sorted by the partition's values.
    fn partitions_of(&self, batch: &RecordBatch) -> Result<BTreeMap<Vec<Option<String>>, Vec<u32>>, SampleError> {
        let mut found: BTreeMap<_, Vec<u32>> = BTreeMap::new();
        let columns: Result<Vec<(&str, &ArrayRef)>, SampleError> = self
            .spec
            .partition_columns
            .iter()
            .map(|name| {
                let array = batch
                    .column_by_name(name)
                    .ok_or_else(|| SampleError::Type { column: name.clone(), data_type: "(absent)".to_owned() })?;
                Ok((name.as_str(), array))
            })
            .collect();
        let columns = columns?;
        for row in 0..batch.num_rows() {
            let key: Result<Vec<_>, _> =
                columns.iter().map(|(name, array)| partition::text(name, array, row)).collect();
            let row = u32::try_from(row).unwrap_or(u32::MAX);
            found.entry(key?).or_default().push(row);
        }
        Ok(found)
    }

    fn open_file(&mut self, key: &[Option<String>]) -> Result<OpenFile, SampleError> {
        let logical = &self.spec.schema;
        let is_partition = |name: &str| self.spec.partition_columns.iter().any(|c| c == name);
        let stored: Vec<usize> =
            (0..logical.fields().len()).filter(|&i| !is_partition(logical.field(i).name())).collect();
        let physical_name = |name: &str| {
            let index = logical.index_of(name).map_err(SampleError::from)?;
            Ok::<_, SampleError>(self.delta.physical.field(index).name().clone())
        };
        let names: Result<Vec<_>, _> = self.spec.partition_columns.iter().map(|c| physical_name(c)).collect();
        let names = names?;
        let values = names.iter().map(String::as_str).zip(key.iter().map(Option::as_deref));
        let folder = partition::folder(values.clone());
        let partition_values: BTreeMap<_, _> = values.map(|(k, v)| (k.to_owned(), v.map(str::to_owned))).collect();
        let schema = Arc::new(self.delta.physical.project(&stored)?);
        let number = self.next_file;
        let path = format!("{folder}part-{number:05}-{}.c000.snappy.parquet", self.next_uuid());
        let full = self.dir.join(&path);
        let parent = full.parent().unwrap_or(&self.dir);
        fs::create_dir_all(parent).map_err(SampleError::io(parent))?;
        let file = File::create_new(&full).map_err(SampleError::io(&full))?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .build();
        // Other writers of Delta store no Arrow schema in the file, so a reader must work without one.
        let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
        let parquet = ArrowWriter::try_new_with_options(file, schema.clone(), options)?;
        Ok(OpenFile { path, full, stored, schema, parquet, rows: 0, partition_values })
    }
}

struct OpenFile {
    path: String,
    full: PathBuf,
    stored: Vec<usize>,
    schema: Arc<Schema>,
    parquet: ArrowWriter<File>,
    rows: u64,
    partition_values: BTreeMap<String, Option<String>>,
}

impl OpenFile {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), SampleError> {
        let columns: Result<Vec<_>, _> = self
            .stored
            .iter()
            .zip(self.schema.fields())
            .map(|(&index, field)| rename(batch.column(index), field.data_type()))
            .collect();
        self.parquet.write(&RecordBatch::try_new(self.schema.clone(), columns?)?)?;
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    fn close(self, now_ms: i64) -> Result<LiveFile, SampleError> {
        self.parquet.close()?;
        let size = fs::metadata(&self.full).map_err(SampleError::io(&self.full))?.len();
        let add = json!({
            "path": partition::log_path(&self.path), "partitionValues": self.partition_values, "size": size,
            "modificationTime": now_ms, "dataChange": true, "stats": json!({"numRecords": self.rows}).to_string(),
        });
        Ok(LiveFile { add, rows: self.rows, deleted: RoaringTreemap::new() })
    }
}
