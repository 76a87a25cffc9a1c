//! Logs in every form that holds metadata: commits, checkpoints, and broken ones.

use arrow::array::{
    ArrayRef, Int64Array, ListBuilder, MapBuilder, RecordBatch, StringArray, StringBuilder, StructArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{Field as ArrowField, Fields};
use parquet::arrow::ArrowWriter;

use super::*;

fn commit(dir: &Path, version: u64, lines: &[&str]) {
    fs::create_dir_all(dir.join("_delta_log")).unwrap();
    fs::write(dir.join("_delta_log").join(format!("{version:020}.json")), lines.join("\n")).unwrap();
}

#[test]
fn the_newest_metadata_wins_and_other_commits_do_not_matter() {
    let dir = tempfile::tempdir().unwrap();
    commit(
        dir.path(),
        0,
        &[r#"{"protocol":{}}"#, r#"{"metaData":{"id":"a","schemaString":"{}","partitionColumns":["p"]}}"#],
    );
    commit(dir.path(), 1, &[r#"{"metaData":{"id":"b","schemaString":"{}","configuration":{"k":"v"}}}"#]);
    commit(dir.path(), 2, &[r#"{"add":{"path":"\"metaData\""}}"#]);
    let log = read(dir.path());
    assert_eq!(log.version, Some(2));
    assert_eq!(log.metadata.unwrap().id, "b");
}

#[test]
fn a_broken_log_gives_no_metadata_rather_than_an_old_one() {
    let dir = tempfile::tempdir().unwrap();
    commit(dir.path(), 0, &[r#"{"metaData":{"id":"a","schemaString":"{}"}}"#]);
    commit(dir.path(), 1, &[r#"{"metaData":{"id":"#]);
    let log = read(dir.path());
    assert_eq!(log.version, Some(1));
    assert!(log.metadata.is_none());
    assert!(read(&dir.path().join("nowhere")).version.is_none());
}

/// Writes a checkpoint of two rows: one of a file, without metadata, then one with the metadata.
fn checkpoint(path: &Path) {
    let text = |value: &str| Arc::new(StringArray::from(vec!["", value])) as ArrayRef;
    let mut partitions = ListBuilder::new(StringBuilder::new());
    partitions.append(true);
    partitions.values().append_value("p");
    partitions.append(true);
    let mut configuration = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    configuration.append(true).unwrap();
    configuration.keys().append_value("k");
    configuration.values().append_value("v");
    configuration.append(true).unwrap();
    let parts: Vec<(&str, ArrayRef)> = vec![
        ("id", text("of-checkpoint")),
        ("schemaString", text("{}")),
        ("partitionColumns", Arc::new(partitions.finish())),
        ("configuration", Arc::new(configuration.finish())),
        ("createdTime", Arc::new(Int64Array::from(vec![0, 7]))),
    ];
    let fields: Fields =
        parts.iter().map(|(name, part)| ArrowField::new(*name, part.data_type().clone(), true)).collect();
    let parts = parts.into_iter().map(|(_, part)| part).collect();
    let metadata = StructArray::new(fields, parts, Some(NullBuffer::from(vec![false, true])));
    let version: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    let rows =
        RecordBatch::try_from_iter([("version", version), ("metaData", Arc::new(metadata) as ArrayRef)]).unwrap();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), rows.schema(), None).unwrap();
    writer.write(&rows).unwrap();
    writer.close().unwrap();
}

#[test]
fn a_checkpoint_stands_for_the_commits_before_it() {
    let dir = tempfile::tempdir().unwrap();
    commit(dir.path(), 0, &[r#"{"metaData":{"id":"old","schemaString":"{}"}}"#]);
    commit(dir.path(), 4, &[r#"{"add":{"path":"x"}}"#]);
    checkpoint(&dir.path().join("_delta_log/00000000000000000003.checkpoint.0000000001.0000000001.parquet"));
    let log = read(dir.path());
    let metadata = log.metadata.unwrap();
    assert_eq!((log.version, metadata.id.as_str(), metadata.created_time), (Some(4), "of-checkpoint", Some(7)));
    assert_eq!(metadata.partition_columns, ["p"]);
    assert_eq!(metadata.configuration["k"], "v");
}
