//! From the physical batches of one file to logical ones: partition values become columns, physical names logical ones,
//! deleted rows leave.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use delta_kernel::actions::deletion_vector::DeletionVectorDescriptor;
use delta_kernel::engine::arrow_data::EngineDataArrowExt;
use delta_kernel::expressions::{Expression, ExpressionStructPatchBuilder, Scalar};
use delta_kernel::schema::{DataType, PrimitiveType, SchemaRef, StructType};
use delta_kernel::{Engine, EngineData, ExpressionEvaluator, KernelError};
use roaring::RoaringTreemap;

use crate::{DeletionVector, DeltaError, SourceFile, TableShape};

/// The columns that are read from data files, by their physical names.
pub(crate) fn physical_schema(shape: &TableShape) -> Result<SchemaRef, DeltaError> {
    let stored = shape.fields().filter(|(logical, _)| !shape.is_partition_column(logical.name()));
    let schema = StructType::try_new(stored.map(|(_, physical)| physical.clone()));
    Ok(Arc::new(schema.map_err(|e| DeltaError::InvalidShape(e.to_string()))?))
}

/// Makes logical batches of the physical batches of one file.
pub(crate) struct Logical {
    evaluator: Arc<dyn ExpressionEvaluator>,
    shape: TableShape,
}

impl Logical {
    pub(crate) fn of(
        engine: &dyn Engine,
        shape: &TableShape,
        physical: &SchemaRef,
        file: &SourceFile,
    ) -> Result<Self, DeltaError> {
        let internal = |e: KernelError| DeltaError::Internal(e.to_string());
        let mut patch = ExpressionStructPatchBuilder::new();
        let mut last_stored = None;
        for (logical, stored) in shape.fields() {
            if !shape.is_partition_column(logical.name()) {
                last_stored = Some(stored.name().clone());
                continue;
            }
            let value = Arc::new(Expression::from(partition_scalar(shape, file, logical.name(), logical.data_type())?));
            patch = match &last_stored {
                Some(name) => patch.insert_after(name, value),
                None => patch.prepend(value),
            };
        }
        let expression = Arc::new(Expression::struct_patch(patch).map_err(internal)?);
        let evaluator = engine
            .evaluation_handler()
            .new_expression_evaluator(physical.clone(), expression, shape.output().clone().into())
            .map_err(internal)?;
        Ok(Self { evaluator, shape: shape.clone() })
    }

    pub(crate) fn batch(&self, physical: &dyn EngineData, file: &SourceFile) -> Result<RecordBatch, DeltaError> {
        let unreadable = |reason: String| DeltaError::UnreadableFile { path: file.path.clone(), reason };
        let logical = self.evaluator.evaluate(physical).map_err(|e| unreadable(e.to_string()))?;
        let batch = logical.try_into_record_batch().map_err(|e| DeltaError::Internal(e.to_string()))?;
        RecordBatch::try_new(self.shape.arrow_schema().clone(), batch.columns().to_vec())
            .map_err(|e| unreadable(format!("its rows do not fit the table's schema: {e}")))
    }
}

fn partition_scalar(
    shape: &TableShape,
    file: &SourceFile,
    column: &str,
    data_type: &DataType,
) -> Result<Scalar, DeltaError> {
    let invalid = |reason: String| DeltaError::InvalidLog { root: shape.root().to_string(), reason };
    let Some((_, raw)) = file.partition_values.iter().find(|(name, _)| name == column) else {
        return Err(invalid(format!("{:?} has no value for partition column {column:?}", file.path)));
    };
    let DataType::Primitive(primitive) = data_type else {
        return Err(invalid(format!("partition column {column:?} has type {data_type}")));
    };
    match (raw.as_deref(), primitive) {
        (None, _) => Ok(Scalar::Null(data_type.clone())),
        (Some(""), PrimitiveType::String) => Ok(Scalar::String(String::new())),
        (Some(""), PrimitiveType::Binary) => Ok(Scalar::Binary(Vec::new())),
        (Some(text), primitive) => primitive
            .parse_scalar(text)
            .map_err(|e| invalid(format!("{:?}: partition column {column:?}: {e}", file.path))),
    }
}

/// The deleted rows of one file.
pub(crate) struct Deleted {
    rows: RoaringTreemap,
}

impl Deleted {
    /// Reads the vector, checking that it lies under the root and has as many rows as the log says.
    pub(crate) fn read(
        engine: &dyn Engine,
        shape: &TableShape,
        vector: &DeletionVector,
        file: &SourceFile,
    ) -> Result<Self, DeltaError> {
        let invalid = |e: KernelError| DeltaError::InvalidLog {
            root: shape.root().to_string(),
            reason: format!("deletion vector of {:?}: {e}", file.path),
        };
        let cardinality = i64::try_from(vector.cardinality).unwrap_or(i64::MAX);
        let descriptor = DeletionVectorDescriptor::try_new(
            vector.storage_type.parse().map_err(invalid)?,
            vector.path_or_inline.clone(),
            vector.offset,
            vector.size_in_bytes,
            cardinality,
        )
        .map_err(invalid)?;
        if let Some(url) = descriptor.absolute_path(shape.root()).map_err(invalid)? {
            shape.locate(url.as_str())?;
        }
        let rows = descriptor.read(engine.storage_handler(), shape.root()).map_err(|e| match e {
            KernelError::FileNotFound(path) => {
                DeltaError::SourceChanged { path, reason: "its deletion vector is no longer there".into() }
            }
            other => match crate::error::store_error(&other) {
                Some(store) => DeltaError::of_store(store, file.path.clone()),
                None => invalid(other),
            },
        })?;
        if rows.len() != vector.cardinality {
            return Err(DeltaError::RowCount {
                path: file.path.clone(),
                what: "deleted rows",
                expected: vector.cardinality,
                found: rows.len(),
            });
        }
        Ok(Self { rows })
    }

    /// Which rows of this range are left; none if all are.
    pub(crate) fn kept(&self, range: Range<u64>) -> Option<BooleanArray> {
        let some = self.within(range.clone()) > 0;
        some.then(|| range.map(|row| Some(!self.rows.contains(row))).collect())
    }

    /// How many rows of this range are deleted.
    pub(crate) fn within(&self, range: Range<u64>) -> u64 {
        self.rows.range_cardinality(range)
    }

    /// The highest deleted row, to be compared with the rows there are.
    pub(crate) fn last(&self) -> Option<u64> {
        self.rows.max()
    }
}
