//! Which parts of a target an update changes.

use mms_proto::ApiError;
use mms_proto::catalog::v1 as pb;
use mms_proto::name::TableName;
use tonic::Status;

use super::{Api, check, name};
use crate::convert;
use crate::key;
use crate::store::TableKey;
use crate::target::{self, Change};

/// An update of a table, taken apart.
pub(super) struct TableUpdate {
    key: TableKey,
    etag: String,
    changes: Vec<Change>,
}

fn unknown(path: &str, known: &str) -> ApiError {
    ApiError::invalid_field("update_mask", format!("names {path:?}; what can be changed is {known}"))
}

pub(super) fn of_schema(request: &pb::UpdateSchemaRequest) -> Result<Vec<Change>, Status> {
    let schema = request.schema.clone().unwrap_or_default();
    let paths = request.update_mask.iter().flat_map(|mask| &mask.paths);
    let change = |path: &String| match path.as_str() {
        "target_project" => Ok(Change::Project(schema.target_project.clone())),
        "target_schema" => Ok(Change::Schema(schema.target_schema.clone())),
        other => Err(unknown(other, "target_project, target_schema").into()),
    };
    paths.map(change).collect()
}

fn of_table(request: &pb::UpdateTableRequest) -> Result<TableUpdate, Status> {
    let table = request.table.clone().unwrap_or_default();
    let target = convert::target_from(table.target);
    let mut changes = Vec::new();
    for path in request.update_mask.iter().flat_map(|mask| &mask.paths) {
        let all = path == "target";
        let known = ["target", "target.project", "target.schema", "target.table"];
        if !known.contains(&path.as_str()) {
            return Err(unknown(path, &known.join(", ")).into());
        }
        if all || path == "target.project" {
            changes.push(Change::Project(target.project.clone()));
        }
        if all || path == "target.schema" {
            changes.push(Change::Schema(target.schema.clone()));
        }
        if all || path == "target.table" {
            changes.push(Change::Table(target.table.clone()));
        }
    }
    let key = key::table_key(&name::<TableName>("name", &request.name)?);
    Ok(TableUpdate { key, etag: table.etag, changes })
}

impl Api {
    /// Makes all changes or none.
    pub(super) async fn update_tables(&self, requests: &[pb::UpdateTableRequest]) -> Result<Vec<pb::Table>, Status> {
        for request in requests {
            check(request)?;
        }
        let updates = requests.iter().map(of_table).collect::<Result<Vec<_>, _>>()?;
        let tables = self
            .core
            .store
            .commit(move |tx| {
                let update = |update: TableUpdate| {
                    let table = target::update_table(tx, &update.key, &update.etag, &update.changes)?;
                    convert::table_to(&update.key, table)
                };
                updates.into_iter().map(update).collect::<crate::error::Result<Vec<_>>>()
            })
            .await?;
        Ok(tables)
    }
}
