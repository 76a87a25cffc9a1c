//! The official SDK for Java creates, writes and reads tables in the sandbox's project, and reads what a job wrote
//! there.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Field, Float32Type, Float64Type, Int64Type, Schema, TimeUnit,
    TimestampMicrosecondType,
};
use arrow::util::display::array_value_to_string;
use mms_sandbox::samples::{DeltaWriter, TableSpec};
use mms_tests::suite::{Suite, everything};
use mms_tests::{peers, sandbox::Sandbox};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};

/// Partition values that the target accepts unchanged. PyODPS cannot read some of them, because it signs them wrongly.
const PARTITIONS: [Option<&str>; 12] = [
    Some("a+b"),
    Some("a&b"),
    Some("a%b"),
    Some("%2B"),
    Some("100%25"),
    Some("a b"),
    Some("a  +&% b"),
    Some("x:y_$#.!@"),
    Some("~[]{}();<>?*^|`-"),
    Some("20240101"),
    Some("plain"),
    None,
];

#[test]
fn the_java_sdk_creates_writes_and_reads() -> anyhow::Result<()> {
    let Some(mut java) = peers::java("java/OdpsProject.java") else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let root = folder.path().join("delta-root");
    std::fs::create_dir_all(&root)?;
    let sandbox = Sandbox::start(folder.path(), &root)?;
    let said = String::from_utf8(peers::run(java.args(sandbox.project()))?.stdout)?;
    anyhow::ensure!(said.ends_with("ALL OK\n"), "{said}");
    Ok(())
}

/// The rows of the samples with every type, flat and nested, each in a partition of its own.
fn rows(folder: &Path) -> anyhow::Result<RecordBatch> {
    mms_sandbox::samples::types(folder, 1_700_000_000_000)?;
    let read = |table: &str| -> anyhow::Result<RecordBatch> {
        let file = File::open(folder.join("expected").join(table).join("part-00000.parquet"))?;
        let mut reader = ParquetRecordBatchReaderBuilder::try_new(file)?.build()?;
        Ok(reader.next().context("a batch of rows")??)
    };
    let (flat, nested) = (read("every_type")?, read("nested")?);
    let mut fields: Vec<Arc<Field>> = flat.schema().fields().iter().cloned().collect();
    fields.extend(nested.schema().fields().iter().skip(1).cloned());
    let mut columns = flat.columns().to_vec();
    columns.extend(nested.columns().iter().skip(1).cloned());
    let once = RecordBatch::try_new(Arc::new(Schema::new(fields.clone())), columns)?;
    let times = PARTITIONS.len() / once.num_rows();
    let all = concat_batches(&once.schema(), std::iter::repeat_n(&once, times))?;
    fields.push(Arc::new(Field::new("pt", DataType::Utf8, true)));
    let mut columns: Vec<ArrayRef> = all.columns().iter().map(above_the_least).collect();
    columns.push(Arc::new(StringArray::from(PARTITIONS.to_vec())));
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

/// Replaces -2^63 in BIGINT columns: the SDK refuses to read it, because it holds that MaxCompute does not have it.
fn above_the_least(column: &ArrayRef) -> ArrayRef {
    match column.as_primitive_opt::<Int64Type>() {
        Some(numbers) => Arc::new(numbers.unary::<_, Int64Type>(|number| number.max(i64::MIN + 1))),
        None => column.clone(),
    }
}

fn cells(arrays: &[ArrayRef], row: usize) -> anyhow::Result<Vec<Value>> {
    arrays.iter().map(|array| cell(array, row)).collect()
}

fn items(array: &dyn Array) -> anyhow::Result<Vec<Value>> {
    (0..array.len()).map(|row| cell(array, row)).collect()
}

/// A cell in the form that the Java program prints.
fn cell(array: &dyn Array, row: usize) -> anyhow::Result<Value> {
    if array.is_null(row) {
        return Ok(Value::Null);
    }
    Ok(match array.data_type() {
        DataType::Float32 => json!(format!("{:08x}", array.as_primitive::<Float32Type>().value(row).to_bits())),
        DataType::Float64 => json!(format!("{:016x}", array.as_primitive::<Float64Type>().value(row).to_bits())),
        DataType::Decimal128(..) => {
            let text = array.as_primitive::<Decimal128Type>().value_as_string(row);
            json!(if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text.as_str() })
        }
        DataType::Binary => {
            json!(array.as_binary::<i32>().value(row).iter().map(|byte| format!("{byte:02x}")).collect::<String>())
        }
        DataType::Date32 => json!(array.as_primitive::<Date32Type>().value(row).to_string()),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            let micros = array.as_primitive::<TimestampMicrosecondType>().value(row);
            json!((i128::from(micros) * 1_000).to_string())
        }
        DataType::List(_) => json!(items(&array.as_list::<i32>().value(row))?),
        DataType::Struct(_) => json!(cells(array.as_struct().columns(), row)?),
        DataType::Map(..) => {
            let pairs = array.as_map().value(row);
            let mut pairs = (0..pairs.len()).map(|at| cells(pairs.columns(), at)).collect::<Result<Vec<_>, _>>()?;
            pairs.sort_by_key(|pair| json!(pair).to_string());
            json!(pairs)
        }
        DataType::Boolean | DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 | DataType::Utf8 => {
            json!(array_value_to_string(array, row)?)
        }
        other => anyhow::bail!("no cell of {other}"),
    })
}

/// What must be read, by the text of the partition.
fn expected(rows: &RecordBatch) -> anyhow::Result<BTreeMap<String, Value>> {
    let schema = rows.schema();
    let names = schema.fields().iter().map(|field| field.name().as_str());
    let names: Vec<&str> = names.filter(|name| *name != "pt").collect();
    let row = |(at, partition): (usize, &Option<&str>)| {
        let partition = partition.unwrap_or("__HIVE_DEFAULT_PARTITION__");
        let cells: serde_json::Map<String, Value> =
            names.iter().map(|name| (*name).to_owned()).zip(cells(rows.columns(), at)?).collect();
        Ok((partition.to_owned(), json!({ "table": "every_cell", "partition": { "pt": partition }, "cells": cells })))
    };
    PARTITIONS.iter().enumerate().map(row).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_java_sdk_reads_what_a_job_left_there() -> anyhow::Result<()> {
    let Some(mut java) = peers::java("java/OdpsProject.java") else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let root = folder.path().join("delta-root");
    let rows = rows(&folder.path().join("samples"))?;
    let mut spec = TableSpec::new(rows.schema(), 1_700_000_000_000);
    spec.partition_columns = vec!["pt".to_owned()];
    DeltaWriter::create(&root.join("java/every_cell"), spec)?
        .append([Ok::<_, arrow::error::ArrowError>(rows.clone())])?;

    let sandbox = Sandbox::start(folder.path(), &root)?;
    let suite = Suite::up(folder.path()).await?;
    let mut source = sandbox.data_source("lake");
    // Every value unchanged, also those with `%`.
    source["data_source"]["settings"]["partition_values"] = json!({});
    let source = Box::pin(suite.source(&source)).await?;
    let scan = suite.begin_scan(&source).await?;
    suite.scanned(&scan).await?;
    let job = suite.begin_job(&source, everything()).await?;
    suite.done(&job).await?;

    let output = peers::run(java.args(sandbox.project()).args(["java", "every_cell"]))?;
    let mut wanted = expected(&rows)?;
    for line in String::from_utf8(output.stdout)?.lines() {
        let found: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
        let partition = found["partition"]["pt"].as_str().unwrap_or_default();
        let wanted =
            wanted.remove(partition).with_context(|| format!("a second row, or one of no partition: {line}"))?;
        assert_eq!(found, wanted, "partition {partition}");
    }
    assert!(wanted.is_empty(), "rows that did not arrive: {wanted:?}");
    Ok(())
}
