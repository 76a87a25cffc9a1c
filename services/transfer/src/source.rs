//! The source of a task's rows: what is needed to read its files, and the clients of both ways to the target.

use std::sync::Arc;

use mms_delta::{ColumnMapping, ShapeText, TableShape, TimeColumn};
use mms_maxcompute::storage_api::StorageApi;
use mms_maxcompute::tunnel::Tunnel;
use mms_proto::scheduler::v1 as pb;
use mms_proto::types::v1::ColumnMappingMode;
use mms_storage::ObjectStore;

use crate::error::{Result, TransferError};

pub struct Source {
    pub store: Arc<dyn ObjectStore>,
    /// Client of the tunnel of the target's project.
    pub tunnel: Tunnel,
    /// Client of the Storage API of the same project.
    pub storage: StorageApi,
    /// Schema, partition columns and column mapping of the table: with these its files are read without its log.
    pub shape: TableShape,
    /// Timestamp columns for which the log may record bounds.
    pub times: Vec<TimeColumn>,
}

/// Parses from a task how its table's files are read.
pub fn shape(spec: &pb::TaskSpec) -> Result<TableShape> {
    let Some(pb::task_spec::Format::Delta(delta)) = &spec.format else {
        return Err(TransferError::Plan(
            "the task says no format of the table's files that this worker knows".to_owned(),
        ));
    };
    let column_mapping = match delta.column_mapping() {
        ColumnMappingMode::None => ColumnMapping::None,
        ColumnMappingMode::Name => ColumnMapping::Name,
        ColumnMappingMode::Id => ColumnMapping::Id,
        ColumnMappingMode::Unspecified => {
            return Err(TransferError::Plan("the task does not say how columns of files are found".to_owned()));
        }
    };
    let text = ShapeText {
        root: spec.location.clone(),
        column_mapping,
        partition_columns: delta.partition_columns.clone(),
        schema: delta.schema_json.clone(),
    };
    Ok(TableShape::read(text)?)
}
