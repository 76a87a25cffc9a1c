//! Reads the columns that describe a file, under the names that they have in checkpoints and in the kernel's scan rows.

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, Int64Array, MapArray, RecordBatch, StringArray, StructArray};

use super::keys::VectorId;
use crate::{DeletionVector, DeltaError};

pub(super) trait Columns {
    fn named(&self, name: &str) -> Option<&ArrayRef>;
}

impl Columns for RecordBatch {
    fn named(&self, name: &str) -> Option<&ArrayRef> {
        self.column_by_name(name)
    }
}

impl Columns for StructArray {
    fn named(&self, name: &str) -> Option<&ArrayRef> {
        self.column_by_name(name)
    }
}

pub(super) fn column<'a, A: 'static>(columns: &'a dyn Columns, name: &str) -> Result<&'a A, DeltaError> {
    let found = columns.named(name).and_then(|array| array.as_any().downcast_ref());
    found.ok_or_else(|| DeltaError::Internal(format!("the kernel's rows have no column {name} of the known type")))
}

pub(super) struct Rows<'a> {
    path: &'a StringArray,
    size: &'a Int64Array,
    stats: &'a StringArray,
    vector: &'a StructArray,
    storage_type: &'a StringArray,
    path_or_inline: &'a StringArray,
    offset: &'a Int32Array,
    size_in_bytes: &'a Int32Array,
    cardinality: &'a Int64Array,
    partition_values: &'a MapArray,
    keys: &'a StringArray,
    values: &'a StringArray,
}

/// Partition values of a row.
pub(super) type Entry<'a> = Vec<(&'a str, Option<&'a str>)>;

impl<'a> Rows<'a> {
    /// Rows of these columns; the partition values are among `constants`.
    pub(super) fn of(columns: &'a dyn Columns, constants: &'a dyn Columns) -> Result<Self, DeltaError> {
        let vector: &StructArray = column(columns, "deletionVector")?;
        let partition_values: &MapArray = column(constants, "partitionValues")?;
        let (keys, values) = match partition_values.entries().columns() {
            [keys, values] => (keys.as_string_opt::<i32>(), values.as_string_opt::<i32>()),
            _ => (None, None),
        };
        let (Some(keys), Some(values)) = (keys, values) else {
            return Err(DeltaError::Internal("the kernel's partition values are not a map of texts".into()));
        };
        Ok(Self {
            path: column(columns, "path")?,
            size: column(columns, "size")?,
            stats: column(columns, "stats")?,
            vector,
            storage_type: column(vector, "storageType")?,
            path_or_inline: column(vector, "pathOrInlineDv")?,
            offset: column(vector, "offset")?,
            size_in_bytes: column(vector, "sizeInBytes")?,
            cardinality: column(vector, "cardinality")?,
            partition_values,
            keys,
            values,
        })
    }

    pub(super) fn path(&self, row: usize) -> Option<&'a str> {
        self.path.is_valid(row).then(|| self.path.value(row))
    }

    pub(super) fn size(&self, row: usize) -> Option<i64> {
        self.size.is_valid(row).then(|| self.size.value(row))
    }

    pub(super) fn stats(&self, row: usize) -> Option<&'a str> {
        self.stats.is_valid(row).then(|| self.stats.value(row))
    }

    /// The partition values of a row; None if the map is NULL, which is not the same as empty.
    pub(super) fn partition_values(&self, row: usize) -> Option<Entry<'a>> {
        if self.partition_values.is_null(row) {
            return None;
        }
        let offsets = self.partition_values.value_offsets();
        let (begin, end) = (offsets.get(row).copied()?, offsets.get(row + 1).copied()?);
        let value = |at: usize| (self.keys.value(at), self.values.is_valid(at).then(|| self.values.value(at)));
        Some((usize::try_from(begin).ok()?..usize::try_from(end).ok()?).map(value).collect())
    }

    /// The deletion vector of a row, if any. `Err` holds the cardinality if it is negative.
    pub(super) fn deletion_vector(&self, row: usize) -> Result<Option<DeletionVector>, i64> {
        if self.vector.is_null(row) || self.storage_type.is_null(row) {
            return Ok(None);
        }
        let cardinality = self.cardinality.value(row);
        Ok(Some(DeletionVector {
            storage_type: self.storage_type.value(row).to_owned(),
            path_or_inline: self.path_or_inline.value(row).to_owned(),
            offset: self.offset.is_valid(row).then(|| self.offset.value(row)),
            size_in_bytes: self.size_in_bytes.value(row),
            cardinality: u64::try_from(cardinality).map_err(|_| cardinality)?,
        }))
    }
}

impl DeletionVector {
    pub(super) fn id(&self) -> VectorId<'_> {
        (&self.storage_type, &self.path_or_inline, self.offset)
    }
}
