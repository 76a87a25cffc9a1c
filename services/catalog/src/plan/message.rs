//! Converts a file of a snapshot to the contract's message. Pure.

use mms_delta::{ColumnStatistics, DeletionVector, DeltaError, FileStatistics, SourceFile};
use mms_proto::types::v1 as types;

use crate::error::{CatalogError, Result};
use crate::scan::facts::count;

/// Fails on a deletion vector of a storage type that the Delta protocol does not define.
pub(super) fn file_to(file: SourceFile) -> Result<types::SourceFile> {
    let value = |(column, value): (String, Option<String>)| types::PartitionValue {
        column,
        is_null: value.is_none(),
        value: value.unwrap_or_default(),
    };
    Ok(types::SourceFile {
        path: file.path,
        size_bytes: count(file.size),
        row_count: file.rows.map(count),
        partition_values: file.partition_values.into_iter().map(value).collect(),
        deletion_vector: file.deletion_vector.map(vector_to).transpose()?,
        statistics: file.statistics.map(statistics_to),
    })
}

fn vector_to(vector: DeletionVector) -> Result<types::DeletionVector> {
    use types::DeletionVectorStorage as Storage;
    let storage = match vector.storage_type.as_str() {
        "u" => Storage::Relative,
        "p" => Storage::Absolute,
        "i" => Storage::Inline,
        other => {
            let what = format!("a deletion vector of storage type {other:?} is in no version of the Delta protocol");
            return Err(CatalogError::Delta(DeltaError::Internal(what)));
        }
    };
    Ok(types::DeletionVector {
        storage: storage as i32,
        path_or_inline: vector.path_or_inline,
        offset: vector.offset,
        size_bytes: vector.size_in_bytes,
        cardinality: count(vector.cardinality),
    })
}

fn statistics_to(told: FileStatistics) -> types::FileStatistics {
    let column = |column: ColumnStatistics| types::ColumnStatistics {
        path: column.path,
        null_count: column.nulls.map(count),
        min_value: column.least.unwrap_or_default(),
        max_value: column.most.unwrap_or_default(),
    };
    types::FileStatistics {
        row_count: told.rows.map(count),
        tight_bounds: told.tight,
        columns: told.columns.into_iter().map(column).collect(),
    }
}
