//! Compares what the reader returns with what Spark wrote for the same table, cell by cell. Used by this crate's tests for
//! real tables and for those of the sandbox.
#![allow(clippy::print_stderr)]

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimeUnit,
};
use futures::{StreamExt, TryStreamExt, stream};
use mms_delta::{
    DeltaError, DeltaTable, FileBatch, LoggedFile, ReadOptions, Snapshot, SourceFile, TableShape, TableTotals,
    read_files,
};
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use url::Url;

/// The folder with `delta-root` and `expected`, if the environment names one.
pub fn real_tables() -> Option<PathBuf> {
    let folder = std::env::var_os("MMS_TEST_TABLES").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("SKIPPED real tables: MMS_TEST_TABLES names no folder");
    }
    folder
}

pub fn store() -> Arc<dyn ObjectStore> {
    Arc::new(LocalFileSystem::new())
}

pub async fn open(table: &Path, version: Option<u64>) -> Result<Snapshot, DeltaError> {
    let root = Url::from_directory_path(table.canonicalize().unwrap_or_else(|_| table.to_owned())).unwrap();
    DeltaTable::open(store(), &root, version).await
}

pub async fn files(snapshot: &Snapshot) -> Vec<SourceFile> {
    snapshot.scan_files().try_collect().await.unwrap()
}

pub async fn totals(snapshot: &Snapshot) -> TableTotals {
    let add = |totals: &mut TableTotals, file: &LoggedFile<'_>| {
        totals.add(file);
        ControlFlow::Continue(())
    };
    snapshot.fold_files(TableTotals::default(), add).await.unwrap()
}

pub async fn read(shape: &TableShape, files: Vec<SourceFile>) -> Result<Vec<FileBatch>, DeltaError> {
    let files = stream::iter(files).map(Ok::<_, DeltaError>);
    read_files(shape, store(), files, ReadOptions::default()).try_collect().await
}

/// Every row of a version, read as a worker does: by the stored text of its shape.
pub async fn rows(snapshot: &Snapshot) -> Vec<RecordBatch> {
    let shape = TableShape::read(snapshot.shape().text()).unwrap();
    let batches = read(&shape, files(snapshot).await).await.unwrap();
    for batch in &batches {
        assert_eq!(batch.batch.schema(), *snapshot.arrow_schema());
    }
    batches.into_iter().map(|b| b.batch).collect()
}

/// Folder of Spark's rows of the newest version, in either of the two layouts.
pub fn expected_folder(expected: &Path, table: &str) -> PathBuf {
    let plain = expected.join(table);
    let latest = plain.join("latest/table_content.parquet");
    if latest.is_dir() { latest } else { plain }
}

pub fn expected_rows(folder: &Path) -> Vec<RecordBatch> {
    let mut parts: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    parts.retain(|p| p.extension().is_some_and(|e| e == "parquet"));
    parts.sort();
    assert!(!parts.is_empty(), "no expected rows in {}", folder.display());
    let read = |p: PathBuf| {
        let reader =
            ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(p).unwrap()).unwrap().build().unwrap();
        // A table without rows has columns nevertheless.
        let none = RecordBatch::new_empty(arrow::array::RecordBatchReader::schema(&reader));
        std::iter::once(none).chain(reader.map(Result::unwrap)).collect::<Vec<_>>()
    };
    parts.into_iter().flat_map(read).collect()
}

/// The rows as texts of these columns, sorted, so that they compare as a multiset. `adjust` may rewrite a cell of a named
/// column.
pub fn texts(batches: &[RecordBatch], columns: &[&str], adjust: impl Fn(&str, String) -> String) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for batch in batches {
        let arrays: Vec<_> =
            columns.iter().map(|c| batch.column_by_name(c).unwrap_or_else(|| panic!("no column {c}"))).collect();
        for row in 0..batch.num_rows() {
            let cells = arrays.iter().zip(columns).map(|(array, name)| adjust(name, cell(array, row)));
            rows.push(cells.collect());
        }
    }
    rows.sort();
    rows
}

/// Asserts that both have the same rows; names the first one that differs.
pub fn assert_same_rows(table: &str, found: &[Vec<String>], expected: &[Vec<String>]) {
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert_eq!(found, expected, "{table}: row {i} of the sorted rows");
    }
    assert_eq!(found.len(), expected.len(), "{table}: number of rows");
}

/// One value with its type. Exact: equal texts are equal values. `tests/interop/differential_reader.py` writes the same
/// texts.
pub fn cell(array: &ArrayRef, row: usize) -> String {
    if array.is_null(row) {
        return "NULL".into();
    }
    match array.data_type() {
        DataType::Boolean => format!("{}", array.as_boolean().value(row)),
        DataType::Int8 => format!("{}i8", array.as_primitive::<Int8Type>().value(row)),
        DataType::Int16 => format!("{}i16", array.as_primitive::<Int16Type>().value(row)),
        DataType::Int32 => format!("{}i32", array.as_primitive::<Int32Type>().value(row)),
        DataType::Int64 => format!("{}i64", array.as_primitive::<Int64Type>().value(row)),
        DataType::Float32 => format!("{:08x}f32", array.as_primitive::<Float32Type>().value(row).to_bits()),
        DataType::Float64 => format!("{:016x}f64", array.as_primitive::<Float64Type>().value(row).to_bits()),
        DataType::Decimal128(_, scale) => {
            format!("{}e-{scale}", array.as_primitive::<Decimal128Type>().value(row))
        }
        DataType::Date32 => format!("{}date", array.as_primitive::<Date32Type>().value(row)),
        DataType::Timestamp(unit, zone) => timestamp(array, row, *unit, zone.is_some()),
        DataType::Utf8 => serde_json::to_string(array.as_string::<i32>().value(row)).unwrap(),
        DataType::Binary => format!("{:02x?}", array.as_binary::<i32>().value(row)),
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(row);
            format!("[{}]", (0..items.len()).map(|i| cell(&items, i)).collect::<Vec<_>>().join(", "))
        }
        DataType::Struct(fields) => {
            let parts = array.as_struct().columns().iter().zip(fields);
            let parts: Vec<_> =
                parts.map(|(column, field)| format!("{}: {}", field.name(), cell(column, row))).collect();
            format!("({})", parts.join(", "))
        }
        DataType::Map(_, _) => {
            let entries = array.as_map().value(row);
            let (keys, values) = (entries.column(0), entries.column(1));
            let mut pairs: Vec<_> =
                (0..entries.len()).map(|i| format!("{} => {}", cell(keys, i), cell(values, i))).collect();
            pairs.sort();
            format!("{{{}}}", pairs.join(", "))
        }
        other => panic!("the comparison knows no {other}"),
    }
}

/// Spark writes timestamps as INT96, which are read in nanoseconds and without a zone although they are instants;
/// TIMESTAMP_NTZ it writes in microseconds without a zone.
fn timestamp(array: &ArrayRef, row: usize, unit: TimeUnit, zone: bool) -> String {
    use arrow::datatypes::{TimestampMicrosecondType as Micros, TimestampNanosecondType as Nanos};
    match (unit, zone) {
        (TimeUnit::Nanosecond, _) => {
            let nanos = array.as_primitive::<Nanos>().value(row);
            assert_eq!(nanos % 1000, 0, "Spark's timestamps have microseconds");
            format!("{}instant", nanos / 1000)
        }
        (TimeUnit::Microsecond, true) => format!("{}instant", array.as_primitive::<Micros>().value(row)),
        (TimeUnit::Microsecond, false) => format!("{}ntz", array.as_primitive::<Micros>().value(row)),
        other => panic!("the comparison knows no timestamp in {other:?}"),
    }
}
