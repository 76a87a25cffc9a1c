//! Reads and writes record streams that PyODPS made, and rejects each change of a byte in them.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, ListArray, StringArray};
use arrow::datatypes::Int32Type;
use proptest::prelude::*;
use sqlparser::tokenizer::Token;

use super::super::super::schema::Column;
use super::super::super::sql::tokens::Cursor;
use super::super::super::type_text::parse_type;
use super::super::carrier::{Form, arrow_schema};
use super::super::check::check_column;
use super::super::record_read::RecordReader;
use super::*;

/// Streams of one record with one column, made by the encoder of PyODPS.
const FOREIGN: &[(&str, &str)] = &[
    ("bigint", "080180c0ff7fa0b0faf20df0ffff7f02f8ffff7fc3a1d2b901"),
    ("bigint", "08feffffffffffffffff0180c0ff7fd8c6a2e505f0ffff7f02f8ffff7f9f8bd9cc07"),
    ("bigint", "80c0ff7f00f0ffff7f02f8ffff7fc7979dc304"),
    ("int", "08ffffffff0f80c0ff7f8980ac990cf0ffff7f02f8ffff7f8abf8fae06"),
    ("smallint", "08ffff0380c0ff7fbeb6d2c904f0ffff7f02f8ffff7fb5bdc3d605"),
    ("tinyint", "08ff0180c0ff7fe1fda8aa0ff0ffff7f02f8ffff7fdbc6f98604"),
    ("boolean", "080180c0ff7f9ab5a2f808f0ffff7f02f8ffff7fc7a2abbe07"),
    ("float", "0d0000008080c0ff7fd5e98bbf04f0ffff7f02f8ffff7fb1e8cea507"),
    ("double", "09000000000000f87f80c0ff7f82c9d3e00ef0ffff7f02f8ffff7ffafc93ca04"),
    ("string", "0a0ae4b8ade69687f09f998280c0ff7fbafae7ba02f0ffff7f02f8ffff7fcca3f1db05"),
    ("string", "0a0080c0ff7fffc28ba909f0ffff7f02f8ffff7fad9fd3a80c"),
    ("binary", "0a0300ff8080c0ff7fdeb2a1910ff0ffff7f02f8ffff7fd9f4e6950e"),
    ("varchar(10)", "0a077661726368617280c0ff7fc2f593bc02f0ffff7f02f8ffff7fc2a48aad0e"),
    ("char(5)", "0a02616280c0ff7ff792e5de0af0ffff7f02f8ffff7f90dac28401"),
    ("decimal(10,2)", "0a0b31323334353637382e393080c0ff7fa399bbce02f0ffff7f02f8ffff7fea92b6e80e"),
    ("decimal(38,18)", "0a152d302e30303030303030303030303030303030303180c0ff7fcfb2a0af03f0ffff7f02f8ffff7fd7bfb913"),
    ("date", "08f3e45780c0ff7fa2a8cafa0ef0ffff7f02f8ffff7fcb82a9fe01"),
    ("datetime", "08feeffea1fa9d7380c0ff7f9c8eb98209f0ffff7f02f8ffff7fc6c9d334"),
    ("timestamp", "0a018094ebdc0380c0ff7fb8a0d18806f0ffff7f02f8ffff7ff8e19faa0d"),
    ("timestamp_ntz", "0ae0e783de0cf2fdbaf00580c0ff7feed0bd8a09f0ffff7f02f8ffff7fda8fe28106"),
    ("json", "0a065b312c20325d80c0ff7f91828ee502f0ffff7f02f8ffff7f938ac5fb08"),
    ("array<bigint>", "0a03000201000580c0ff7ffedef6fd02f0ffff7f02f8ffff7feaecf1e20c"),
    ("map<string,bigint>", "0a0200026b3100026b320200020180c0ff7fc9e2b6e204f0ffff7f02f8ffff7fa6a1cea204"),
    ("struct<x:bigint,y:string>", "0a0100017380c0ff7fe0fcaefd01f0ffff7f02f8ffff7fb5e0cea10a"),
    (
        "array<struct<k:string,v:map<string,array<decimal(10,2)>>>>",
        "0a0200000161000100016d0100020004312e3130010180c0ff7fc8aeb9a90ff0ffff7f02f8ffff7f9dc8f7db09",
    ),
];

fn column(name: &str, data_type: &str) -> Column {
    let mut cursor = Cursor::new(&format!("{data_type};")).expect("tokens");
    let data_type = parse_type(&mut cursor).expect("a type");
    assert!(!cursor.take(&Token::Comma));
    Column { name: name.to_owned(), data_type, nullable: true, comment: None }
}

fn read(columns: &[Column], bytes: &[u8]) -> Result<Vec<RecordBatch>, String> {
    let mut reader = RecordReader::new(bytes, columns);
    let mut batches = Vec::new();
    while let Some(batch) = reader.next_batch().map_err(|error| error.message)? {
        for (array, column) in batch.columns().iter().zip(columns) {
            check_column(array, column)?;
        }
        batches.push(batch);
    }
    Ok(batches)
}

fn write(columns: &[Column], batches: &[RecordBatch]) -> Vec<u8> {
    let types = columns.iter().map(|c| c.data_type.clone()).collect();
    let mut writer = RecordWriter::new(Vec::new(), types);
    batches.iter().for_each(|batch| writer.write(batch).expect("written"));
    writer.finish().expect("finished")
}

#[test]
fn foreign_records_are_read_and_written_back_byte_for_byte() {
    for (data_type, text) in FOREIGN {
        let columns = [column("c", data_type)];
        let bytes = hex::decode(text).expect("hex");
        let batches = read(&columns, &bytes).unwrap_or_else(|error| panic!("{data_type}: {error}"));
        assert_eq!(hex::encode(write(&columns, &batches)), *text, "{data_type}");
    }
}

#[test]
fn a_foreign_stream_of_several_columns_is_read_and_written_back() {
    let types = [
        "bigint",
        "string",
        "decimal(38,18)",
        "boolean",
        "date",
        "timestamp",
        "array<string>",
        "map<string,bigint>",
        "struct<x:bigint,y:string>",
    ];
    let columns: Vec<Column> = types.iter().enumerate().map(|(i, t)| column(&format!("c{i}"), t)).collect();
    let canonical = "08021205616c6963651a0531322e33342001288cb50232e0e783de0cf2fdbaf0053a0200016101420100016b01000e4a000a\
                     0180c0ff7fe489cdf401080480c0ff7fa3b6a6c308080512001a0130200028013200003a004200004a01000080c0ff7fb2f48c\
                     9905f0ffff7f06f8ffff7fb994acec08";
    // The same rows from PyODPS's compiled encoder, which sign-extends some checksums to ten bytes.
    let extended =
        canonical.replace("a3b6a6c308", "a3b6a6c3f8ffffffff01").replace("b994acec08", "b994acecf8ffffffff01");
    let read_hex = |text: &str| read(&columns, &hex::decode(text).expect("hex")).expect("read");
    let batches = read_hex(canonical);
    assert_eq!(batches[0].num_rows(), 3);
    assert_eq!(read_hex(&extended), batches);
    let again = write(&columns, &batches);
    assert_eq!(read(&columns, &again).expect("read again"), batches);
}

#[test]
fn every_changed_byte_of_a_stream_is_refused() {
    for (data_type, text) in FOREIGN {
        let columns = [column("c", data_type)];
        let good = hex::decode(text).expect("hex");
        for i in 0..good.len() {
            let mut bad = good.clone();
            bad[i] ^= 0x01;
            assert!(read(&columns, &bad).is_err(), "{data_type}: byte {i}");
            assert!(read(&columns, &good[..i]).is_err(), "{data_type}: cut at {i}");
        }
        let longer = [good.as_slice(), &[0]].concat();
        assert!(read(&columns, &longer).is_err(), "{data_type}: a byte more");
    }
}

#[test]
fn another_type_or_an_unknown_column_is_refused() {
    let bigint = hex::decode(FOREIGN[0].1).expect("hex");
    assert!(read(&[column("c", "string")], &bigint).is_err());
    assert!(read(&[column("c", "double")], &bigint).is_err());
    assert!(read(&[], &bigint).is_err());
    assert!(
        read(&[Column { nullable: false, ..column("c", "bigint") }], &hex::decode(FOREIGN[2].1).expect("hex")).is_err()
    );
}

#[test]
fn an_empty_stream_has_only_a_footer() {
    let columns = [column("c", "bigint")];
    assert_eq!(hex::encode(write(&columns, &[])), "f0ffff7f00f8ffff7f00");
    assert_eq!(read(&columns, &write(&columns, &[])), Ok(Vec::new()));
}

type Row = (Option<i64>, Option<String>, Option<f64>, Option<Vec<Option<i32>>>);

proptest! {
    #[test]
    fn rows_come_back(rows in proptest::collection::vec(any::<Row>(), 0..60)) {
        let columns = [column("a", "bigint"), column("b", "string"), column("c", "double"), column("d", "array<int>")];
        let arrays: Vec<ArrayRef> = vec![
            Arc::new(rows.iter().map(|r| r.0).collect::<Int64Array>()),
            Arc::new(rows.iter().map(|r| r.1.as_deref()).collect::<StringArray>()),
            Arc::new(rows.iter().map(|r| r.2).collect::<Float64Array>()),
            Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(rows.iter().map(|r| r.3.clone()))),
        ];
        let batch = RecordBatch::try_new(arrow_schema(&columns, Form::File), arrays).expect("a batch");
        let back = read(&columns, &write(&columns, std::slice::from_ref(&batch))).map_err(TestCaseError::fail)?;
        let want = if rows.is_empty() { Vec::new() } else { vec![batch] };
        prop_assert_eq!(format!("{back:?}"), format!("{want:?}"));
    }
}
