//! Arrow blocks that contradict the table's schema, their own checksums or the limits of a cell are rejected and leave
//! no file.

use std::sync::Arc;

use crate::support::{Answer, Client, serve};
use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Int8Array, Int32Array, Int64Array, ListArray, RecordBatch,
    StringArray, TimestampMillisecondArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field};
use arrow::ipc::CompressionType;
use arrow::ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteOptions, StreamWriter, write_message};
use reqwest::Method;

const T: &str = "/projects/demo/tables/t";
const DDL: &str = "CREATE TABLE t (n INT NOT NULL, s STRING, v VARCHAR(3), j JSON, d DATE, at DATETIME, b BOOLEAN, \
                   l ARRAY<STRING>, raw BINARY);";
/// Enough rows that a column of another width cannot hide in the padding of its buffer.
const ROWS: usize = 100;
const CELL: usize = 8 << 20;

fn list(items: Vec<String>, ends: &[usize]) -> ArrayRef {
    let lengths = ends.iter().scan(0, |last, end| Some(end - std::mem::replace(last, *end)));
    let field = Arc::new(Field::new("item", DataType::Utf8, true));
    Arc::new(ListArray::new(field, OffsetBuffer::from_lengths(lengths), Arc::new(StringArray::from(items)), None))
}

/// Texts of which the first is given and the others are `{}`.
fn texts(first: &str) -> ArrayRef {
    Arc::new((0..ROWS).map(|i| Some(if i == 0 { first } else { "{}" })).collect::<StringArray>())
}

fn columns() -> Vec<ArrayRef> {
    let rows = || 0..ROWS as i32;
    vec![
        Arc::new(rows().collect::<Int32Array>()),
        texts("some text"),
        texts("abc"),
        texts("{\"a\": [1]}"),
        Arc::new(Date32Array::from_iter_values(rows())),
        Arc::new(TimestampMillisecondArray::from_iter_values(rows().map(i64::from))),
        Arc::new(rows().map(|i| Some(i % 2 == 0)).collect::<BooleanArray>()),
        list(vec!["x".to_owned(); ROWS], &(1..=ROWS).collect::<Vec<_>>()),
        Arc::new(BinaryArray::from(vec![&b"\0\xff"[..]; ROWS])),
    ]
}

fn batch(columns: Vec<ArrayRef>) -> RecordBatch {
    RecordBatch::try_from_iter(columns.into_iter().enumerate().map(|(i, c)| (format!("c{i}"), c))).expect("a batch")
}

/// A message of a batch in which one column is replaced.
fn with(at: usize, column: ArrayRef) -> Vec<u8> {
    let mut columns = columns();
    columns[at] = column;
    message(&batch(columns))
}

fn message(batch: &RecordBatch) -> Vec<u8> {
    message_as(batch, IpcWriteOptions::default())
}

fn message_as(batch: &RecordBatch, options: IpcWriteOptions) -> Vec<u8> {
    let (_, encoded) = IpcDataGenerator::default()
        .encode(batch, &mut DictionaryTracker::new(true), &options, &mut Default::default())
        .expect("encoded");
    let mut bytes = Vec::new();
    write_message(&mut bytes, encoded, &options).expect("written");
    bytes
}

/// A payload in CRC frames.
fn framed(payload: &[u8], chunk: usize) -> Vec<u8> {
    let mut body = (chunk as u32).to_be_bytes().to_vec();
    for piece in payload.chunks(chunk) {
        body.extend_from_slice(piece);
        if piece.len() == chunk {
            body.extend_from_slice(&crc32c::crc32c(piece).to_be_bytes());
        }
    }
    body.extend_from_slice(&crc32c::crc32c(payload).to_be_bytes());
    body
}

async fn put(client: &Client, id: &str, body: Vec<u8>) -> Answer {
    client.call(Method::PUT, T, &[("uploadid", id), ("blockid", "0"), ("arrow", "")], body).await
}

/// Messages that do not match the table, each with a part of the expected error message.
fn unfit() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let good = message(&batch(columns()));
    let (mut fewer, mut more, mut swapped) = (columns(), columns(), columns());
    fewer.pop();
    more.push(texts("one more"));
    swapped.swap(0, 1);
    let mut stream = StreamWriter::try_new(Vec::new(), &batch(columns()).schema()).expect("a writer");
    stream.write(&batch(columns())).expect("written");
    let stream = stream.into_inner().expect("finished");
    let packed = IpcWriteOptions::default().try_with_compression(Some(CompressionType::ZSTD)).expect("an option");
    let packed = message_as(&batch(columns()), packed);
    let big = "x".repeat(CELL + 1);
    let half = "x".repeat(CELL / 2 + 1);
    let halves: Vec<usize> = std::iter::once(2).chain(3..ROWS + 2).collect();
    let nested = [vec![half.clone(), half], vec!["y".to_owned(); ROWS - 1]].concat();
    let days = |day: i32| Arc::new(Date32Array::from_iter_values(std::iter::repeat_n(day, ROWS)));
    let times = |ms: i64| Arc::new(TimestampMillisecondArray::from_iter_values(std::iter::repeat_n(ms, ROWS)));
    let with_null: Int32Array = (0..ROWS as i32).map(|i| (i > 0).then_some(i)).collect();
    let raw: Vec<&[u8]> = std::iter::once(big.as_bytes()).chain(std::iter::repeat_n(&b"z"[..], ROWS - 1)).collect();
    vec![
        ("a column is missing", message(&batch(fewer)), "nodes and"),
        ("a column too many", message(&batch(more)), "nodes and"),
        ("two columns swapped", message(&batch(swapped)), "another type"),
        ("BIGINT for INT", with(0, Arc::new((0..ROWS as i64).collect::<Int64Array>())), "another type"),
        ("TINYINT for BOOLEAN", with(6, Arc::new(Int8Array::from(vec![1; ROWS]))), "another type"),
        ("BOOLEAN for INT", with(0, Arc::new(BooleanArray::from(vec![true; ROWS]))), "another type"),
        ("a Schema message", stream, "Schema message"),
        ("an end of stream", [&good[..], &[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]].concat(), "no EOS"),
        ("buffers compressed one by one", packed, "must not be compressed"),
        ("no message at all", b"PAR1PAR1".to_vec(), "encapsulated"),
        ("a STRING of 8 MiB and 1 byte", with(1, texts(&big)), "the limit is 8388608"),
        ("a BINARY of 8 MiB and 1 byte", with(8, Arc::new(BinaryArray::from(raw))), "the limit is 8388608"),
        ("an ARRAY of more than 8 MiB in all", with(7, list(nested, &halves)), "the limit is 8388608"),
        ("the day after the year 9999", with(4, days(2_932_897)), "0000..9999"),
        ("the day before the year 0", with(4, days(-719_529)), "0000..9999"),
        ("the millisecond after the year 9999", with(5, times(253_402_300_800_000)), "0000..9999"),
        ("a VARCHAR that is too long", with(2, texts("abcd")), "VARCHAR"),
        ("JSON that is none", with(3, texts("{")), "JSON"),
        ("NULL in a NOT NULL column", with(0, Arc::new(with_null)), "NOT NULL"),
    ]
}

#[tokio::test]
async fn what_does_not_fit_the_table_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let (project, client) = serve(dir.path()).await;
    client.sql(DDL).await.expect("made");
    let id = client.open(T, &[]).await;
    for (what, payload, word) in unfit() {
        let answer = put(&client, &id, framed(&payload, 65_536)).await;
        assert_eq!(answer.refusal(), (400, "MalformedDataStream".to_owned()), "{what}");
        assert!(answer.text().contains(word), "{what}: {}", answer.text());
    }
    let session = client.call(Method::GET, T, &[("uploadid", &id)], Vec::new()).await.ok().json();
    assert_eq!(session["UploadedBlockList"], serde_json::json!([]));
    assert_eq!(std::fs::read_dir(dir.path().join("data/default/t/files")).expect("listed").count(), 0);
    // Cells at the limit are legal, and so are several messages in one block.
    let full = with(1, texts(&"x".repeat(CELL)));
    let last = with(4, Arc::new(Date32Array::from(vec![2_932_896; ROWS])));
    put(&client, &id, framed(&[full, last].concat(), 65_536)).await.ok();
    client.commit(T, &id).await.ok();
    assert_eq!(client.count("t").await, 2 * ROWS as u64);
    project.shutdown().await;
}

#[tokio::test]
async fn a_changed_or_missing_byte_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let (project, client) = serve(dir.path()).await;
    client.sql(DDL).await.expect("made");
    let id = client.open(T, &[]).await;
    let body = framed(&message(&batch(columns())), 512);
    let flipped = |at: usize| {
        let mut body = body.clone();
        body[at] ^= 1;
        body
    };
    for (what, body, want) in [
        ("a byte of the first chunk", flipped(100), "CorruptedDataStream"),
        ("the CRC of the first chunk", flipped(4 + 512), "CorruptedDataStream"),
        ("the CRC of the stream", flipped(body.len() - 1), "CorruptedDataStream"),
        ("the size of a chunk", flipped(2), "CorruptedDataStream"),
        ("cut within a CRC", body[..body.len() - 2].to_vec(), "CorruptedDataStream"),
        ("cut after a chunk", body[..4 + 516].to_vec(), "IncompleteBody"),
        ("a chunk size of nothing", vec![0; 8], "MalformedDataStream"),
        ("nothing", Vec::new(), "MalformedDataStream"),
    ] {
        assert_eq!(put(&client, &id, body).await.refusal().1, want, "{what}");
    }
    put(&client, &id, body).await.ok();
    project.shutdown().await;
}
