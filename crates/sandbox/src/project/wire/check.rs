//! Checks the values of cells against the limits of their type. Every batch that arrives is checked here, in whatever
//! format it came.

use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType as ArrowType, Date32Type, Decimal128Type, Int32Type, Int64Type, TimestampMillisecondType,
};
use mms_maxcompute::types::DataType;

use super::super::schema::Column;

/// The largest cell, in bytes.
pub const CELL_BYTES_MAX: usize = 8 << 20;

/// 0000-01-01 and 9999-12-31 in days since 1970.
const DAYS: (i64, i64) = (-719_528, 2_932_896);
const DAY_SECONDS: i64 = 86_400;

/// Checks one column of a batch (in the files' form) against its definition.
pub fn check_column(array: &ArrayRef, column: &Column) -> Result<(), String> {
    if !column.nullable && array.null_count() > 0 {
        return Err(format!("column `{}` is NOT NULL, the data holds NULL", column.name));
    }
    let nested = matches!(column.data_type, DataType::Array(_) | DataType::Map(..) | DataType::Struct(_));
    let checked = if nested { check_size(array) } else { Ok(()) };
    checked.and_then(|()| check(array, &column.data_type)).map_err(|error| format!("column `{}`: {error}", column.name))
}

/// The size of the values in these rows, nested ones included.
fn bytes_of(array: &dyn Array, rows: Range<usize>) -> usize {
    let span = |offsets: &[i32]| offsets[rows.start] as usize..offsets[rows.end] as usize;
    match array.data_type() {
        ArrowType::Utf8 => span(array.as_string::<i32>().value_offsets()).len(),
        ArrowType::Binary => span(array.as_binary::<i32>().value_offsets()).len(),
        ArrowType::List(_) => {
            let list = array.as_list::<i32>();
            bytes_of(list.values(), span(list.value_offsets()))
        }
        ArrowType::Map(..) => {
            let map = array.as_map();
            bytes_of(map.entries(), span(map.value_offsets()))
        }
        ArrowType::Struct(_) => array.as_struct().columns().iter().map(|c| bytes_of(c, rows.clone())).sum(),
        other => other.primitive_width().unwrap_or(1) * rows.len(),
    }
}

/// The limit of a cell applies to everything nested in it together.
fn check_size(array: &ArrayRef) -> Result<(), String> {
    if bytes_of(array, 0..array.len()) <= CELL_BYTES_MAX {
        return Ok(());
    }
    match valid(array).map(|i| bytes_of(array, i..i + 1)).find(|bytes| *bytes > CELL_BYTES_MAX) {
        Some(bytes) => Err(format!("a cell of {bytes} bytes, the limit is {CELL_BYTES_MAX}")),
        None => Ok(()),
    }
}

fn valid<'a>(array: &'a dyn Array) -> impl Iterator<Item = usize> + 'a {
    (0..array.len()).filter(move |i| array.is_valid(*i))
}

fn check_text(array: &ArrayRef, what: &str, ok: impl Fn(&str) -> bool) -> Result<(), String> {
    let texts = array.as_string::<i32>();
    for text in texts.iter().flatten() {
        if text.len() > CELL_BYTES_MAX {
            return Err(format!("a cell of {} bytes, the limit is {CELL_BYTES_MAX}", text.len()));
        }
        if !ok(text) {
            let shown: String = text.chars().take(40).collect();
            return Err(format!("{shown:?} is not {what}"));
        }
    }
    Ok(())
}

fn check(array: &ArrayRef, data_type: &DataType) -> Result<(), String> {
    let day_range = DAYS.0 * DAY_SECONDS..(DAYS.1 + 1) * DAY_SECONDS;
    match data_type {
        DataType::Decimal { precision, .. } => array
            .as_primitive::<Decimal128Type>()
            .validate_decimal_precision(*precision)
            .map_err(|error| error.to_string()),
        DataType::String => check_text(array, "text", |_| true),
        DataType::Json => check_text(array, "JSON", |t| serde_json::from_str::<serde::de::IgnoredAny>(t).is_ok()),
        DataType::Varchar(n) => check_text(array, "within its VARCHAR", |t| t.chars().count() <= *n as usize),
        DataType::Char(n) => check_text(array, "within its CHAR", |t| t.chars().count() <= *n as usize),
        DataType::Binary => match array.as_binary::<i32>().iter().flatten().find(|b| b.len() > CELL_BYTES_MAX) {
            Some(cell) => Err(format!("a cell of {} bytes, the limit is {CELL_BYTES_MAX}", cell.len())),
            None => Ok(()),
        },
        DataType::Date => {
            let days = array.as_primitive::<Date32Type>();
            match valid(days).map(|i| i64::from(days.value(i))).find(|d| !(DAYS.0..=DAYS.1).contains(d)) {
                Some(day) => Err(format!("day {day} since 1970 is outside the years 0000..9999")),
                None => Ok(()),
            }
        }
        DataType::Datetime => {
            let times = array.as_primitive::<TimestampMillisecondType>();
            match valid(times).map(|i| times.value(i)).find(|t| !day_range.contains(&t.div_euclid(1000))) {
                Some(time) => Err(format!("{time} ms since 1970 is outside the years 0000..9999")),
                None => Ok(()),
            }
        }
        DataType::Timestamp | DataType::TimestampNtz => {
            let pair = array.as_struct();
            let seconds = pair.column(0).as_primitive::<Int64Type>();
            let nanos = pair.column(1).as_primitive::<Int32Type>();
            let wrong =
                |i: &usize| !day_range.contains(&seconds.value(*i)) || !(0..1_000_000_000).contains(&nanos.value(*i));
            match valid(pair).find(wrong) {
                Some(i) => {
                    Err(format!("{} s and {} ns are outside the years 0000..9999", seconds.value(i), nanos.value(i)))
                }
                None => Ok(()),
            }
        }
        DataType::Array(item) => check(array.as_list::<i32>().values(), item),
        DataType::Map(key, value) => {
            let map = array.as_map();
            if map.keys().null_count() > 0 {
                return Err("a map key is NULL".to_owned());
            }
            check(map.keys(), key)?;
            check(map.values(), value)
        }
        DataType::Struct(fields) => {
            fields.iter().zip(array.as_struct().columns()).try_for_each(|(f, child)| check(child, &f.data_type))
        }
        _ => Ok(()),
    }
}
