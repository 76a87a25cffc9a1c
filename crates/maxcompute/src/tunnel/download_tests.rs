use std::sync::Arc;

use arrow::array::{Array, Int64Array, RecordBatch, StringArray};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::ipc::writer::StreamWriter;

use super::BatchDecoder;
use crate::tunnel::frame::tests::PAYLOAD;

fn schema() -> Arc<Schema> {
    Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true), Field::new("b", DataType::Utf8, true)]))
}

/// The rows of [`PAYLOAD`].
fn rows() -> RecordBatch {
    let a = Arc::new(Int64Array::from(vec![1, 2, 3])) as Arc<dyn Array>;
    let b = Arc::new(StringArray::from(vec![Some("x"), None, Some("zz")])) as Arc<dyn Array>;
    RecordBatch::try_new(schema(), vec![a, b]).unwrap()
}

fn decode(stream: &[u8], step: usize) -> Vec<RecordBatch> {
    let mut decoder = BatchDecoder::new(schema());
    let mut batches = Vec::new();
    for part in stream.chunks(step) {
        let mut buffer = Buffer::from(part);
        while let Some(batch) = decoder.decode(&mut buffer).unwrap() {
            batches.push(batch);
        }
    }
    decoder.finish().unwrap();
    batches
}

#[test]
fn messages_of_another_arrow_are_read_without_a_schema() {
    let payload = hex::decode(PAYLOAD).unwrap();
    for step in [1, 7, 100, 264] {
        assert_eq!(decode(&payload, step), [rows()], "in steps of {step}");
    }
    assert_eq!(decode(&[payload.clone(), payload].concat(), 528), [rows(), rows()]);
    assert!(decode(&[], 1).is_empty());
}

#[test]
fn a_schema_message_before_them_is_accepted() {
    let mut stream = Vec::new();
    let mut writer = StreamWriter::try_new(&mut stream, &schema()).unwrap();
    writer.write(&rows()).unwrap();
    writer.write(&rows()).unwrap();
    writer.finish().unwrap();
    for step in [5, 64, stream.len()] {
        assert_eq!(decode(&stream, step), [rows(), rows()], "in steps of {step}");
    }
}

#[test]
fn what_is_no_message_is_refused() {
    let mut decoder = BatchDecoder::new(schema());
    assert!(decoder.decode(&mut Buffer::from(&[0_u8; 16][..])).is_err());
    let mut decoder = BatchDecoder::new(schema());
    let payload = hex::decode(PAYLOAD).unwrap();
    assert_eq!(decoder.decode(&mut Buffer::from(&payload[..100])).unwrap(), None);
    assert!(decoder.finish().is_err());
}
