//! Every conversion from a file's numbers and bytes to values: what is exact, and what is refused.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, Date32Array, FixedSizeBinaryArray, Int32Array, Int64Array, ListArray,
    MapArray, StringArray, StructArray, TimestampMicrosecondArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Decimal128Type, Field, Float64Type, Int8Type, Int32Type, Int64Type, TimeUnit};

use super::calendar::{Calendar, Zone};
use super::*;

fn gregorian() -> Calendars {
    Calendars { dates: Calendar::Gregorian, int96: Calendar::Gregorian }
}

fn of(array: ArrayRef, way: Carry, to: DataType) -> Result<ArrayRef, Fault> {
    carry(&array, &Node::Leaf(way), &to, &gregorian())
}

fn ints(values: Vec<Option<i32>>) -> ArrayRef {
    Arc::new(Int32Array::from(values))
}

fn longs(values: Vec<Option<i64>>) -> ArrayRef {
    Arc::new(Int64Array::from(values))
}

fn instant() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

fn why(found: Result<ArrayRef, Fault>) -> String {
    found.expect_err("this must be refused").why
}

#[test]
fn integers_keep_their_value_or_are_refused() {
    let plain = |stored| Carry::Integer(Integer { stored, bits: stored, signed: true });
    let found = of(ints(vec![Some(-5), None]), plain(32), DataType::Int64).expect("widened");
    assert_eq!(found.as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), [Some(-5), None]);
    let found = of(longs(vec![Some(127)]), plain(64), DataType::Int8).expect("fits");
    assert_eq!(found.as_primitive::<Int8Type>().value(0), 127);
    assert!(why(of(longs(vec![Some(128)]), plain(64), DataType::Int8)).contains("128 does not fit into TINYINT"));
    // What the file declares of its integers must hold: an INT(8) of 300 contradicts itself.
    let small = Carry::Integer(Integer { stored: 32, bits: 8, signed: true });
    assert!(why(of(ints(vec![Some(300)]), small, DataType::Int32)).contains("300 is no INT(8)"));
    let unsigned = |stored, bits| Carry::Integer(Integer { stored, bits, signed: false });
    let found = of(ints(vec![Some(-1)]), unsigned(32, 32), DataType::Int64).expect("fits");
    assert_eq!(found.as_primitive::<Int64Type>().value(0), i64::from(u32::MAX));
    assert!(why(of(ints(vec![Some(-1)]), unsigned(32, 32), DataType::Int32)).contains("4294967295"));
    assert!(why(of(longs(vec![Some(-1)]), unsigned(64, 64), DataType::Int64)).contains("18446744073709551615"));
    let as_decimal = Carry::IntegerToDecimal(Integer { stored: 64, bits: 64, signed: false });
    let found = of(longs(vec![Some(-1)]), as_decimal, DataType::Decimal128(20, 0)).expect("fits");
    assert_eq!(found.as_primitive::<Decimal128Type>().value(0), i128::from(u64::MAX));
    let doubles = Carry::IntegerToDouble(Integer { stored: 32, bits: 32, signed: true });
    let found = of(ints(vec![Some(i32::MIN)]), doubles, DataType::Float64).expect("exact");
    assert_eq!(found.as_primitive::<Float64Type>().value(0), f64::from(i32::MIN));
}

#[test]
fn decimals_are_rescaled_only_where_nothing_is_lost() {
    let decimal = |array, scale, to| of(array, Carry::Decimal { scale }, to);
    let value = |array: ArrayRef| array.as_primitive::<Decimal128Type>().value(0);
    assert_eq!(value(decimal(ints(vec![Some(150)]), 2, DataType::Decimal128(10, 4)).expect("more places")), 15_000);
    assert_eq!(value(decimal(longs(vec![Some(-150)]), 2, DataType::Decimal128(10, 1)).expect("a zero less")), -15);
    assert!(why(decimal(longs(vec![Some(155)]), 2, DataType::Decimal128(10, 1))).contains("155E-2"));
    assert!(why(decimal(longs(vec![Some(1_000)]), 0, DataType::Decimal128(3, 0))).contains("DECIMAL(3,0)"));
    let fixed =
        |bytes: &[u8]| Arc::new(FixedSizeBinaryArray::try_from_iter([bytes].into_iter()).expect("one")) as ArrayRef;
    assert_eq!(value(decimal(fixed(&[0xff, 0x38]), 0, DataType::Decimal128(5, 0)).expect("negative")), -200);
    let mut long = vec![0xff; 20];
    long[19] = 0x9c;
    assert_eq!(value(decimal(fixed(&long), 0, DataType::Decimal128(38, 0)).expect("sign bytes")), -100);
    long[0] = 0;
    assert!(decimal(fixed(&long), 0, DataType::Decimal128(38, 0)).is_err(), "beyond 38 digits");
    let bytes: ArrayRef = Arc::new(BinaryArray::from(vec![Some(&[0x7f][..]), None, Some(&[])]));
    assert!(decimal(bytes.slice(0, 2), 1, DataType::Decimal128(5, 1)).is_ok());
    assert!(decimal(bytes, 1, DataType::Decimal128(5, 1)).is_err(), "no bytes are no number");
}

#[test]
fn timestamps_keep_every_digit_or_are_refused() {
    let stored = |value| longs(vec![Some(value)]);
    let micros = |found: ArrayRef| found.as_any().downcast_ref::<TimestampMicrosecondArray>().expect("us").value(0);
    assert_eq!(micros(of(stored(-1), Carry::Instant(Unit::Millis), instant()).expect("exact")), -1_000);
    assert_eq!(micros(of(stored(-1_000), Carry::Instant(Unit::Nanos), instant()).expect("exact")), -1);
    for finer in [1, -1, 1_704_067_200_123_456_789] {
        assert!(why(of(stored(finer), Carry::Instant(Unit::Nanos), instant())).contains("finer than a microsecond"));
    }
    assert!(why(of(stored(i64::MAX), Carry::Instant(Unit::Millis), instant())).contains("beyond 64 bits"));
    let clock = DataType::Timestamp(TimeUnit::Microsecond, None);
    assert_eq!(of(stored(5), Carry::Clock(Unit::Micros), clock.clone()).expect("exact").data_type(), &clock);
    // 12:00:00.000001 on 9999-12-31, which is out of reach for nanoseconds in 64 bits.
    let int96 = |nanos: i64, day: i32| {
        let bytes = [nanos.to_le_bytes().as_slice(), day.to_le_bytes().as_slice()].concat();
        Arc::new(FixedSizeBinaryArray::try_from_iter([bytes].into_iter()).expect("one")) as ArrayRef
    };
    let late = 2_932_896;
    let found = of(int96(43_200_000_001_000, late + 2_440_588), Carry::Int96, instant()).expect("exact");
    assert_eq!(micros(found), i64::from(late) * calendar::DAY_MICROS + 43_200_000_001);
    assert!(why(of(int96(1, 2_440_588), Carry::Int96, instant())).contains("finer"));
}

#[test]
fn legacy_days_are_rebased_where_they_lie_in_a_struct_too() {
    let julian = Calendars { dates: Calendar::Julian(Zone::Fixed(0)), int96: Calendar::Gregorian };
    let days = ints(vec![Some(-171_655), Some(0)]);
    let fields = vec![Field::new("day", DataType::Int32, true)];
    let stored: ArrayRef = Arc::new(StructArray::new(fields.into(), vec![days], None));
    let node = Node::Struct(vec![member("day", Some(0), Node::Leaf(Carry::Date))]);
    let to = DataType::Struct(vec![Field::new("day", DataType::Date32, true)].into());
    let found = carry(&stored, &node, &to, &julian).expect("rebased");
    let days = found.as_struct().column(0).as_any().downcast_ref::<Date32Array>().expect("days").values().to_vec();
    assert_eq!(days, [-171_664, 0], "1500-01-01, which lay there as 1500-01-10");
}

#[test]
fn a_text_that_is_none_is_refused() {
    let bytes: ArrayRef = Arc::new(BinaryArray::from(vec![Some("größe".as_bytes()), None, Some(&[0xff, 0xfe])]));
    assert!(why(of(bytes.clone(), Carry::Text, DataType::Utf8)).contains("UTF-8"));
    let found = of(bytes.slice(0, 2), Carry::Text, DataType::Utf8).expect("texts");
    assert_eq!(found.as_string::<i32>().iter().collect::<Vec<_>>(), [Some("größe"), None]);
    let uuid: ArrayRef = Arc::new(FixedSizeBinaryArray::try_from_iter([[7_u8; 16]].into_iter()).expect("one"));
    let found = of(uuid, Carry::Bytes, DataType::Binary).expect("bytes");
    assert_eq!(found.as_binary::<i32>().value(0), [7; 16]);
}

fn member(name: &str, at: Option<usize>, node: Node) -> Member {
    Member { name: name.to_owned(), nullable: true, at, node }
}

fn int() -> Node {
    Node::Leaf(Carry::Integer(Integer { stored: 32, bits: 32, signed: true }))
}

#[test]
fn structs_are_put_together_by_place_and_keep_their_nulls() {
    let children = vec![ints(vec![Some(1), None, Some(3)]), ints(vec![Some(10), None, Some(30)])];
    let fields = vec![Field::new("b", DataType::Int32, true), Field::new("a", DataType::Int32, true)];
    let nulls = NullBuffer::from(vec![true, false, true]);
    let stored: ArrayRef = Arc::new(StructArray::new(fields.into(), children, Some(nulls)));
    let fields = |nullable| {
        let field = |name| Field::new(name, DataType::Int32, true);
        DataType::Struct(vec![field("a"), Field::new("new", DataType::Int32, nullable), field("b")].into())
    };
    let node =
        Node::Struct(vec![member("a", Some(1), int()), member("new", None, Node::Absent), member("b", Some(0), int())]);
    let found = carry(&stored, &node, &fields(true), &gregorian()).expect("put together");
    let found = found.as_struct();
    assert_eq!((found.is_null(0), found.is_null(1)), (false, true));
    assert_eq!(found.column(0).as_primitive::<Int32Type>().value(2), 30);
    assert_eq!(found.column(1).null_count(), 3);
    let fault = carry(&stored, &node, &fields(false), &gregorian()).expect_err("NOT NULL");
    assert_eq!(fault.path, ["new"]);
    assert!(fault.why.contains("NOT NULL"), "{}", fault.why);
}

#[test]
fn lists_and_maps_are_read_from_the_middle_and_keys_stand_once() {
    let list = ListArray::new(
        Arc::new(Field::new("item", DataType::Int32, true)),
        OffsetBuffer::from_lengths([2, 0, 1, 2]),
        ints(vec![Some(1), Some(2), Some(3), None, Some(5)]),
        Some(NullBuffer::from(vec![true, false, true, true])),
    );
    let node = Node::List(Box::new(member("element", Some(0), int())));
    let to = DataType::List(Arc::new(Field::new("element", DataType::Int64, true)));
    let stored: ArrayRef = Arc::new(list.slice(1, 3));
    let found = carry(&stored, &node, &to, &gregorian()).expect("carried");
    let found = found.as_list::<i32>();
    assert_eq!((found.is_null(0), found.value(2).as_primitive::<Int64Type>().value(1)), (true, 5));

    let entries = |keys: Vec<&str>| {
        let values = ints((0..keys.len()).map(|i| i32::try_from(i).ok()).collect());
        let keys: ArrayRef = Arc::new(BinaryArray::from_iter_values(keys.iter().map(|key| key.as_bytes())));
        let fields = vec![Field::new("k", DataType::Binary, false), Field::new("v", DataType::Int32, true)];
        let lengths = OffsetBuffer::from_lengths([2, keys.len() - 2]);
        let entries = StructArray::new(fields.clone().into(), vec![keys, values], None);
        let entry = Arc::new(Field::new("entries", DataType::Struct(fields.into()), false));
        Arc::new(MapArray::new(entry, lengths, entries, None, false)) as ArrayRef
    };
    let node =
        Node::Map(Box::new(member("key", Some(0), Node::Leaf(Carry::Text))), Box::new(member("value", Some(1), int())));
    let fields = vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Int32, true)];
    let to = DataType::Map(Arc::new(Field::new("key_value", DataType::Struct(fields.into()), false)), false);
    let found = carry(&entries(vec!["a", "b", "a"]), &node, &to, &gregorian()).expect("one of each in each map");
    let keys: &StringArray = found.as_map().keys().as_string();
    assert_eq!(keys.iter().flatten().collect::<Vec<_>>(), ["a", "b", "a"]);
    let fault = carry(&entries(vec!["a", "a", "b"]), &node, &to, &gregorian()).expect_err("twice");
    assert!(fault.why.contains("twice"), "{}", fault.why);
}

#[test]
fn a_column_that_is_always_null_must_be() {
    let to = DataType::Utf8;
    assert_eq!(of(ints(vec![None, None]), Carry::AlwaysNull, to.clone()).expect("NULL").null_count(), 2);
    assert!(of(ints(vec![None, Some(1)]), Carry::AlwaysNull, to).is_err());
}
