//! Writes the log of a table of very many files; the files themselves do not exist.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema};
use arrow::json::ReaderBuilder;
use parquet::arrow::ArrowWriter;
use serde_json::{Value, json};

/// Number of files in one commit.
const COMMIT: u64 = 10_000;

/// Writes the log of this many files: all in commits, or all in a checkpoint with one commit after it.
pub fn many_files(folder: &Path, files: u64, partitions: u64, checkpoint: bool) {
    let log = folder.join("_delta_log");
    fs::create_dir_all(&log).unwrap();
    let name = |version: u64| log.join(format!("{version:020}.json"));
    let mut version = 0;
    if checkpoint {
        let arrow = schema();
        let file = File::create(log.join(format!("{version:020}.checkpoint.parquet"))).unwrap();
        let mut writer = ArrowWriter::try_new(file, arrow.clone(), None).unwrap();
        for first in (0..files).step_by(COMMIT as usize) {
            let mut lines: Vec<u8> = Vec::new();
            let begin = if first == 0 { begin() } else { Vec::new() };
            let adds = (first..files.min(first + COMMIT)).map(|number| add(number, partitions));
            begin.into_iter().chain(adds).for_each(|action| writeln!(lines, "{action}").unwrap());
            let decoder = ReaderBuilder::new(arrow.clone()).with_batch_size(COMMIT as usize).build(&lines[..]).unwrap();
            decoder.for_each(|batch| writer.write(&batch.unwrap()).unwrap());
        }
        writer.close().unwrap();
    }
    let mut left = if checkpoint { 0..0 } else { 0..files };
    loop {
        let mut lines = BufWriter::new(File::create(name(version)).unwrap());
        writeln!(lines, "{}", json!({ "commitInfo": { "operation": "WRITE", "timestamp": 0 } })).unwrap();
        if version == 0 {
            begin().iter().for_each(|action| writeln!(lines, "{action}").unwrap());
        }
        left.by_ref().take(COMMIT as usize).for_each(|number| writeln!(lines, "{}", add(number, partitions)).unwrap());
        lines.flush().unwrap();
        version += 1;
        if left.is_empty() && version > 1 {
            return;
        }
    }
}

fn begin() -> Vec<Value> {
    let column = |name: &str, kind: &str| json!({ "name": name, "type": kind, "nullable": true, "metadata": {} });
    let fields = [
        column("id", "long"),
        column("name", "string"),
        column("amount", "double"),
        column("at", "timestamp"),
        column("p", "string"),
    ];
    let schema = json!({ "type": "struct", "fields": fields }).to_string();
    vec![
        json!({ "protocol": { "minReaderVersion": 1, "minWriterVersion": 2 } }),
        json!({ "metaData": { "id": "00000000-0000-4000-8000-000000000001", "format": { "provider": "parquet", "options": {} },
            "schemaString": schema, "partitionColumns": ["p"], "configuration": {}, "createdTime": 0 } }),
    ]
}

/// Numbers without a pattern that a compressor could find.
fn mixed(number: u64) -> u64 {
    let mixed = (number ^ (number >> 30)).wrapping_add(1).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb)
}

fn add(number: u64, partitions: u64) -> Value {
    let (name, other, id) = (mixed(number), mixed(!number), mixed(number) >> 34);
    let partition = format!("2024-{:05}", number % partitions.max(1));
    let stats = json!({ "numRecords": 1_000 + number % 7,
        "minValues": { "id": id, "name": format!("n{}", id % 1_000), "amount": id as f64 / 100.0, "at": "2024-01-01T00:00:00.000Z" },
        "maxValues": { "id": id + 999, "name": format!("z{}", id % 999), "amount": id as f64 / 10.0, "at": "2024-01-02T00:00:00.000Z" },
        "nullCount": { "id": 0, "name": 0, "amount": 3, "at": 0 } });
    json!({ "add": {
        "path": format!("p={partition}/part-{:05}-{name:016x}-{other:016x}.c000.snappy.parquet", number % 200),
        "partitionValues": { "p": partition }, "size": 1_000_000 + id % 99_999, "modificationTime": 0, "dataChange": true,
        "stats": stats.to_string() } })
}

/// The columns of a checkpoint with these actions.
fn schema() -> Arc<Schema> {
    let of = |fields: &[(&str, DataType)]| -> Fields {
        fields.iter().map(|(name, kind)| Field::new(*name, kind.clone(), true)).collect()
    };
    let entry = Fields::from(vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Utf8, true)]);
    let map = DataType::Map(Arc::new(Field::new("key_value", DataType::Struct(entry), false)), false);
    let texts = DataType::List(Arc::new(Field::new("element", DataType::Utf8, true)));
    let protocol = of(&[("minReaderVersion", DataType::Int32), ("minWriterVersion", DataType::Int32)]);
    let format = of(&[("provider", DataType::Utf8), ("options", map.clone())]);
    let metadata = of(&[
        ("id", DataType::Utf8),
        ("format", DataType::Struct(format)),
        ("schemaString", DataType::Utf8),
        ("partitionColumns", texts),
        ("configuration", map.clone()),
        ("createdTime", DataType::Int64),
    ]);
    let add = of(&[
        ("path", DataType::Utf8),
        ("partitionValues", map),
        ("size", DataType::Int64),
        ("modificationTime", DataType::Int64),
        ("dataChange", DataType::Boolean),
        ("stats", DataType::Utf8),
    ]);
    let actions = [("protocol", protocol), ("metaData", metadata), ("add", add)];
    Arc::new(Schema::new(of(&actions.map(|(name, fields)| (name, DataType::Struct(fields))))))
}
