//! Partition values as text in the log and as the folder names that Spark makes of them. Pure.

use std::fmt::Write as _;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType,
};
use arrow::temporal_conversions::{date32_to_datetime, timestamp_us_to_datetime};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::SampleError;

/// The folder name for NULL.
const NULL_FOLDER: &str = "__HIVE_DEFAULT_PARTITION__";

/// The characters that Hive escapes in folder names.
const FOLDER: &AsciiSet = &CONTROLS
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'\'')
    .add(b'*')
    .add(b'/')
    .add(b':')
    .add(b'=')
    .add(b'?')
    .add(b'\\')
    .add(b'{')
    .add(b'[')
    .add(b']')
    .add(b'^');

/// The characters that are escaped in the paths of the log, which are URIs.
const URI: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}')
    .add(b'\\');

/// The text of a partition value in the log; `None` for NULL.
pub(crate) fn text(column: &str, array: &ArrayRef, row: usize) -> Result<Option<String>, SampleError> {
    if array.is_null(row) {
        return Ok(None);
    }
    Ok(Some(match array.data_type() {
        DataType::Boolean => array.as_boolean().value(row).to_string(),
        DataType::Int8 => array.as_primitive::<Int8Type>().value(row).to_string(),
        DataType::Int16 => array.as_primitive::<Int16Type>().value(row).to_string(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(row).to_string(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::Float32 => format!("{:?}", array.as_primitive::<Float32Type>().value(row)),
        DataType::Float64 => format!("{:?}", array.as_primitive::<Float64Type>().value(row)),
        DataType::Decimal128(_, _) => array.as_primitive::<Decimal128Type>().value_as_string(row),
        DataType::Date32 => {
            let days = array.as_primitive::<Date32Type>().value(row);
            date32_to_datetime(days).map(|d| d.format("%Y-%m-%d").to_string()).unwrap_or_default()
        }
        DataType::Timestamp(_, _) => {
            let micros = array.as_primitive::<TimestampMicrosecondType>().value(row);
            let format = if micros % 1_000_000 == 0 { "%Y-%m-%d %H:%M:%S" } else { "%Y-%m-%d %H:%M:%S%.6f" };
            timestamp_us_to_datetime(micros).map(|t| t.format(format).to_string()).unwrap_or_default()
        }
        DataType::Utf8 => array.as_string::<i32>().value(row).to_owned(),
        other => {
            return Err(SampleError::Type { column: column.to_owned(), data_type: other.to_string() });
        }
    }))
}

/// The folder of a partition, ending in `/`; empty without partition columns.
pub(crate) fn folder<'a>(values: impl Iterator<Item = (&'a str, Option<&'a str>)>) -> String {
    let mut path = String::new();
    for (column, value) in values {
        let column = utf8_percent_encode(column, FOLDER);
        // Writing to a String does not fail.
        let _written = match value {
            Some(value) => write!(path, "{column}={}/", utf8_percent_encode(value, FOLDER)),
            None => write!(path, "{column}={NULL_FOLDER}/"),
        };
    }
    path
}

/// The path of a file as the log has it.
pub(crate) fn log_path(path: &str) -> String {
    utf8_percent_encode(path, URI).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_escaped_twice_on_their_way_to_the_log() {
        let path = folder([("a b", Some("x/y=1")), ("n", None), ("u", Some("ü%"))].into_iter());
        // Non-ASCII text is escaped as its UTF-8 bytes, like everything Hive escapes.
        assert_eq!(path, "a b=x%2Fy%3D1/n=__HIVE_DEFAULT_PARTITION__/u=%C3%BC%25/");
        assert_eq!(log_path(&path), "a%20b=x%252Fy%253D1/n=__HIVE_DEFAULT_PARTITION__/u=%25C3%25BC%2525/");
    }
}
