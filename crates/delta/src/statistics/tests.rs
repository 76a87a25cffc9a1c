//! What statistics say, and when they contradict the rows that were read.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Date32Array, Decimal128Array, Float32Array, Float64Array, Int64Array, RecordBatch, StringArray,
    StructArray, TimestampMicrosecondArray,
};
use delta_kernel::schema::{DataType, StructField, StructType};
use url::Url;

use super::judge::{End, holds};
use super::observe::Observed;
use super::*;
use crate::{ColumnMapping, TableShape};

fn shape() -> TableShape {
    let decimal = DataType::decimal(10, 2).expect("a type");
    let inner = StructType::try_new([StructField::nullable("x", DataType::LONG)]).expect("a struct");
    let fields = [
        StructField::nullable("n", DataType::LONG),
        StructField::nullable("t", DataType::STRING),
        StructField::nullable("at", DataType::TIMESTAMP),
        StructField::nullable("day", DataType::DATE),
        StructField::nullable("price", decimal),
        StructField::nullable("f", DataType::FLOAT),
        StructField::nullable("d", DataType::DOUBLE),
        StructField::nullable("s", DataType::from(inner)),
    ];
    let schema = Arc::new(StructType::try_new(fields).expect("a schema"));
    let root = Url::parse("file:///t/").expect("a root");
    TableShape::new(root, schema, Vec::new(), ColumnMapping::None).expect("a shape")
}

fn batch(n: Vec<Option<i64>>, text: Vec<Option<&str>>) -> RecordBatch {
    let shape = shape();
    let rows = n.len();
    let numbers: ArrayRef = Arc::new(Int64Array::from(n));
    let arrow::datatypes::DataType::Struct(inner) = shape.stored_schema().field(7).data_type().clone() else {
        panic!("a struct")
    };
    let columns: Vec<ArrayRef> = vec![
        numbers.clone(),
        Arc::new(StringArray::from(text)),
        Arc::new(TimestampMicrosecondArray::from(vec![1_500_000_123_456; rows]).with_timezone("UTC")),
        Arc::new(Date32Array::from(vec![-1; rows])),
        Arc::new(Decimal128Array::from(vec![12_345; rows]).with_precision_and_scale(10, 2).expect("fits")),
        Arc::new(Float32Array::from(vec![0.1; rows])),
        Arc::new(Float64Array::from(vec![f64::NAN; rows])),
        Arc::new(StructArray::new(inner, vec![numbers], None)),
    ];
    RecordBatch::try_new(shape.stored_schema().clone(), columns).expect("a batch")
}

/// The first difference between these statistics and two rows, whose numbers are 7 and NULL.
fn difference(statistics: &str, text: Vec<Option<&str>>) -> Option<(String, &'static str)> {
    let (shape, told) = (shape(), FileStatistics::parse(statistics));
    let mut observer = Observer::new(&shape, Some(&told));
    let rows = batch(vec![Some(7), None], text);
    for at in 0..rows.num_rows() {
        observer.see(&rows.slice(at, 1));
    }
    judge(&observer, &told).map(|found| (found.column.join("."), found.what))
}

fn differs(statistics: &str) -> Option<(String, &'static str)> {
    difference(statistics, vec![Some("b"), Some("a")])
}

#[test]
fn statistics_are_read_with_their_structs_and_bounds_of_any_kind() {
    let told = FileStatistics::parse(
        r#"{"numRecords":3,"tightBounds":false,"minValues":{"a":1,"s":{"x":"y"}},"maxValues":{"a":2},"nullCount":{"a":0,"s":{"x":1,"z":2}}}"#,
    );
    assert_eq!((told.rows, told.tight), (Some(3), false));
    let shown: Vec<_> = told
        .columns
        .iter()
        .map(|c| format!("{} {:?} {:?} {:?}", c.path.join("."), c.nulls, c.least.as_deref(), c.most.as_deref()))
        .collect();
    assert_eq!(
        shown,
        [r#"a Some(0) Some("1") Some("2")"#, r#"s.x Some(1) Some("\"y\"") None"#, "s.z Some(2) None None"]
    );
    assert!(FileStatistics::parse(r#"{"numRecords":1}"#).tight, "exact unless it says otherwise");
    for none in ["", "no json", r#"{"maxValues":{"b":"\ud800"}}"#, "[1]"] {
        assert_eq!(FileStatistics::parse(none), FileStatistics::default(), "{none}");
    }
    let wide = FileStatistics::parse(&format!(r#"{{"minValues":{{"t":"{}"}}}}"#, "x".repeat(600)));
    assert!(wide.columns.is_empty(), "a bound that long is not kept");
}

#[test]
fn nulls_must_be_as_many_as_the_log_counts() {
    assert_eq!(differs(r#"{"numRecords":2,"nullCount":{"n":1,"s":{"x":1},"t":0}}"#), None);
    for (wrong, column) in [(r#"{"n":0}"#, "n"), (r#"{"n":2}"#, "n"), (r#"{"s":{"x":0}}"#, "s.x"), (r#"{"T":1}"#, "t")]
    {
        let told = format!(r#"{{"numRecords":2,"nullCount":{wrong}}}"#);
        assert_eq!(differs(&told), Some((column.to_owned(), "NULLs")), "{wrong}");
    }
    // If rows were deleted since, only "none" and "all" say something.
    let wide = |nulls: u64| format!(r#"{{"numRecords":5,"tightBounds":false,"nullCount":{{"n":{nulls}}}}}"#);
    assert_eq!(differs(&wide(3)), None);
    assert!(differs(&wide(0)).is_some() && differs(&wide(5)).is_some());
    assert_eq!(differs(r#"{"nullCount":{"unknown":7}}"#), None);
}

#[test]
fn bounds_must_be_those_that_were_read() {
    for right in [
        r#"{"minValues":{"n":7},"maxValues":{"n":7}}"#,
        r#"{"minValues":{"at":"1970-01-18T08:40:00.123Z"},"maxValues":{"at":"1970-01-18T08:40:00.124Z"}}"#,
        r#"{"minValues":{"at":"1970-01-18T00:40:00.123-08:00","day":"1969-12-31"}}"#,
        r#"{"minValues":{"at":"1970-01-18 08:40:00"}}"#,
        r#"{"minValues":{"price":123.45},"maxValues":{"price":"123.45"}}"#,
        r#"{"minValues":{"f":0.1},"maxValues":{"f":0.10000000149011612}}"#,
        r#"{"minValues":{"d":5.0}}"#,
        r#"{"minValues":{"n":"not a number","day":"+12345-01-01"}}"#,
        r#"{"tightBounds":false,"minValues":{"n":-3},"maxValues":{"n":100}}"#,
    ] {
        assert_eq!(differs(right), None, "{right}");
    }
    for (wrong, column) in [
        (r#"{"minValues":{"n":6}}"#, "n"),
        (r#"{"maxValues":{"n":8}}"#, "n"),
        (r#"{"minValues":{"at":"1970-01-18T08:40:00.121Z"}}"#, "at"),
        (r#"{"maxValues":{"day":"1970-01-01"}}"#, "day"),
        (r#"{"maxValues":{"price":123.46}}"#, "price"),
        (r#"{"maxValues":{"f":0.2}}"#, "f"),
        (r#"{"tightBounds":false,"maxValues":{"n":6}}"#, "n"),
        (r#"{"tightBounds":false,"minValues":{"n":8}}"#, "n"),
    ] {
        assert_eq!(differs(wrong).map(|found| found.0), Some(column.to_owned()), "{wrong}");
    }
    assert_eq!(difference(r#"{"numRecords":2,"nullCount":{"t":2},"minValues":{}}"#, vec![None, None]), None);
    assert!(difference(r#"{"minValues":{"t":"a"}}"#, vec![None, None]).is_some(), "a value where only NULLs are");
}

#[test]
fn a_double_may_lie_beside_its_bound_in_the_last_place_and_no_further() {
    let told = |bound: &str| holds(bound, &Observed::Double(915_758.448_717_535_5), End::Most, true);
    assert_eq!(told("915758.4487175355"), Some(true), "its own shortest text");
    assert_eq!(told("915758.4487175356"), Some(true), "what the JSON library makes of it");
    assert_eq!(told("915758.448718"), Some(false));
}

#[test]
fn bounds_may_have_what_writers_leave_out() {
    let told = |bound: &str, found: Observed| holds(bound, &found, End::Most, true);
    // 1900-01-01 by the clocks of Shanghai, which were ahead by 8:05:43; an offset in the text has no seconds.
    let shanghai = Observed::Time(-2_209_017_943_000_000, true);
    assert_eq!(told(r#""1900-01-01T00:00:00.000+08:05""#, shanghai.clone()), Some(true));
    assert_eq!(told(r#""1900-01-01T00:02:00.000+08:05""#, shanghai), Some(false));
    assert_eq!(told(r#""2020-01-01T00:00:43.000+08:00""#, Observed::Time(1_577_808_000_000_000, true)), Some(false));
    // Written as FLOAT and widened since.
    assert_eq!(told("1.1", Observed::Double(f64::from(1.1_f32))), Some(true));
    assert_eq!(told("1.2", Observed::Double(f64::from(1.1_f32))), Some(false));
    let text = |text: &str| Observed::Text(text.to_owned());
    let (emojis, letters) = ("\u{1f600}".repeat(20), "a".repeat(32));
    assert_eq!(told(&format!("\"{}\u{fffd}\"", "\u{1f600}".repeat(16)), text(&emojis)), Some(true));
    assert_eq!(told(&format!("\"{letters}\u{fffd}\""), text(&format!("{letters}\u{1f600}"))), Some(true));
    assert_eq!(
        told(&format!("\"{}?\u{fffd}\"", "a".repeat(31)), text(&format!("{}\u{1f600}", "a".repeat(31)))),
        Some(true)
    );
    assert_eq!(told(&format!("\"b{}\u{fffd}\"", "a".repeat(31)), text(&letters)), Some(false));
}

#[test]
fn a_plan_hears_of_timestamps_only_where_bounds_are_exact() {
    let shape = shape();
    let columns = shape.time_columns();
    assert_eq!(columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>(), ["at"]);
    let beyond =
        |statistics: &str| columns[0].beyond(&StatisticsText::parse(statistics).expect("an object"), &(0..=10));
    let far = r#""maxValues":{"at":"9999-12-31T23:59:59.999Z"}"#;
    assert_eq!(beyond(&format!("{{{far}}}")).as_deref(), Some("9999-12-31T23:59:59.999Z"));
    assert_eq!(beyond(&format!(r#"{{"tightBounds":false,{far}}}"#)), None, "those rows may be the deleted ones");
    assert_eq!(beyond(r#"{"maxValues":{"at":"1970-01-01T00:00:00.000Z"}}"#), None);
    let beyond_all =
        r#"{"minValues":{"at":"-0005-01-01T00:00:00.000Z"},"maxValues":{"at":"+10000-01-01T00:00:00.000Z"}}"#;
    assert_eq!(beyond(beyond_all).as_deref(), Some("-0005-01-01T00:00:00.000Z"));
}

#[test]
fn who_reads_a_file_hears_how_far_its_timestamps_may_reach() {
    let shape = shape();
    let columns = shape.time_columns();
    let kept = FileStatistics::parse;
    let beyond = |statistics: &str| columns[0].may_reach_beyond(&kept(statistics), &(0..=10));
    let far = r#""maxValues":{"at":"9999-12-31T23:59:59.999Z"}"#;
    for told in [format!("{{{far}}}"), format!(r#"{{"tightBounds":false,{far}}}"#)] {
        assert_eq!(beyond(&told).as_deref(), Some("9999-12-31T23:59:59.999Z"));
    }
    assert_eq!(beyond(r#"{"maxValues":{"at":"1970-01-01T00:00:00.000Z"}}"#), None);
    assert_eq!(beyond("{}"), None, "nothing is said");
}

#[test]
fn bounds_of_texts_may_be_cut() {
    let long = "abcdefghijklmnopqrstuvwxyz0123456789";
    let cut = &long[..32];
    let texts = || vec![Some("abc"), Some(long)];
    for right in [
        format!(r#"{{"minValues":{{"t":"abc"}},"maxValues":{{"t":"{cut}\uDBFF\uDFFF"}}}}"#),
        format!(r#"{{"minValues":{{"t":"ab"}},"maxValues":{{"t":"{cut}\u007f"}}}}"#),
        format!(r#"{{"maxValues":{{"t":"{long}"}}}}"#),
    ] {
        assert_eq!(difference(&right, texts()), None, "{right}");
    }
    let wide = format!(r#"{{"tightBounds":false,"minValues":{{"t":"a"}},"maxValues":{{"t":"{cut}\u007f"}}}}"#);
    assert_eq!(difference(&wide, texts()), None);
    for wrong in [
        r#"{"minValues":{"t":"b"}}"#,
        r#"{"maxValues":{"t":"abd"}}"#,
        r#"{"maxValues":{"t":"abb"}}"#,
        // A short text was not cut, and an empty beginning would be one of every text.
        r#"{"tightBounds":false,"maxValues":{"t":"a"}}"#,
        r#"{"tightBounds":false,"maxValues":{"t":"ab"}}"#,
        r#"{"tightBounds":false,"maxValues":{"t":""}}"#,
    ] {
        assert!(difference(wrong, texts()).is_some(), "{wrong}");
    }
}

/// The same statistics, parsed by serde_json's own values.
fn by_values(text: &str) -> FileStatistics {
    use serde_json::{Map, Value};
    type Part<'a> = Option<&'a Map<String, Value>>;
    fn collect(parts: [Part<'_>; 3], path: &[String], columns: &mut Vec<ColumnStatistics>) {
        let mut names: Vec<&String> = Vec::new();
        for name in parts.into_iter().flatten().flat_map(Map::keys) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        for name in names {
            let path = [path, std::slice::from_ref(name)].concat();
            let [nulls, least, most] = parts.map(|part| part.and_then(|part| part.get(name)));
            let inner = [nulls, least, most].map(|value| value.and_then(Value::as_object));
            if inner.iter().any(Option::is_some) {
                collect(inner, &path, columns);
                continue;
            }
            let bound = |value: Option<&Value>| {
                value.filter(|value| value.is_number() || value.is_string() || value.is_boolean()).map(Value::to_string)
            };
            let (nulls, least, most) = (nulls.and_then(Value::as_u64), bound(least), bound(most));
            if nulls.is_some() || least.is_some() || most.is_some() {
                columns.push(ColumnStatistics { path, nulls, least, most });
            }
        }
    }
    let Ok(Value::Object(all)) = serde_json::from_str(text) else { return FileStatistics::default() };
    let part = |name: &str| all.get(name).and_then(Value::as_object);
    let mut columns = Vec::new();
    collect([part("nullCount"), part("minValues"), part("maxValues")], &[], &mut columns);
    let tight = all.get("tightBounds").and_then(Value::as_bool).unwrap_or(true);
    FileStatistics { rows: all.get("numRecords").and_then(Value::as_u64), tight, columns }
}

mod as_values_have_it {
    use proptest::prelude::*;

    use super::*;

    fn json() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            Just("true".to_owned()),
            any::<i64>().prop_map(|number| number.to_string()),
            any::<u64>().prop_map(|number| number.to_string()),
            any::<f64>().prop_filter("a number", |number| number.is_finite()).prop_map(|number| format!("{number:e}")),
            prop_oneof![
                Just("-0"),
                Just("1.0"),
                Just("1e400"),
                Just("01"),
                Just("[1,{}]"),
                Just("\"a\\u0041\\n\\\"\"")
            ]
            .prop_map(str::to_owned),
            ".{0,3}".prop_map(|text| serde_json::Value::from(text).to_string()),
        ];
        let name = prop_oneof![
            Just("numRecords"),
            Just("tightBounds"),
            Just("nullCount"),
            Just("minValues"),
            Just("maxValues"),
            Just("a"),
            Just("b"),
            Just("\\u0061"),
        ];
        leaf.prop_recursive(3, 24, 5, move |inner| {
            proptest::collection::vec((name.clone(), inner), 0..5).prop_map(|fields| {
                let fields: Vec<String> =
                    fields.into_iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
                format!("{{{}}}", fields.join(","))
            })
        })
    }

    proptest! {
        #[test]
        fn whatever_the_text(text in json(), cut in proptest::option::weighted(0.1, 0_usize..40)) {
            let text: String = text.chars().take(cut.unwrap_or(usize::MAX)).collect();
            let expected = by_values(&text);
            prop_assert_eq!(StatisticsText::rows_of(&text), expected.rows);
            prop_assert_eq!(FileStatistics::parse(&text), expected);
        }
    }
}
