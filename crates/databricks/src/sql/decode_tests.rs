use std::io::Write;

use arrow::array::{AsArray, Decimal128Array};
use arrow::datatypes::{Date32Type, Float32Type, Int64Type};
use arrow::ipc::writer::StreamWriter;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn stream(rows: i64) -> Vec<u8> {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
    let batch = RecordBatch::try_from_iter([("id", ids)]).unwrap();
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

fn pack(bytes: &[u8]) -> Vec<u8> {
    let mut frame = lz4_flex::frame::FrameEncoder::new(Vec::new());
    frame.write_all(bytes).unwrap();
    frame.finish().unwrap()
}

#[test]
fn frames_one_behind_the_other_are_one_file() {
    let file = stream(10);
    let packed = [pack(&file[..100]), pack(&file[100..])].concat();
    assert_eq!(unpack(&packed).unwrap(), file);
    assert!(unpack(&packed[..packed.len() - 10]).is_err());
    assert!(unpack(b"no frame").is_err());
}

#[test]
fn a_stream_has_the_rows_that_the_server_says() {
    assert_eq!(arrow(None, stream(10), 10).unwrap()[0].num_rows(), 10);
    assert!(arrow(None, stream(10), 11).unwrap_err().contains("the server said 11"));
    let mut cut = stream(10);
    cut.truncate(cut.len() - 40);
    assert!(arrow(None, cut, 10).is_err());
}

fn texts(values: &[&str]) -> List {
    let mut bytes = Vec::new();
    for value in values {
        bytes.extend(u32::try_from(value.len()).unwrap().to_be_bytes());
        bytes.extend(value.as_bytes());
    }
    List::Texts { count: values.len(), bytes: bytes.into() }
}

fn column(kind: i64, decimal: Option<(i64, i64)>) -> ColumnType {
    ColumnType { name: "c".to_owned(), kind: Some(kind), decimal }
}

/// NULL bitmap of two rows whose second one is NULL.
const SECOND: &[u8] = &[0b10];

#[test]
fn columns_of_older_servers_keep_their_types() {
    let one = |column: ColumnType, list: List| {
        columns(&[column], &[(list, Bytes::from_static(SECOND))]).map(|batch| batch.column(0).clone())
    };
    let longs = [7_i64.to_be_bytes(), 0_i64.to_be_bytes()].concat();
    let found = one(column(4, None), List::Fixed { width: 8, bytes: longs.into() }).unwrap();
    assert_eq!(found.as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), [Some(7), None]);
    let floats = [f64::from(0.1_f32).to_be_bytes(), 0_f64.to_be_bytes()].concat();
    let found = one(column(5, None), List::Fixed { width: 8, bytes: floats.into() }).unwrap();
    assert_eq!(found.as_primitive::<Float32Type>().value(0), 0.1_f32);
    let found = one(column(15, Some((38, 2))), texts(&["-12.30", ""])).unwrap();
    let expected = Decimal128Array::from(vec![Some(-1230), None]).with_precision_and_scale(38, 2).unwrap();
    assert_eq!(found.to_data(), expected.to_data());
    assert!(one(column(15, Some((10, 2))), texts(&["1.234", ""])).is_err(), "it would be rounded");
    let found = one(column(17, None), texts(&["1970-01-03", ""])).unwrap();
    assert_eq!(found.as_primitive::<Date32Type>().iter().collect::<Vec<_>>(), [Some(2), None]);
    let found = one(column(8, None), texts(&["1970-01-01 00:00:01.000001", ""])).unwrap();
    assert_eq!(found.as_primitive::<TimestampMicrosecondType>().value(0), 1_000_001);
    assert_eq!(found.data_type(), &DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())));
    // An empty text is not NULL.
    let found = one(column(7, None), texts(&["", ""])).unwrap();
    assert_eq!(found.as_string::<i32>().iter().collect::<Vec<_>>(), [Some(""), None]);
    for kind in [10, 11, 12, 20] {
        assert!(one(column(kind, None), texts(&["[1]", ""])).unwrap_err().contains("exactly"), "{kind}");
    }
    assert!(columns(&[], &[(texts(&[]), Bytes::new())]).is_err());
}

proptest! {
    #[test]
    fn a_damaged_stream_is_refused_or_read(at in 0_usize..400, byte: u8, cut in 0_usize..400) {
        let mut bytes = stream(20);
        let at = at % bytes.len();
        bytes[at] = byte;
        bytes.truncate(bytes.len().saturating_sub(cut % 50));
        drop(arrow(None, bytes.clone(), 20));
        drop(unpack(&bytes));
        let mut packed = pack(&bytes);
        let at = at % packed.len();
        packed[at] ^= byte;
        drop(unpack(&packed));
    }

    #[test]
    fn columns_that_do_not_fit_are_refused(kind in 0_i64..22, width in 1_usize..9, bytes in vec(any::<u8>(), 0..40), nulls in vec(any::<u8>(), 0..3)) {
        let bytes = bytes[..bytes.len() / width * width].to_vec();
        let list = List::Fixed { width, bytes: bytes.into() };
        drop(columns(&[column(kind, Some((10, 2)))], &[(list, nulls.into())]));
    }
}
