//! A small set of tables that covers the types and features of Delta tables, and the rows that a reader must get from
//! each.
//!
//! The layout is that of a folder of real tables: the tables under `delta-root/<schema>/<table>`, the rows of their
//! newest versions as plain Parquet under `expected/<table>`, so that one comparison serves both.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;

use super::{DeltaWriter, Mapping, SampleError, SampleTable, TableSpec, VectorStorage, table_dir, type_rows};

/// The schema (folder) that holds them.
const SCHEMA: &str = "samples";

/// Writes the tables under `<folder>/delta-root/samples` and their rows under `<folder>/expected`. `written_ms` is the
/// time of the first commits.
///
/// # Errors
/// The folder cannot be written, or holds such tables already.
pub fn types(folder: &Path, written_ms: i64) -> Result<Vec<SampleTable>, SampleError> {
    let set = TypeSet { folder, written_ms };
    Ok(vec![
        set.plain("every_type", &type_rows::every_type()?)?,
        set.plain("nested", &type_rows::nested()?)?,
        set.partitioned()?,
        set.every_partition_type()?,
        set.deleted("deleted_inline", VectorStorage::Inline)?,
        set.deleted("deleted_file", VectorStorage::File)?,
        set.mapped()?,
        set.rewritten()?,
        set.widened()?,
        set.empty()?,
    ])
}

struct TypeSet<'a> {
    folder: &'a Path,
    written_ms: i64,
}

impl TypeSet<'_> {
    fn create(&self, name: &str, spec: TableSpec) -> Result<DeltaWriter, SampleError> {
        DeltaWriter::create(&table_dir(&self.folder.join("delta-root"), SCHEMA, name), spec)
    }

    fn spec(&self, schema: SchemaRef) -> TableSpec {
        TableSpec::new(schema, self.written_ms)
    }

    /// Writes the rows that a reader must get.
    fn expect(&self, name: &str, table: &DeltaWriter, rows: &RecordBatch) -> Result<SampleTable, SampleError> {
        let dir = self.folder.join("expected").join(name);
        fs::create_dir_all(&dir).map_err(SampleError::io(&dir))?;
        let path = dir.join("part-00000.parquet");
        let file = File::create_new(&path).map_err(SampleError::io(&path))?;
        let mut parquet = ArrowWriter::try_new(file, rows.schema(), None)?;
        parquet.write(rows)?;
        parquet.close()?;
        Ok(SampleTable { schema: SCHEMA.to_owned(), name: name.to_owned(), rows: table.rows() })
    }

    fn plain(&self, name: &str, rows: &RecordBatch) -> Result<SampleTable, SampleError> {
        let mut table = self.create(name, self.spec(rows.schema()))?;
        table.append([Ok::<_, SampleError>(rows.clone())])?;
        self.expect(name, &table, rows)
    }

    /// Two partition levels with NULL in both, characters that folders and URIs escape, several files in a partition,
    /// two commits.
    fn partitioned(&self) -> Result<SampleTable, SampleError> {
        let name = "partitioned";
        let regions =
            [Some("north"), None, Some("c/d"), Some("x=y"), Some("p%20q"), Some("ü ß"), Some("null"), Some("a:b")];
        let region: StringArray = (0..64).map(|i| regions[i % regions.len()]).collect();
        let day: Int32Array = (0..64).map(|i| (i % 5 != 4).then_some(20_240_100 + i % 5)).collect();
        let schema = Arc::new(Schema::new(vec![
            Field::new("region", DataType::Utf8, true),
            Field::new("id", DataType::Int64, false),
            Field::new("day", DataType::Int32, true),
            Field::new("note", DataType::Utf8, true),
        ]));
        let note: StringArray = (0..64).map(|i| (i % 3 != 0).then(|| format!("note {i}"))).collect();
        let columns: Vec<ArrayRef> = vec![Arc::new(region), ids(0..64), Arc::new(day), Arc::new(note)];
        let rows = RecordBatch::try_new(schema.clone(), columns)?;
        let spec =
            TableSpec { partition_columns: vec!["region".into(), "day".into()], rows_per_file: 1, ..self.spec(schema) };
        let mut table = self.create(name, spec)?;
        table.append([Ok::<_, SampleError>(rows.slice(0, 40))])?;
        table.append([Ok::<_, SampleError>(rows.slice(40, 24))])?;
        self.expect(name, &table, &rows)
    }

    fn every_partition_type(&self) -> Result<SampleTable, SampleError> {
        let name = "every_partition_type";
        let rows = type_rows::partition_types()?;
        let columns = rows.schema().fields().iter().skip(1).map(|f| f.name().clone()).collect();
        let mut table = self.create(name, TableSpec { partition_columns: columns, ..self.spec(rows.schema()) })?;
        table.append([Ok::<_, SampleError>(rows.clone())])?;
        self.expect(name, &table, &rows)
    }

    /// Deletes rows twice: the second deletion vector replaces the first.
    fn deleted(&self, name: &str, storage: VectorStorage) -> Result<SampleTable, SampleError> {
        let rows = numbers(20_000)?;
        let mut table = self.create(name, TableSpec { deletion_vectors: true, ..self.spec(rows.schema()) })?;
        table.append([Ok::<_, SampleError>(rows.clone())])?;
        table.delete(0, &[0, 8191, 8192, 19_999], storage)?;
        let second: Vec<u64> = (10_000..10_100).collect();
        table.delete(0, &second, storage)?;
        let gone = |id: i64| matches!(id, 0 | 8191 | 8192 | 19_999) || (10_000..10_100).contains(&id);
        self.expect(name, &table, &keep(&rows, |row| !gone(row))?)
    }

    /// Column names that files could not have, also nested ones and that of a partition column, and a deletion vector.
    fn mapped(&self) -> Result<SampleTable, SampleError> {
        let name = "mapped";
        let rows = type_rows::mapped()?;
        let spec = TableSpec {
            mapping: Mapping::Name,
            deletion_vectors: true,
            partition_columns: vec!["part of, it".into()],
            ..self.spec(rows.schema())
        };
        let mut table = self.create(name, spec)?;
        table.append([Ok::<_, SampleError>(rows.clone())])?;
        // Files are in the order of their partition values, NULL first: file 0 has the rows 2, 5, 8 and so on.
        table.delete(0, &[1], VectorStorage::File)?;
        self.expect(name, &table, &keep(&rows, |row| row != 5)?)
    }

    fn rewritten(&self) -> Result<SampleTable, SampleError> {
        let name = "rewritten";
        let (old, new) = (numbers(100)?, numbers(30)?);
        let mut table = self.create(name, self.spec(old.schema()))?;
        table.append([Ok::<_, SampleError>(old)])?;
        table.overwrite(new.clone())?;
        self.expect(name, &table, &new)
    }

    /// A column that older files lack.
    fn widened(&self) -> Result<SampleTable, SampleError> {
        let name = "widened";
        let old = numbers(10)?;
        let mut fields = old.schema().fields().to_vec();
        fields.push(Arc::new(Field::new("later", DataType::Utf8, true)));
        let schema = Arc::new(Schema::new(fields));
        let with = |rows: &RecordBatch, later: StringArray| {
            let mut columns = rows.columns().to_vec();
            columns.push(Arc::new(later));
            RecordBatch::try_new(schema.clone(), columns)
        };
        let new = with(&old, (0..10).map(|i| Some(format!("later {i}"))).collect())?;
        let mut table = self.create(name, self.spec(old.schema()))?;
        table.append([Ok::<_, SampleError>(old.clone())])?;
        table.set_schema(schema.clone())?;
        table.append([Ok::<_, SampleError>(new.clone())])?;
        let old = with(&old, (0..10).map(|_| None::<String>).collect())?;
        self.expect(name, &table, &concat_batches(&schema, [&old, &new])?)
    }

    fn empty(&self) -> Result<SampleTable, SampleError> {
        let name = "empty";
        let rows = numbers(0)?;
        let table = self.create(name, self.spec(rows.schema()))?;
        self.expect(name, &table, &rows)
    }
}

fn ids(range: std::ops::Range<i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(range))
}

fn numbers(count: i64) -> Result<RecordBatch, SampleError> {
    let schema = Schema::new(vec![Field::new("id", DataType::Int64, false), Field::new("name", DataType::Utf8, true)]);
    let name: StringArray = (0..count).map(|i| (i % 7 != 0).then(|| format!("n{i}"))).collect();
    Ok(RecordBatch::try_new(Arc::new(schema), vec![ids(0..count), Arc::new(name)])?)
}

/// The rows whose number `wanted` accepts.
fn keep(rows: &RecordBatch, wanted: impl Fn(i64) -> bool) -> Result<RecordBatch, SampleError> {
    let mask: BooleanArray = (0_i64..).take(rows.num_rows()).map(|row| Some(wanted(row))).collect();
    Ok(filter_record_batch(rows, &mask)?)
}
