//! How many rows are read at once, from what Parquet files say of themselves.

use std::num::NonZero;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};

use super::*;

const GOAL: Goal = Goal {
    rows: NonZero::new(8192).expect("no zero"),
    bytes: NonZero::new(1 << 20).expect("no zero"),
    memory: 512 << 20,
};

fn file(batch: &RecordBatch, properties: WriterProperties) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).expect("a writer");
    writer.write(batch).expect("written");
    writer.close().expect("closed");
    bytes
}

fn rows_at_once(batch: &RecordBatch, properties: WriterProperties) -> Vec<usize> {
    let reader = SerializedFileReader::new(bytes::Bytes::from(file(batch, properties))).expect("a file");
    reader.metadata().row_groups().iter().map(|group| batch_rows(group, &[0], GOAL)).collect()
}

fn texts(rows: usize, text: impl Fn(usize) -> String) -> RecordBatch {
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values((0..rows).map(text)));
    RecordBatch::try_from_iter([("t", texts)]).expect("one column")
}

fn plain() -> WriterProperties {
    WriterProperties::builder().set_dictionary_enabled(false).build()
}

#[test]
fn long_texts_come_a_few_at_a_time_and_numbers_by_thousands() {
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..10_000));
    let numbers = RecordBatch::try_from_iter([("n", numbers)]).expect("one column");
    assert_eq!(rows_at_once(&numbers, WriterProperties::default()), [8192]);
    let long = texts(500, |i| format!("{i}{}", "x".repeat(100_000)));
    let rows = rows_at_once(&long, plain());
    assert!((9..=11).contains(&rows[0]), "{rows:?}");
    let groups = rows_at_once(&long, WriterProperties::builder().set_max_row_group_row_count(Some(100)).build());
    assert_eq!(groups.len(), 5);
}

/// The same row group by a writer that does not record the length of its texts.
fn untold(group: &RowGroupMetaData) -> RowGroupMetaData {
    let columns = group.columns().iter().cloned();
    let columns =
        columns.map(|c| c.into_builder().set_unencoded_byte_array_data_bytes(None).build().expect("a column"));
    group.clone().into_builder().set_column_metadata(columns.collect()).build().expect("a group")
}

#[test]
fn a_dictionary_does_not_hide_how_long_its_texts_are() {
    // Ten texts of 50 KB stand for 4,000 rows: 200 MB, of which the file stores half a megabyte.
    let few = texts(4_000, |i| format!("{:050000}", i * 7 % 10));
    let reader =
        SerializedFileReader::new(bytes::Bytes::from(file(&few, WriterProperties::default()))).expect("a file");
    let group = reader.metadata().row_group(0);
    assert!(group.column(0).uncompressed_size() < 1_000_000);
    assert!((19..=22).contains(&batch_rows(group, &[0], GOAL)), "{}", batch_rows(group, &[0], GOAL));
    assert_eq!(batch_rows(&untold(group), &[0], GOAL) as u64, GUESSED_ROWS_MIN);
    // Few short texts are read by thousands of rows, whether their length is recorded or not.
    let short = texts(20_000, |i| format!("{}", i / 5_000));
    let reader =
        SerializedFileReader::new(bytes::Bytes::from(file(&short, WriterProperties::default()))).expect("a file");
    assert_eq!(batch_rows(&untold(reader.metadata().row_group(0)), &[0], GOAL), 8192);
}

#[test]
fn a_long_entry_of_a_dictionary_may_stand_for_every_row() {
    let long = "x".repeat(8 << 20);
    let few = texts(200, |_| long.clone());
    let properties = WriterProperties::builder().set_dictionary_page_size_limit(16 << 20).build();
    let reader = SerializedFileReader::new(bytes::Bytes::from(file(&few, properties))).expect("a file");
    let group = untold(reader.metadata().row_group(0));
    assert_eq!(batch_rows(&group, &[0], GOAL) as u64, GUESSED_ROWS_MIN, "which is all of them");
    assert!((1..=16).contains(&pace(&group, &[0], GOAL).0), "{:?}", pace(&group, &[0], GOAL));
}

#[test]
fn a_group_that_does_not_fit_is_read_a_few_rows_at_a_time() {
    let long = texts(500, |i| format!("{i}{}", "x".repeat(100_000)));
    let reader = SerializedFileReader::new(bytes::Bytes::from(file(&long, plain()))).expect("a file");
    let group = reader.metadata().row_group(0);
    assert_eq!(pace(group, &[0], GOAL), (batch_rows(group, &[0], GOAL), batch_rows(group, &[0], GOAL)));
    let narrow = Goal { memory: 64 << 20, ..GOAL };
    let (at_once, handed_on) = pace(group, &[0], narrow);
    assert!(at_once == 2 && handed_on > at_once, "{at_once} {handed_on}");
    assert_eq!(pace(group, &[], narrow), (8192, 8192), "what is not read does not count");
}
