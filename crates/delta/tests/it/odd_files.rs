//! Data files as writers leave them: their columns are found, converted and compared by our own rules, or refused with
//! column, file and row.

use std::num::NonZero;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, Date32Array, Int32Array, MapBuilder, StringBuilder, StructArray, TimestampNanosecondArray,
};
use arrow::datatypes::{DataType, Field};
use mms_delta::{DeltaError, Differences, ReadOptions};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use serde_json::{Value, json};

use crate::handmade::{Table, batch, field, longs, mapped, texts};

/// A table of one file.
fn of_file(fields: &[Value], columns: &[(&str, ArrayRef)], properties: WriterProperties) -> Table {
    let mut table = Table::new();
    let add = table.file_with("a b.parquet", &batch(columns), properties);
    let add = with(add, "path", json!("a%20b.parquet"));
    table.begin(json!({ "minReaderVersion": 1, "minWriterVersion": 2 }), fields, &[], json!({}), &[add]);
    table
}

fn with(mut add: Value, key: &str, value: Value) -> Value {
    add["add"][key] = value;
    add
}

fn plain(fields: &[Value], columns: &[(&str, ArrayRef)]) -> Table {
    of_file(fields, columns, WriterProperties::default())
}

#[tokio::test]
async fn columns_are_found_whatever_the_case_and_two_are_one_too_many() {
    let info = |code: &str| {
        let code = (Arc::new(Field::new(code, DataType::Utf8, true)), texts(&["x"]));
        Arc::new(StructArray::from(vec![code])) as ArrayRef
    };
    let inner = json!({ "type": "struct", "fields": [field("Code", "string")] });
    let fields = [field("MARKET", "long"), field("Info", inner)];
    let table = plain(&fields, &[("market", longs(&[1])), ("info", info("code"))]);
    assert_eq!(table.read().await.unwrap().0, [r#"1i64 (Code: "x")"#]);
    let twice = plain(&fields[..1], &[("market", longs(&[1])), ("Market", longs(&[2]))]);
    let text = twice.refusal().await;
    assert!(text.contains("`MARKET`") && text.contains("a b.parquet"), "{text}");
}

#[tokio::test]
async fn ids_of_foreign_writers_mean_nothing_in_mode_name() {
    let with_id = |name: &str, id: &str| {
        let metadata = std::collections::HashMap::from([("PARQUET:field_id".to_owned(), id.to_owned())]);
        Field::new(name, DataType::Int64, true).with_metadata(metadata)
    };
    let schema = arrow::datatypes::Schema::new(vec![with_id("cost", "1"), with_id("price", "2")]);
    let rows = arrow::array::RecordBatch::try_new(Arc::new(schema), vec![longs(&[7]), longs(&[10])]).unwrap();
    for (mode, expected) in [("name", "10i64 7i64"), ("id", "7i64 10i64")] {
        let mut table = Table::new();
        let add = table.file("a.parquet", &rows);
        let fields = [mapped("price", "long", 1, "price"), mapped("cost", "long", 2, "cost")];
        let configuration = json!({ "delta.columnMapping.mode": mode, "delta.columnMapping.maxColumnId": "2" });
        table.begin(json!({ "minReaderVersion": 2, "minWriterVersion": 5 }), &fields, &[], configuration, &[add]);
        assert_eq!(table.read().await.unwrap().0, [expected], "{mode}");
    }
}

#[tokio::test]
async fn a_file_without_any_column_of_the_table_is_refused() {
    let table = plain(&[field("id", "long")], &[("other", longs(&[1]))]);
    assert!(table.refusal().await.contains("none of the table's columns"));
    let mut required = field("id", "long");
    required["nullable"] = json!(false);
    let table = plain(&[required, field("x", "long")], &[("x", longs(&[1]))]);
    let text = table.refusal().await;
    assert!(text.contains("`id`") && text.contains("NOT NULL") && text.contains("a b.parquet"), "{text}");
}

#[tokio::test]
async fn days_of_the_legacy_calendar_keep_their_date() {
    let days: ArrayRef = Arc::new(Date32Array::from(vec![-171_655, 0]));
    let key = |key: &str, value: &str| KeyValue::new(key.to_owned(), value.to_owned());
    let legacy = vec![key("org.apache.spark.version", "3.5.1"), key("org.apache.spark.legacyDateTime", "")];
    let read = |keys: Option<Vec<KeyValue>>| {
        let properties = WriterProperties::builder().set_key_value_metadata(keys).build();
        of_file(&[field("day", "date")], &[("day", days.clone())], properties)
    };
    assert_eq!(read(Some(legacy)).read().await.unwrap().0, ["-171664date", "0date"]);
    assert_eq!(read(None).read().await.unwrap().0, ["-171655date", "0date"]);
    let unknown = vec![key("org.apache.spark.sql.parquet.row.metadata", "{}")];
    let text = read(Some(unknown)).refusal().await;
    assert!(text.contains("`day`") && text.contains("row 0") && text.contains("calendar"), "{text}");
}

#[tokio::test]
async fn nanoseconds_are_exact_or_refused_by_row() {
    let at = |nanos: &[i64]| Arc::new(TimestampNanosecondArray::from(nanos.to_vec()).with_timezone("UTC")) as ArrayRef;
    let whole = plain(&[field("at", "timestamp")], &[("at", at(&[-1_000, 5_000]))]);
    assert_eq!(whole.read().await.unwrap().0, ["-1instant", "5instant"]);
    let finer = plain(&[field("at", "timestamp")], &[("at", at(&[1_000, -1]))]);
    let text = finer.refusal().await;
    assert!(text.contains("`at`") && text.contains("row 1") && text.contains("-1 ns"), "{text}");
}

#[tokio::test]
async fn null_maps_stay_null_when_their_struct_gained_a_field() {
    let mut maps = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    maps.keys().append_value("k");
    maps.values().append_value("v");
    maps.append(true).unwrap();
    maps.append(false).unwrap();
    let stored = maps.finish();
    let (field_of_entries, offsets, entries, nulls, ordered) = stored.into_parts();
    let value = (Arc::new(Field::new("a", DataType::Utf8, true)), entries.column(1).clone());
    let values: ArrayRef = Arc::new(StructArray::from(vec![value]));
    let fields =
        vec![Field::new("keys", DataType::Utf8, false), Field::new("values", values.data_type().clone(), true)];
    let entries = StructArray::new(fields.into(), vec![entries.column(0).clone(), values], None);
    let entry = field_of_entries.as_ref().clone().with_data_type(entries.data_type().clone());
    let maps: ArrayRef = Arc::new(arrow::array::MapArray::new(Arc::new(entry), offsets, entries, nulls, ordered));
    let value = json!({ "type": "struct", "fields": [field("b", "long"), field("a", "string")] });
    let map = json!({ "type": "map", "keyType": "string", "valueType": value, "valueContainsNull": true });
    let table = plain(&[field("m", map)], &[("m", maps)]);
    assert_eq!(table.read().await.unwrap().0, ["NULL", r#"{"k" => (b: NULL, a: "v")}"#]);
}

fn statistics(nulls: u64, least: i64) -> Table {
    let mut table = Table::new();
    let numbers: ArrayRef = Arc::new(Int32Array::from(vec![Some(5), None]));
    table.file("a.parquet", &batch(&[("n", numbers)]));
    let told =
        json!({ "numRecords": 2, "nullCount": { "n": nulls }, "minValues": { "n": least }, "maxValues": { "n": 5 } });
    let add = table.add("a.parquet", told);
    table.begin(
        json!({ "minReaderVersion": 1, "minWriterVersion": 2 }),
        &[field("n", "integer")],
        &[],
        json!({}),
        &[add],
    );
    table
}

#[tokio::test]
async fn what_was_read_is_compared_with_what_the_log_says() {
    assert_eq!(statistics(1, 5).read().await.unwrap().0, ["5i32", "NULL"]);
    for (table, words) in
        [(statistics(0, 5), ["NULLs", "1 was read, 0"]), (statistics(1, 4), ["least value", "5 was read, 4"])]
    {
        let error = table.read().await.expect_err("they differ");
        assert!(matches!(error, DeltaError::Statistics(_)), "{error:?}");
        let text = table.refusal().await;
        assert!(
            text.contains("`n`") && text.contains("a.parquet") && words.iter().all(|word| text.contains(word)),
            "{text}"
        );
        let options = ReadOptions { differences: Differences::Note, ..ReadOptions::default() };
        let (rows, notes) = table.read_with(options).await.unwrap();
        assert_eq!((rows.len(), notes.len()), (2, 1), "{notes:?}");
    }
}

#[tokio::test]
async fn a_wrong_size_is_noted_where_the_counts_agree_and_refused_where_none_tell() {
    for (size, counted) in [(16, true), (1 << 30, true), (16, false)] {
        let mut table = Table::new();
        let add = table.file("a.parquet", &batch(&[("id", longs(&[1, 2]))]));
        let mut add = with(add, "size", json!(size));
        if !counted {
            add = with(add, "stats", json!(null));
        }
        table.begin(
            json!({ "minReaderVersion": 1, "minWriterVersion": 2 }),
            &[field("id", "long")],
            &[],
            json!({}),
            &[add],
        );
        if counted {
            let (rows, notes) = table.read().await.unwrap();
            assert_eq!(rows.len(), 2);
            assert!(
                notes.iter().any(|note| note.contains("a.parquet") && note.contains(&size.to_string())),
                "{notes:?}"
            );
        } else {
            let text = table.refusal().await;
            assert!(text.contains("a.parquet") && text.contains("16 bytes"), "{text}");
        }
    }
}

#[tokio::test]
async fn rows_that_are_large_come_few_at_a_time_and_a_page_that_is_too_large_not_at_all() {
    let long = "x".repeat(1 << 20);
    let values: Vec<&str> = (0..80).map(|_| long.as_str()).collect();
    let properties = || {
        WriterProperties::builder()
            .set_dictionary_enabled(false)
            .set_compression(parquet::basic::Compression::SNAPPY)
            .set_data_page_size_limit(1 << 20)
            .set_write_batch_size(1)
    };
    let memory_bytes = 64 << 20;
    let options =
        || ReadOptions { memory_bytes, batch_bytes: NonZero::new(8 << 20).unwrap(), ..ReadOptions::default() };
    let table = of_file(&[field("t", "string")], &[("t", texts(&values))], properties().build());
    assert_eq!(table.read_with(options()).await.unwrap().0.len(), 80);

    let one_page = properties().set_data_page_size_limit(1 << 30).set_write_batch_size(100).build();
    let table = of_file(&[field("t", "string")], &[("t", texts(&values))], one_page);
    let text = table.read_with(options()).await.expect_err("a page of 80 MB").to_string();
    assert!(
        text.contains("one page takes") && text.contains("slot_memory_bytes") && text.contains("a b.parquet"),
        "{text}"
    );
    assert_eq!(table.read().await.unwrap().0.len(), 80, "where there is room it is read");
}
