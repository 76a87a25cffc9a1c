//! The Arrow type of each column, on the wire and in our files.
//!
//! The forms differ in one type: the tunnel carries TIMESTAMP as 64-bit nanoseconds (1677 to 2262), the Storage API in
//! the unit that its session names, records as seconds and nanoseconds. Files use the widest form, so that no value is
//! lost.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, Int64Array, ListArray, MapArray, StructArray};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType as ArrowType, Field, FieldRef, Fields, Int32Type, Int64Type, Schema, SchemaRef, TimeUnit,
};
use mms_maxcompute::types::DataType;

use super::super::schema::Column;

/// Where a batch is used, which decides its Arrow types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// In tunnel bodies.
    Wire,
    /// In streams of the Storage API; timestamps have this unit.
    Stream(TimeUnit),
    /// In our files.
    File,
}

const NANOS: i64 = 1_000_000_000;

fn pair_fields() -> Fields {
    Fields::from(vec![Field::new("sec", ArrowType::Int64, true), Field::new("nano", ArrowType::Int32, true)])
}

fn map_field(entries: Fields) -> FieldRef {
    Arc::new(Field::new("entries", ArrowType::Struct(entries), false))
}

/// The Arrow type of a column.
pub fn arrow_type(data_type: &DataType, form: Form) -> ArrowType {
    match data_type {
        DataType::TinyInt => ArrowType::Int8,
        DataType::SmallInt => ArrowType::Int16,
        DataType::Int => ArrowType::Int32,
        DataType::BigInt => ArrowType::Int64,
        DataType::Float => ArrowType::Float32,
        DataType::Double => ArrowType::Float64,
        DataType::Boolean => ArrowType::Boolean,
        DataType::Decimal { precision, scale } => ArrowType::Decimal128(*precision, i8::try_from(*scale).unwrap_or(18)),
        DataType::String | DataType::Varchar(_) | DataType::Char(_) | DataType::Json => ArrowType::Utf8,
        DataType::Binary => ArrowType::Binary,
        DataType::Date => ArrowType::Date32,
        DataType::Datetime => ArrowType::Timestamp(TimeUnit::Millisecond, None),
        DataType::Timestamp | DataType::TimestampNtz => match form {
            Form::Wire => ArrowType::Timestamp(TimeUnit::Nanosecond, None),
            Form::Stream(unit) => ArrowType::Timestamp(unit, None),
            Form::File => ArrowType::Struct(pair_fields()),
        },
        DataType::Array(item) => ArrowType::List(Arc::new(Field::new("item", arrow_type(item, form), true))),
        DataType::Map(key, value) => {
            let key = Field::new("key", arrow_type(key, form), false);
            let value = Field::new("value", arrow_type(value, form), true);
            ArrowType::Map(map_field(Fields::from(vec![key, value])), false)
        }
        DataType::Struct(fields) => ArrowType::Struct(
            fields.iter().map(|f| Field::new(&f.name, arrow_type(&f.data_type, form), true)).collect(),
        ),
    }
}

/// The Arrow schema of columns. All fields are nullable, since we check NOT NULL ourselves after decoding, with a
/// better message than Arrow's.
pub fn arrow_schema(columns: &[Column], form: Form) -> SchemaRef {
    let field = |c: &Column| Field::new(&c.name, arrow_type(&c.data_type, form), true);
    Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
}

fn holds_timestamp(data_type: &DataType) -> bool {
    match data_type {
        DataType::Timestamp | DataType::TimestampNtz => true,
        DataType::Array(item) => holds_timestamp(item),
        DataType::Map(key, value) => holds_timestamp(key) || holds_timestamp(value),
        DataType::Struct(fields) => fields.iter().any(|f| holds_timestamp(&f.data_type)),
        _ => false,
    }
}

/// How many of this unit make a second.
fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => NANOS,
    }
}

fn split(array: &ArrayRef) -> Result<ArrayRef, String> {
    let ArrowType::Timestamp(unit, _) = array.data_type() else {
        return Err(format!("{} is no timestamp", array.data_type()));
    };
    let per_second = per_second(*unit);
    let times = cast(array, &ArrowType::Int64).map_err(|error| error.to_string())?;
    let times = times.as_primitive::<Int64Type>();
    let seconds: Int64Array = times.unary(|time| time.div_euclid(per_second));
    let nanos = |time: i64| i32::try_from(time.rem_euclid(per_second) * (NANOS / per_second)).unwrap_or_default();
    let rest: Int32Array = times.unary(nanos);
    let children: Vec<ArrayRef> = vec![Arc::new(seconds), Arc::new(rest)];
    Ok(Arc::new(StructArray::new(pair_fields(), children, times.nulls().cloned())))
}

/// The time in this unit; `None` if the unit cannot hold it exactly in 64 bits.
fn joined(second: i64, nano: i32, unit: TimeUnit) -> Option<i64> {
    let whole = i128::from(second) * i128::from(NANOS) + i128::from(nano);
    let one = i128::from(NANOS / per_second(unit));
    (whole % one == 0).then(|| i64::try_from(whole / one).ok()).flatten()
}

fn join(array: &ArrayRef, unit: TimeUnit) -> Result<ArrayRef, String> {
    let pair = array.as_struct();
    let seconds = pair.column(0).as_primitive::<Int64Type>();
    let rest = pair.column(1).as_primitive::<Int32Type>();
    let times: Result<Int64Array, String> = (0..pair.len())
        .map(|i| {
            if pair.is_null(i) {
                return Ok(None);
            }
            let (second, nano) = (seconds.value(i), rest.value(i));
            joined(second, nano, unit).map(Some).ok_or_else(|| {
                format!("a timestamp of {second} s and {nano} ns since 1970 has no place in 64 bits of {unit}: read as records")
            })
        })
        .collect();
    cast(&times?, &ArrowType::Timestamp(unit, None)).map_err(|error| error.to_string())
}

/// Converts an array to another form.
pub fn convert(array: &ArrayRef, data_type: &DataType, to: Form) -> Result<ArrayRef, String> {
    if !holds_timestamp(data_type) {
        return Ok(Arc::clone(array));
    }
    let wrong = |error: arrow::error::ArrowError| error.to_string();
    Ok(match data_type {
        DataType::Array(item) => {
            let list = array.as_list::<i32>();
            let field = Arc::new(Field::new("item", arrow_type(item, to), true));
            let values = convert(list.values(), item, to)?;
            Arc::new(ListArray::try_new(field, list.offsets().clone(), values, list.nulls().cloned()).map_err(wrong)?)
        }
        DataType::Map(key, value) => {
            let map = array.as_map();
            let ArrowType::Map(field, _) = arrow_type(data_type, to) else {
                return Err("a map is carried as a map".to_owned());
            };
            let ArrowType::Struct(fields) = field.data_type() else {
                return Err("a map's entries are a struct".to_owned());
            };
            let children = vec![convert(map.keys(), key, to)?, convert(map.values(), value, to)?];
            let entries = StructArray::try_new(fields.clone(), children, None).map_err(wrong)?;
            let made = MapArray::try_new(field, map.offsets().clone(), entries, map.nulls().cloned(), false);
            Arc::new(made.map_err(wrong)?)
        }
        DataType::Struct(fields) => {
            let ArrowType::Struct(arrow_fields) = arrow_type(data_type, to) else {
                return Err("a struct is carried as a struct".to_owned());
            };
            let row = array.as_struct();
            let children: Result<Vec<ArrayRef>, String> =
                fields.iter().zip(row.columns()).map(|(f, child)| convert(child, &f.data_type, to)).collect();
            Arc::new(StructArray::try_new(arrow_fields, children?, row.nulls().cloned()).map_err(wrong)?)
        }
        _ => match to {
            Form::File => split(array)?,
            Form::Wire => join(array, TimeUnit::Nanosecond)?,
            Form::Stream(unit) => join(array, unit)?,
        },
    })
}
