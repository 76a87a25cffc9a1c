//! The rows of the type samples: ordinary values, the extremes of each type, and NULL at every level.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int8Array,
    Int16Array, Int32Array, Int64Array, ListArray, MapArray, RecordBatch, StringArray, StructArray,
    TimestampMicrosecondArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema};

use super::SampleError;

/// 2262-04-11T23:47:16.854775Z, the last instant that the tunnel can carry: it counts nanoseconds in 64 bits.
const LAST_MICROS: i64 = 9_223_372_036_854_775;
/// 1700-01-01T00:00:00Z. The tunnel carries instants from 1677 on, but PyODPS cannot read back the first second of that
/// range.
const FIRST_MICROS: i64 = -8_520_336_000_000_000;

fn batch(columns: Vec<(&str, ArrayRef)>) -> Result<RecordBatch, SampleError> {
    let fields: Vec<_> =
        columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
    let columns = columns.into_iter().map(|(_, array)| array).collect();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

fn decimal(values: Vec<Option<i128>>, precision: u8, scale: i8) -> Result<ArrayRef, SampleError> {
    Ok(Arc::new(Decimal128Array::from(values).with_precision_and_scale(precision, scale)?))
}

fn instants(values: Vec<Option<i64>>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from(values).with_timezone("UTC"))
}

/// Every primitive type: an ordinary row, its least and greatest values, and a row of NULL.
pub(super) fn every_type() -> Result<RecordBatch, SampleError> {
    let greatest = 10_i128.pow(38) - 1;
    batch(vec![
        ("id", Arc::new(Int64Array::from_iter_values(0..4))),
        ("a_boolean", Arc::new(BooleanArray::from(vec![Some(true), Some(false), Some(true), None]))),
        ("a_byte", Arc::new(Int8Array::from(vec![Some(1), Some(i8::MIN), Some(i8::MAX), None]))),
        ("a_short", Arc::new(Int16Array::from(vec![Some(1), Some(i16::MIN), Some(i16::MAX), None]))),
        ("an_integer", Arc::new(Int32Array::from(vec![Some(1), Some(i32::MIN), Some(i32::MAX), None]))),
        ("a_long", Arc::new(Int64Array::from(vec![Some(1), Some(i64::MIN), Some(i64::MAX), None]))),
        ("a_float", Arc::new(Float32Array::from(vec![Some(0.1), Some(f32::MIN), Some(f32::INFINITY), None]))),
        ("a_double", Arc::new(Float64Array::from(vec![Some(0.1), Some(f64::NEG_INFINITY), Some(f64::NAN), None]))),
        ("a_price", decimal(vec![Some(12_345), Some(-1), Some(999_999_999), None], 9, 2)?),
        ("a_balance", decimal(vec![Some(12_345), Some(-1), Some(999_999_999_999_999_999), None], 18, 4)?),
        ("a_huge", decimal(vec![Some(1), Some(-greatest), Some(greatest), None], 38, 18)?),
        ("a_string", Arc::new(StringArray::from(vec![Some("text"), Some(""), Some("ünï\u{1F600}\n\0"), None]))),
        ("a_binary", Arc::new(BinaryArray::from(vec![Some(&b"bytes"[..]), Some(b""), Some(&[0, 255, 128]), None]))),
        ("a_date", Arc::new(Date32Array::from(vec![Some(19_723), Some(-719_162), Some(2_932_896), None]))),
        ("an_instant", instants(vec![Some(1_704_067_200_123_456), Some(FIRST_MICROS), Some(LAST_MICROS), None])),
        (
            "a_wall_clock",
            Arc::new(TimestampMicrosecondArray::from(vec![Some(-1), Some(FIRST_MICROS), Some(LAST_MICROS), None])),
        ),
    ])
}

fn list(values: ArrayRef, lengths: &[usize], nulls: &[bool]) -> Result<ArrayRef, SampleError> {
    let element: FieldRef = Arc::new(Field::new("element", values.data_type().clone(), true));
    let offsets = OffsetBuffer::from_lengths(lengths.iter().copied());
    Ok(Arc::new(ListArray::try_new(element, offsets, values, Some(NullBuffer::from(nulls)))?))
}

fn structure(fields: Vec<(&str, ArrayRef)>, nulls: &[bool]) -> Result<ArrayRef, SampleError> {
    let (names, arrays): (Vec<_>, Vec<_>) = fields.into_iter().unzip();
    let fields: Fields =
        names.iter().zip(&arrays).map(|(name, a)| Field::new(*name, a.data_type().clone(), true)).collect();
    Ok(Arc::new(StructArray::try_new(fields, arrays, Some(NullBuffer::from(nulls)))?))
}

fn map(keys: ArrayRef, values: ArrayRef, lengths: &[usize], nulls: &[bool]) -> Result<ArrayRef, SampleError> {
    let fields: Fields =
        vec![Field::new("key", keys.data_type().clone(), false), Field::new("value", values.data_type().clone(), true)]
            .into();
    let entries = StructArray::try_new(fields.clone(), vec![keys, values], None)?;
    let field = Arc::new(Field::new("key_value", DataType::Struct(fields), false));
    let offsets = OffsetBuffer::from_lengths(lengths.iter().copied());
    Ok(Arc::new(MapArray::try_new(field, offsets, entries, Some(NullBuffer::from(nulls)), false)?))
}

fn texts(values: &[Option<&str>]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

fn integers(values: &[Option<i32>]) -> ArrayRef {
    Arc::new(Int32Array::from(values.to_vec()))
}

/// Lists, maps and structs within each other: with values, with NULL inside, empty, and NULL.
pub(super) fn nested() -> Result<RecordBatch, SampleError> {
    let there = [true, true, true, false];
    let inner = structure(
        vec![("x", integers(&[Some(1), None, Some(3), None])), ("y", texts(&[Some("a"), Some(""), None, None]))],
        &there,
    )?;
    let items = structure(
        vec![("n", integers(&[Some(1), None, Some(3)])), ("s", texts(&[Some("p"), Some("q"), None]))],
        &[true, false, true],
    )?;
    let deep = list(integers(&[Some(1), Some(2), None, Some(4)]), &[2, 0, 1, 1], &[true, true, true, true])?;
    batch(vec![
        ("id", Arc::new(Int64Array::from_iter_values(0..4))),
        ("list", list(integers(&[Some(1), None, Some(3)]), &[2, 1, 0, 0], &there)?),
        ("struct", inner),
        (
            "map",
            map(texts(&[Some("a"), Some("b"), Some("c")]), integers(&[Some(1), None, Some(3)]), &[2, 1, 0, 0], &there)?,
        ),
        ("structs", list(items.clone(), &[2, 1, 0, 0], &there)?),
        ("lists", list(deep, &[3, 1, 0, 0], &there)?),
        ("map_of_structs", map(integers(&[Some(1), Some(2), Some(3)]), items, &[2, 1, 0, 0], &there)?),
    ])
}

/// Every type that a partition column can have: an ordinary row, two extreme ones, and one of NULL.
pub(super) fn partition_types() -> Result<RecordBatch, SampleError> {
    batch(vec![
        ("id", Arc::new(Int64Array::from_iter_values(0..4))),
        ("p_boolean", Arc::new(BooleanArray::from(vec![Some(true), Some(false), Some(true), None]))),
        ("p_byte", Arc::new(Int8Array::from(vec![Some(1), Some(i8::MIN), Some(i8::MAX), None]))),
        ("p_short", Arc::new(Int16Array::from(vec![Some(1), Some(i16::MIN), Some(i16::MAX), None]))),
        ("p_integer", Arc::new(Int32Array::from(vec![Some(1), Some(i32::MIN), Some(i32::MAX), None]))),
        ("p_long", Arc::new(Int64Array::from(vec![Some(1), Some(i64::MIN), Some(i64::MAX), None]))),
        ("p_float", Arc::new(Float32Array::from(vec![Some(0.1), Some(-1.0), Some(1e10), None]))),
        ("p_double", Arc::new(Float64Array::from(vec![Some(0.1), Some(-1.0), Some(1e300), None]))),
        ("p_decimal", decimal(vec![Some(12_345), Some(-1), Some(999_999_999), None], 9, 2)?),
        ("p_string", texts(&[Some("text"), Some("a/b=c d%20"), Some("ü"), None])),
        ("p_date", Arc::new(Date32Array::from(vec![Some(19_723), Some(-719_162), Some(2_932_896), None]))),
        ("p_instant", instants(vec![Some(1_704_067_200_123_456), Some(0), Some(LAST_MICROS), None])),
    ])
}

/// Thirty rows under column names that are legal only with column mapping. The partition of row `i` is `a`, `b` or NULL
/// in turn.
pub(super) fn mapped() -> Result<RecordBatch, SampleError> {
    let count = 30_usize;
    let part: StringArray = (0..count).map(|i| [Some("a"), Some("b"), None][i % 3]).collect();
    let numbers: Vec<_> = (0..30).map(|i| (i % 4 != 0).then_some(i)).collect();
    let inside =
        structure(vec![("first, name", integers(&numbers)), ("zweiter;Name", integers(&numbers))], &vec![true; count])?;
    let listed = list(inside.clone(), &vec![1; count], &vec![true; count])?;
    batch(vec![
        ("the id", Arc::new(Int64Array::from_iter_values(0..30))),
        ("part of, it", Arc::new(part)),
        ("Größe {cm}", integers(&numbers)),
        ("in(side)", inside),
        ("list=ed", listed),
    ])
}
