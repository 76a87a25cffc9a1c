//! How many rows are read at once, by what Parquet files tell of themselves.

use arrow::array::{ArrayRef, Int64Array, StringArray};
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};

use super::*;

const GOAL: Goal = Goal { rows: NonZero::new(8192).expect("no zero"), bytes: NonZero::new(1 << 20).expect("no zero") };

fn file(batch: &RecordBatch, properties: WriterProperties) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).expect("a writer");
    writer.write(batch).expect("written");
    writer.close().expect("closed");
    bytes
}

fn rows_at_once(batch: &RecordBatch, properties: WriterProperties) -> Vec<usize> {
    let reader = SerializedFileReader::new(bytes::Bytes::from(file(batch, properties))).expect("a file");
    reader.metadata().row_groups().iter().map(|group| batch_rows(group, GOAL)).collect()
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

/// The same row group, as a writer leaves it that does not tell how long its texts are.
fn untold(group: &RowGroupMetaData) -> RowGroupMetaData {
    let columns = group.columns().iter().cloned();
    let columns =
        columns.map(|c| c.into_builder().set_unencoded_byte_array_data_bytes(None).build().expect("a column"));
    group.clone().into_builder().set_column_metadata(columns.collect()).build().expect("a group")
}

#[test]
fn a_dictionary_does_not_hide_how_long_its_texts_are() {
    // Ten texts of 50 KB stand for 4,000 rows: 200 MB, of which the file has half a megabyte.
    let few = texts(4_000, |i| format!("{:050000}", i * 7 % 10));
    let reader =
        SerializedFileReader::new(bytes::Bytes::from(file(&few, WriterProperties::default()))).expect("a file");
    let group = reader.metadata().row_group(0);
    assert!(group.column(0).uncompressed_size() < 1_000_000);
    assert!((19..=22).contains(&batch_rows(group, GOAL)), "{}", batch_rows(group, GOAL));
    assert_eq!(batch_rows(&untold(group), GOAL) as u64, GUESSED_ROWS_MIN);
    // Few short texts are read by thousands, told or not.
    let short = texts(20_000, |i| format!("{}", i / 5_000));
    let reader =
        SerializedFileReader::new(bytes::Bytes::from(file(&short, WriterProperties::default()))).expect("a file");
    assert_eq!(batch_rows(&untold(reader.metadata().row_group(0)), GOAL), 8192);
}

#[tokio::test]
async fn a_file_is_read_from_any_row_on() {
    let batch = texts(1_000, |i| i.to_string());
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(300)).build();
    let bytes = file(&batch, properties);
    let (store, path) = (Arc::new(InMemory::new()), ObjectPath::from("f.parquet"));
    let size = bytes.len() as u64;
    store.put(&path, bytes.into()).await.expect("kept");
    let field = delta_kernel::schema::StructField::nullable("t", delta_kernel::schema::DataType::STRING);
    let schema = Arc::new(delta_kernel::schema::StructType::try_new([field]).expect("a schema"));
    for first in [0_u64, 1, 299, 300, 650, 999, 1_000] {
        let goal = Goal { rows: NonZero::new(64).expect("no zero"), ..GOAL };
        let opened = open(store.clone(), path.clone(), size, schema.clone(), goal, first).await.expect("opens");
        assert_eq!(opened.rows, 1_000);
        let batches: Vec<RecordBatch> = opened.batches.try_collect().await.expect("reads");
        assert!(batches.iter().all(|batch| batch.num_rows() <= 64));
        let found: Vec<String> = batches
            .iter()
            .flat_map(|b| b.column(0).as_any().downcast_ref::<StringArray>().expect("texts").iter().flatten())
            .map(str::to_owned)
            .collect();
        assert_eq!(found, (first..1_000).map(|i| i.to_string()).collect::<Vec<_>>(), "from {first}");
    }
}
