//! One batch of the source as one batch of the target: the planned columns in the target's order, with the tunnel's
//! types. Pure. A value that the target's type cannot hold exactly is an error, never a NULL and never another value.

use arrow::array::RecordBatch;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::SchemaRef;
use mms_proto::types::v1::{ColumnMapping, ColumnRole};

use crate::error::{Result, TransferError};

/// Turns batches of one task's source into batches of its target.
pub struct Shaper {
    /// Source column of each target column.
    columns: Vec<String>,
    target: SchemaRef,
}

const EXACT: CastOptions<'static> =
    CastOptions { safe: false, format_options: arrow::util::display::FormatOptions::new() };

impl Shaper {
    /// A shaper by the plan's columns towards the schema of an upload session.
    ///
    /// # Errors
    /// When the session's columns are not those of the plan.
    pub fn new(mapping: &[ColumnMapping], target: SchemaRef) -> Result<Self> {
        let data: Vec<&ColumnMapping> = mapping.iter().filter(|column| column.role() == ColumnRole::Data).collect();
        let same = data.len() == target.fields().len()
            && data.iter().zip(target.fields()).all(|(c, field)| c.target_column.eq_ignore_ascii_case(field.name()));
        if !same {
            let found: Vec<&str> = target.fields().iter().map(|field| field.name().as_str()).collect();
            return Err(TransferError::Plan(format!(
                "the target's columns are {found:?}, which is not what was planned"
            )));
        }
        Ok(Self { columns: data.iter().map(|column| column.source_column.clone()).collect(), target })
    }

    /// The target's batch.
    pub fn shape(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let mut arrays = Vec::with_capacity(self.columns.len());
        for (column, field) in self.columns.iter().zip(self.target.fields()) {
            let value = |why: String| TransferError::Value { column: column.clone(), why };
            let source =
                batch.column_by_name(column).ok_or_else(|| value("the source files do not have it".to_owned()))?;
            let array =
                cast_with_options(source, field.data_type(), &EXACT).map_err(|error| value(error.to_string()))?;
            if array.null_count() != source.null_count() {
                return Err(value(format!("a value cannot be carried exactly as {}", field.data_type())));
            }
            arrays.push(array);
        }
        if arrays.is_empty() {
            return Err(TransferError::Plan("the target has no ordinary column".to_owned()));
        }
        RecordBatch::try_new(self.target.clone(), arrays)
            .map_err(|error| TransferError::Value { column: "(all)".to_owned(), why: error.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, TimestampMicrosecondArray, TimestampNanosecondArray};
    use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
    use proptest::prelude::*;

    use super::*;

    fn column(source: &str, target: &str, role: ColumnRole) -> ColumnMapping {
        ColumnMapping {
            source_column: source.into(),
            target_column: target.into(),
            role: role as i32,
            ..ColumnMapping::default()
        }
    }

    fn shaper() -> Shaper {
        let fields = vec![
            Field::new("b_", DataType::Timestamp(TimeUnit::Nanosecond, None), true),
            Field::new("a", DataType::Int64, true),
        ];
        let mapping = [
            column("b-", "b_", ColumnRole::Data),
            column("a", "a", ColumnRole::Data),
            column("p", "p", ColumnRole::Partition),
        ];
        Shaper::new(&mapping, Arc::new(Schema::new(fields))).expect("as planned")
    }

    fn source(a: Vec<Option<i64>>, b: Vec<Option<i64>>) -> RecordBatch {
        let a: ArrayRef = Arc::new(Int64Array::from(a));
        let b: ArrayRef = Arc::new(TimestampMicrosecondArray::from(b).with_timezone("UTC"));
        let p: ArrayRef = Arc::new(Int64Array::from(vec![7; a.len()]));
        RecordBatch::try_from_iter([("a", a), ("p", p), ("b-", b)]).expect("one length")
    }

    proptest! {
        #[test]
        fn instants_are_carried_exactly_or_refused(micros in proptest::option::of(any::<i64>())) {
            let shaped = shaper().shape(&source(vec![Some(1)], vec![micros]));
            let fits = micros.is_none_or(|us| us.checked_mul(1000).is_some());
            prop_assert_eq!(shaped.is_ok(), fits);
            if let Ok(shaped) = shaped {
                let nanos = shaped.column(0).as_any().downcast_ref::<TimestampNanosecondArray>().expect("its type");
                prop_assert_eq!(nanos.iter().next().flatten(), micros.map(|us| us * 1000));
                prop_assert_eq!(shaped.num_columns(), 2);
            }
        }
    }

    #[test]
    fn other_columns_than_planned_are_refused() {
        let schema = Arc::new(Schema::new(vec![Field::new("x", DataType::Int64, true)]));
        assert!(Shaper::new(&[column("a", "a", ColumnRole::Data)], schema).is_err());
    }
}
