//! Partition values as columns. Their texts in the log are read by the same rule as in the plan.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, StringArray, UInt32Array, new_null_array};
use arrow::compute::{CastOptions, cast_with_options, take};
use arrow::datatypes::{DataType as ArrowType, Field};
use delta_kernel::schema::DataType;
use mms_mapping::{SparkType, canonical_text};

use crate::{DeltaError, SourceFile, TableShape};

/// The partition columns of one file, each with its only value.
pub(crate) struct Constants(Vec<(String, ArrayRef)>);

impl Constants {
    /// Reads the values of a file's partition.
    pub(crate) fn of(shape: &TableShape, file: &SourceFile) -> Result<Self, DeltaError> {
        let columns = shape.partition_columns().iter().map(|column| {
            let refuse = |reason: String| DeltaError::Column {
                file: shape.shown_file(&file.path),
                column: column.clone(),
                row: None,
                reason,
            };
            let told = file.partition_values.iter().find(|(name, _)| name == column);
            let (_, text) = told.ok_or_else(|| refuse("the log names no value of this partition column".to_owned()))?;
            let field = shape.arrow_schema().field_with_name(column).map_err(|e| refuse(e.to_string()))?;
            let data_type = shape.schema().field(column.as_str()).map(|field| field.data_type());
            let value = match (text, data_type) {
                (None, _) => new_null_array(field.data_type(), 1),
                (Some(text), Some(data_type)) => constant(text, data_type, field).map_err(refuse)?,
                (Some(_), None) => return Err(refuse("it is not in the schema".to_owned())),
            };
            Ok((column.clone(), value))
        });
        columns.collect::<Result<_, _>>().map(Self)
    }

    /// The column's value, repeated for each row; None if it is not a partition column.
    pub(crate) fn column(&self, name: &str, rows: usize) -> Result<Option<ArrayRef>, DeltaError> {
        let Some((_, value)) = self.0.iter().find(|(column, _)| column == name) else { return Ok(None) };
        let same = UInt32Array::from(vec![0; rows]);
        take(value, &same, None).map(Some).map_err(|e| DeltaError::Internal(e.to_string()))
    }
}

/// An array of one value, read from its text.
fn constant(text: &str, data_type: &DataType, field: &Field) -> Result<ArrayRef, String> {
    let wanted = field.data_type();
    match wanted {
        ArrowType::Utf8 => return Ok(Arc::new(StringArray::from(vec![text]))),
        ArrowType::Binary => return Ok(Arc::new(BinaryArray::from(vec![text.as_bytes()]))),
        _ => {}
    }
    let not =
        |why: String| format!("its partition value {text:?} is no {}: {why}", crate::error::shown_type(data_type));
    let kind: SparkType = crate::error::shown_type(data_type).parse().map_err(|_| not("unknown type".to_owned()))?;
    let canonical = canonical_text(&kind, text).map_err(|problem| not(problem.to_string()))?;
    let one: ArrayRef = Arc::new(StringArray::from(vec![canonical]));
    let exact = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(&one, wanted, &exact).map_err(|e| not(e.to_string()))
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::{Decimal128Type, Float64Type, TimeUnit, TimestampMicrosecondType};

    use super::*;

    fn value(text: &str, data_type: DataType, arrow: ArrowType) -> Result<ArrayRef, String> {
        constant(text, &data_type, &Field::new("p", arrow, true))
    }

    #[test]
    fn short_spellings_are_the_same_value() {
        let decimal = || DataType::decimal(10, 2).expect("a type");
        for text in ["1", "1.0", "1.00", "100E-2"] {
            let found = value(text, decimal(), ArrowType::Decimal128(10, 2)).expect(text);
            assert_eq!(found.as_primitive::<Decimal128Type>().value(0), 100, "{text}");
        }
        let big = value("1E+1", decimal(), ArrowType::Decimal128(10, 2)).expect("ten");
        assert_eq!(big.as_primitive::<Decimal128Type>().value(0), 1_000);
        for text in ["true", "TRUE", "True"] {
            assert!(value(text, DataType::BOOLEAN, ArrowType::Boolean).expect(text).as_boolean().value(0));
        }
        let infinite = value("-Infinity", DataType::DOUBLE, ArrowType::Float64).expect("a double");
        assert_eq!(infinite.as_primitive::<Float64Type>().value(0), f64::NEG_INFINITY);
        let utc = ArrowType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        for text in ["2021-09-08 11:11:11", "2021-09-08T11:11:11Z", "2021-09-08 13:11:11+02:00"] {
            let found = value(text, DataType::TIMESTAMP, utc.clone()).expect(text);
            assert_eq!(found.as_primitive::<TimestampMicrosecondType>().value(0), 1_631_099_471_000_000, "{text}");
        }
        let early = value("0001-01-01 00:00:00.000001", DataType::TIMESTAMP, utc).expect("year 1");
        assert_eq!(early.as_primitive::<TimestampMicrosecondType>().value(0), -62_135_596_799_999_999);
    }

    #[test]
    fn what_is_not_of_the_type_is_refused_by_value() {
        let why = value("03/22/2023", DataType::DATE, ArrowType::Date32).expect_err("no date");
        assert!(why.contains("03/22/2023") && why.contains("DATE"), "{why}");
        assert!(value("128", DataType::BYTE, ArrowType::Int8).is_err());
        assert!(value("1.001", DataType::decimal(10, 2).expect("a type"), ArrowType::Decimal128(10, 2)).is_err());
    }

    #[test]
    fn texts_stay_as_they_are() {
        let empty = value("", DataType::STRING, ArrowType::Utf8).expect("a text");
        assert_eq!((empty.len(), empty.as_string::<i32>().value(0)), (1, ""));
    }
}
