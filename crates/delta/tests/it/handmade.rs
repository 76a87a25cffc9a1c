//! Tables written by hand, as unusual as a test needs them: commits as lines of JSON, files by Arrow's writer.

use std::fs;
use std::path::PathBuf;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use futures::{StreamExt, TryStreamExt};
use mms_delta::{DeltaError, FileBatch, ReadOptions, SourceFile, TableShape, read_files};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::{cell, files, open, store};

/// A table that is being written.
pub struct Table {
    _folder: TempDir,
    pub dir: PathBuf,
    version: u64,
}

/// A field of a schema.
pub fn field(name: &str, data_type: impl Into<Value>) -> Value {
    json!({ "name": name, "type": data_type.into(), "nullable": true, "metadata": {} })
}

/// A field that has another name in files, by the table's column mapping.
pub fn mapped(name: &str, data_type: impl Into<Value>, id: i64, stored: &str) -> Value {
    let metadata = json!({ "delta.columnMapping.id": id, "delta.columnMapping.physicalName": stored });
    json!({ "name": name, "type": data_type.into(), "nullable": true, "metadata": metadata })
}

pub fn longs(values: &[i64]) -> ArrayRef {
    std::sync::Arc::new(Int64Array::from(values.to_vec()))
}

pub fn texts(values: &[&str]) -> ArrayRef {
    std::sync::Arc::new(StringArray::from(values.to_vec()))
}

pub fn batch(columns: &[(&str, ArrayRef)]) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.iter().map(|(name, column)| (*name, column.clone(), true)))
        .unwrap()
}

impl Table {
    /// An empty folder with an empty log.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().canonicalize().unwrap().join("t");
        fs::create_dir_all(dir.join("_delta_log")).unwrap();
        Self { _folder: folder, dir, version: 0 }
    }

    /// Writes the first commit of a table whose files are written already.
    pub fn begin(
        &mut self,
        protocol: Value,
        fields: &[Value],
        partitions: &[&str],
        configuration: Value,
        adds: &[Value],
    ) {
        let schema = json!({ "type": "struct", "fields": fields }).to_string();
        let metadata = json!({ "id": "00000000-0000-4000-8000-000000000001", "format": { "provider": "parquet", "options": {} },
            "schemaString": schema, "partitionColumns": partitions, "configuration": configuration, "createdTime": 0 });
        let mut actions = vec![json!({ "protocol": protocol }), json!({ "metaData": metadata })];
        actions.extend_from_slice(adds);
        self.commit(&actions);
    }

    /// Writes one more commit; returns its path.
    pub fn commit(&mut self, actions: &[Value]) -> PathBuf {
        let lines: Vec<String> = actions.iter().map(Value::to_string).collect();
        let path = self.log(&format!("{:020}.json", self.version));
        fs::write(&path, lines.join("\n") + "\n").unwrap();
        self.version += 1;
        path
    }

    /// Path of a file of the log.
    pub fn log(&self, name: &str) -> PathBuf {
        self.dir.join("_delta_log").join(name)
    }

    /// Writes a data file and returns its `add` action, with the number of rows as its only statistics.
    pub fn file(&self, name: &str, batch: &RecordBatch) -> Value {
        self.file_with(name, batch, WriterProperties::default())
    }

    /// The same with other properties of the writer.
    pub fn file_with(&self, name: &str, batch: &RecordBatch, properties: WriterProperties) -> Value {
        let path = self.dir.join(name);
        let mut writer =
            ArrowWriter::try_new(fs::File::create(&path).unwrap(), batch.schema(), Some(properties)).unwrap();
        writer.write(batch).unwrap();
        writer.close().unwrap();
        self.add(name, json!({ "numRecords": batch.num_rows() }))
    }

    /// The `add` action of an existing file.
    pub fn add(&self, name: &str, statistics: Value) -> Value {
        let size = fs::metadata(self.dir.join(name)).unwrap().len();
        json!({ "add": { "path": name, "partitionValues": {}, "size": size, "modificationTime": 0, "dataChange": true,
            "stats": statistics.to_string() } })
    }

    /// URL of the table's folder, written with a single slash.
    pub fn place(&self) -> String {
        format!("file:{}", self.dir.display())
    }

    /// The rows of the newest version as sorted texts, and the notes of log and reader; or why the table is refused.
    pub async fn read(&self) -> Result<(Vec<String>, Vec<String>), DeltaError> {
        self.read_with(ReadOptions::default()).await
    }

    /// The same with options.
    pub async fn read_with(&self, options: ReadOptions) -> Result<(Vec<String>, Vec<String>), DeltaError> {
        let snapshot = open(&self.dir, None).await?;
        let listed: Vec<SourceFile> = snapshot.scan_files().try_collect().await?;
        let shape = TableShape::read(snapshot.shape().text())?;
        let notes = options.notes.clone();
        let listed = futures::stream::iter(listed).map(Ok::<_, DeltaError>);
        let batches: Vec<FileBatch> = read_files(&shape, store(), listed, options).try_collect().await?;
        let mut rows = Vec::new();
        for read in batches {
            for row in 0..read.batch.num_rows() {
                let cells: Vec<String> = read.batch.columns().iter().map(|column| cell(column, row)).collect();
                rows.push(cells.join(" "));
            }
        }
        rows.sort();
        let mut told: Vec<String> =
            snapshot.notes().into_iter().map(|note| format!("{}: {}", note.file, note.message)).collect();
        told.extend(notes.take());
        Ok((rows, told))
    }

    /// The text of the error by which the table is refused.
    pub async fn refusal(&self) -> String {
        let error = self.read().await.expect_err("this table must be refused");
        let text = error.to_string();
        assert!(text.len() <= 2_048, "{} bytes: {text}", text.len());
        text
    }

    pub async fn files(&self) -> Vec<SourceFile> {
        files(&open(&self.dir, None).await.unwrap()).await
    }
}
