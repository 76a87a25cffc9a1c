//! Opens what a task needs to read its rows, from the table's files or by SQL as planned, and the clients of both ways to the
//! target: the tunnel and the Storage API.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use mms_delta::{ColumnMapping, ShapeText, TableShape, TimeColumn};
use mms_maxcompute::storage_api::StorageApi;
use mms_maxcompute::tunnel::Tunnel;
use mms_proto::scheduler::v1 as pb;
use mms_proto::types::v1::{ColumnMappingMode, ReadPath};

use crate::context::Run;
use crate::ends::{Ends, Place, Reading, Sessions, Sql};
use crate::error::{Result, TransferError};
use crate::query::Query;

pub struct Source {
    pub origin: Origin,
    /// Client of the tunnel of the target's project.
    pub tunnel: Tunnel,
    /// Client of the Storage API of the same project.
    pub storage: StorageApi,
    /// Schema, partition columns and column mapping of the table: with these its files are read without its log.
    pub shape: TableShape,
    /// Timestamp columns for which the log may record bounds.
    pub times: Vec<TimeColumn>,
}

/// The read path of a task, opened.
pub enum Origin {
    /// From the table's files.
    Files(Reading),
    /// By SQL.
    Sql(Box<Query>),
}

impl Origin {
    /// Opens the read path that the task was planned with.
    pub async fn open(run: &Run, (sessions, ends): (&Arc<Sessions>, &Arc<Ends>), shape: &TableShape) -> Result<Self> {
        match run.spec.read_path() {
            ReadPath::Unspecified | ReadPath::Storage => {
                let place = Place {
                    source: run.spec.data_source.clone(),
                    table: run.spec.table.clone(),
                    location: run.spec.location.clone(),
                    allow_local: run.settings.allow_local_files,
                };
                Ok(Self::Files(sessions.read(ends, place).await?))
            }
            ReadPath::Jdbc => {
                let sql = sql(&run.spec.data_source, sessions, ends).await?;
                Ok(Self::Sql(Box::new(Query::open(&run.spec, sql, shape).await?)))
            }
        }
    }

    /// Describes the read path, for the task's log.
    pub fn told(&self) -> String {
        match self {
            Self::Files(reading) => format!("from storage with {}", reading.credential),
            Self::Sql(query) => query.told().to_owned(),
        }
    }

    /// How often a credential was renewed so far, for the task's log.
    pub fn renewals(&self) -> Option<String> {
        let Self::Files(reading) = self else { return None };
        let renewed = reading.renewed.load(Ordering::Relaxed);
        (renewed > 0).then(|| format!("the credential of the storage was renewed {renewed} times meanwhile"))
    }
}

/// Where the statements of a data source run. A registry session that is older than the plan may not know this yet; it is then
/// replaced by a new one.
async fn sql(source: &str, sessions: &Arc<Sessions>, ends: &Arc<Ends>) -> Result<Sql> {
    if let Some(sql) = ends.sql() {
        return Ok(sql.clone());
    }
    sessions.forget(source, ends).await;
    let fresh = sessions.ends(source).await?;
    let changed = || TransferError::NotBySql("the data source does not have read path JDBC any more".to_owned());
    fresh.sql().cloned().ok_or_else(changed)
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
