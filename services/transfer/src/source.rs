//! Where the rows of a task come from: what is needed to read its files, and the way they go.

use std::sync::Arc;

use mms_delta::{ColumnMapping, ShapeText, TableShape, TimeColumn};
use mms_maxcompute::storage_api::StorageApi;
use mms_maxcompute::tunnel::Tunnel;
use mms_proto::scheduler::v1 as pb;
use mms_proto::types::v1::ColumnMappingMode;
use mms_storage::ObjectStore;

use crate::error::{Result, TransferError};

/// Where rows come from, and the way they go.
pub struct Source {
    /// The store that the table lies in.
    pub store: Arc<dyn ObjectStore>,
    /// The tunnel of the target's project.
    pub tunnel: Tunnel,
    /// The Storage API of it.
    pub storage: StorageApi,
    /// What is needed to read its files.
    pub shape: TableShape,
    /// Columns of timestamps that the log may tell the bounds of.
    pub times: Vec<TimeColumn>,
}

/// How the files of a task's table are read.
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
