//! The Arrow types of a table's columns on the tunnel (and, with another unit of timestamps, on the Storage API), and the check
//! that a batch has them. Names of list items and map entries, and time zones, are not transmitted in a block, so they are not
//! compared.

use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{DataType as ArrowType, Field, Fields, Schema, TimeUnit};

use crate::error::MaxComputeError;
use crate::table::Column;
use crate::types::DataType;

/// The schema that batches for these columns must have on the tunnel.
#[must_use]
pub fn arrow_schema(columns: &[Column]) -> Schema {
    schema_with(columns, TimeUnit::Nanosecond)
}

/// The same schema with timestamps of this unit.
pub(crate) fn schema_with(columns: &[Column], unit: TimeUnit) -> Schema {
    let field = |column: &Column| Field::new(column.name.as_str(), type_with(&column.data_type, unit), column.nullable);
    Schema::new(columns.iter().map(field).collect::<Fields>())
}

/// The Arrow type of a column type on the tunnel.
#[must_use]
pub fn arrow_type(data_type: &DataType) -> ArrowType {
    type_with(data_type, TimeUnit::Nanosecond)
}

fn type_with(data_type: &DataType, unit: TimeUnit) -> ArrowType {
    let inner = |data_type: &DataType| type_with(data_type, unit);
    match data_type {
        DataType::TinyInt => ArrowType::Int8,
        DataType::SmallInt => ArrowType::Int16,
        DataType::Int => ArrowType::Int32,
        DataType::BigInt => ArrowType::Int64,
        DataType::Float => ArrowType::Float32,
        DataType::Double => ArrowType::Float64,
        DataType::Boolean => ArrowType::Boolean,
        // The text form allows larger scales than Arrow's signed byte; [`crate::limits`] rejects them before a table is created.
        DataType::Decimal { precision, scale } => {
            ArrowType::Decimal128(*precision, i8::try_from(*scale).unwrap_or(i8::MAX))
        }
        DataType::String | DataType::Varchar(_) | DataType::Char(_) | DataType::Json => ArrowType::Utf8,
        DataType::Binary => ArrowType::Binary,
        DataType::Date => ArrowType::Date32,
        DataType::Datetime => ArrowType::Timestamp(TimeUnit::Millisecond, None),
        DataType::Timestamp | DataType::TimestampNtz => ArrowType::Timestamp(unit, None),
        DataType::Array(item) => ArrowType::List(Arc::new(Field::new_list_field(inner(item), true))),
        DataType::Map(key, value) => {
            let entry = vec![Field::new("key", inner(key), false), Field::new("value", inner(value), true)];
            ArrowType::Map(Arc::new(Field::new("entries", ArrowType::Struct(entry.into()), false)), false)
        }
        DataType::Struct(fields) => ArrowType::Struct(
            fields.iter().map(|field| Field::new(&field.name, inner(&field.data_type), true)).collect(),
        ),
    }
}

/// The first place where a batch does not fit the table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what the fields are")]
pub enum BatchMismatch {
    #[error("the batch has {found} columns, the table {expected}")]
    Count { expected: usize, found: usize },
    #[error("column {at} is `{found}`, the table has `{expected}` there")]
    Name { at: usize, expected: String, found: String },
    #[error("column `{column}` is {found}, the tunnel needs {expected}")]
    Type { column: String, expected: String, found: String },
    #[error("column `{column}` is NOT NULL, the batch has {nulls} NULLs in it")]
    Null { column: String, nulls: usize },
}

impl From<BatchMismatch> for MaxComputeError {
    fn from(mismatch: BatchMismatch) -> Self {
        Self::Batch(mismatch.to_string())
    }
}

/// Checks that a batch has the columns of `schema`, in order, with its types, and no NULL where none is allowed.
///
/// # Errors
/// The first column that does not fit.
pub fn check_batch(schema: &Schema, batch: &RecordBatch) -> Result<(), BatchMismatch> {
    let (expected, found) = (schema.fields().len(), batch.num_columns());
    if expected != found {
        return Err(BatchMismatch::Count { expected, found });
    }
    for (at, (expected, found)) in schema.fields().iter().zip(batch.schema_ref().fields()).enumerate() {
        if !expected.name().eq_ignore_ascii_case(found.name()) {
            let (expected, found) = (expected.name().clone(), found.name().clone());
            return Err(BatchMismatch::Name { at, expected, found });
        }
        if !same_on_the_wire(expected.data_type(), found.data_type()) {
            return Err(BatchMismatch::Type {
                column: expected.name().clone(),
                expected: expected.data_type().to_string(),
                found: found.data_type().to_string(),
            });
        }
        let nulls = batch.column(at).null_count();
        if !expected.is_nullable() && nulls > 0 {
            return Err(BatchMismatch::Null { column: expected.name().clone(), nulls });
        }
    }
    Ok(())
}

fn same_on_the_wire(expected: &ArrowType, found: &ArrowType) -> bool {
    let field = |a: &Field, b: &Field| same_on_the_wire(a.data_type(), b.data_type());
    match (expected, found) {
        (ArrowType::Timestamp(a, _), ArrowType::Timestamp(b, _)) => a == b,
        (ArrowType::List(a), ArrowType::List(b)) | (ArrowType::Map(a, _), ArrowType::Map(b, _)) => field(a, b),
        (ArrowType::Struct(a), ArrowType::Struct(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| field(a, b)),
        (a, b) => a == b,
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringArray, TimestampNanosecondArray};

    use super::*;
    use crate::name::ColumnName;

    fn column(name: &str, data_type: &str, nullable: bool) -> Column {
        let data_type = data_type.parse().unwrap();
        Column { name: ColumnName::new(name).unwrap(), data_type, nullable, comment: None }
    }

    #[test]
    fn every_type_has_its_carrier() {
        for (text, carrier) in [
            ("tinyint", "Int8"),
            ("bigint", "Int64"),
            ("float", "Float32"),
            ("boolean", "Boolean"),
            ("decimal(10,2)", "Decimal128(10, 2)"),
            ("varchar(5)", "Utf8"),
            ("json", "Utf8"),
            ("binary", "Binary"),
            ("date", "Date32"),
            ("datetime", "Timestamp(ms)"),
            ("timestamp", "Timestamp(ns)"),
            ("timestamp_ntz", "Timestamp(ns)"),
            ("array<int>", "List(Int32)"),
        ] {
            assert_eq!(arrow_type(&text.parse().unwrap()).to_string(), carrier, "{text}");
        }
        let ArrowType::Map(entries, false) = arrow_type(&"map<string,struct<a:int>>".parse().unwrap()) else {
            panic!("a map")
        };
        let ArrowType::Struct(fields) = entries.data_type() else { panic!("entries") };
        assert!(!fields[0].is_nullable() && fields[1].is_nullable());
    }

    #[test]
    fn a_batch_must_have_the_columns_in_order() {
        let schema = arrow_schema(&[column("id", "bigint", false), column("at", "timestamp", true)]);
        let ids = || Arc::new(Int64Array::from(vec![Some(1), None])) as Arc<dyn Array>;
        let times = || Arc::new(TimestampNanosecondArray::from(vec![1, 2]).with_timezone("UTC")) as Arc<dyn Array>;
        let good = || Arc::new(Int64Array::from(vec![1, 2])) as Arc<dyn Array>;
        let check =
            |columns: Vec<(&str, Arc<dyn Array>)>| check_batch(&schema, &RecordBatch::try_from_iter(columns).unwrap());
        assert_eq!(check(vec![("ID", good()), ("at", times())]), Ok(()));
        assert_eq!(check(vec![("id", good())]), Err(BatchMismatch::Count { expected: 2, found: 1 }));
        assert!(matches!(check(vec![("at", times()), ("id", good())]), Err(BatchMismatch::Name { at: 0, .. })));
        assert!(matches!(check(vec![("id", ids()), ("at", times())]), Err(BatchMismatch::Null { nulls: 1, .. })));
        let text = Arc::new(StringArray::from(vec!["a", "b"])) as Arc<dyn Array>;
        assert!(matches!(check(vec![("id", good()), ("at", text)]), Err(BatchMismatch::Type { .. })));
    }
}
