//! The deleted rows of a data file, read from its deletion vector.

use std::ops::Range;

use arrow::array::BooleanArray;
use delta_kernel::actions::deletion_vector::DeletionVectorDescriptor;
use delta_kernel::{Engine, KernelError};
use roaring::RoaringTreemap;

use crate::error::kernel_text;
use crate::place::decoded;
use crate::{DeletionVector, DeltaError, SourceFile, TableShape};

pub(crate) struct Deleted {
    rows: RoaringTreemap,
}

impl Deleted {
    /// Reads the vector, and checks that it lies under the root and has as many rows as the log says.
    pub(crate) fn read(
        engine: &dyn Engine,
        shape: &TableShape,
        vector: &DeletionVector,
        file: &SourceFile,
    ) -> Result<Self, DeltaError> {
        let invalid = |e: KernelError| DeltaError::InvalidLog {
            root: shape.shown_root(),
            reason: format!("the deletion vector of {} cannot be read: {}", decoded(&file.path), kernel_text(&e)),
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
                Some(store) => DeltaError::of_store(store, shape.shown_file(&file.path)),
                None => invalid(other),
            },
        })?;
        if rows.len() != vector.cardinality {
            return Err(DeltaError::RowCount {
                path: shape.shown_file(&file.path),
                what: "deleted rows",
                expected: vector.cardinality,
                found: rows.len(),
            });
        }
        Ok(Self { rows })
    }

    /// Which rows of this range are not deleted; None if none is deleted.
    pub(crate) fn kept(&self, range: Range<u64>) -> Option<BooleanArray> {
        let some = self.within(range.clone()) > 0;
        some.then(|| range.map(|row| Some(!self.rows.contains(row))).collect())
    }

    /// Number of deleted rows in this range.
    pub(crate) fn within(&self, range: Range<u64>) -> u64 {
        self.rows.range_cardinality(range)
    }

    /// The last deleted row, which must be one of the file's rows.
    pub(crate) fn last(&self) -> Option<u64> {
        self.rows.max()
    }
}
