//! Which parts of a target an update changes.

use mms_proto::catalog::v1 as pb;
use mms_proto::name::{ResourceName, TableName};
use mms_proto::{ApiError, FieldViolation};
use tonic::Status;

use super::Api;
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

/// The changes that a mask names, or a violation for each path that names none. `at` is where the update stands.
fn changes(
    at: &str,
    mask: Option<&prost_types::FieldMask>,
    known: &str,
    change: impl Fn(&str) -> Option<Vec<Change>>,
) -> Result<Vec<Change>, Vec<FieldViolation>> {
    let (mut changes, mut found) = (Vec::new(), Vec::new());
    for (number, path) in mask.iter().flat_map(|mask| &mask.paths).enumerate() {
        match change(path) {
            Some(named) => changes.extend(named),
            None => {
                let text = format!("names {path:?}; what can be changed is {known}");
                found.push(FieldViolation::new(format!("{at}update_mask.paths[{number}]"), text));
            }
        }
    }
    if found.is_empty() { Ok(changes) } else { Err(found) }
}

pub(super) fn of_schema(request: &pb::UpdateSchemaRequest) -> Result<Vec<Change>, Status> {
    let schema = request.schema.clone().unwrap_or_default();
    let change = |path: &str| match path {
        "target_project" => Some(vec![Change::Project(schema.target_project.clone())]),
        "target_schema" => Some(vec![Change::Schema(schema.target_schema.clone())]),
        _ => None,
    };
    let changes = changes("", request.update_mask.as_ref(), "target_project, target_schema", change);
    changes.map_err(|found| ApiError::invalid(found).into())
}

fn of_table(at: &str, request: &pb::UpdateTableRequest) -> Result<TableUpdate, Vec<FieldViolation>> {
    let table = request.table.clone().unwrap_or_default();
    let target = convert::target_from(table.target);
    let project = || Change::Project(target.project.clone());
    let schema = || Change::Schema(target.schema.clone());
    let name = || Change::Table(target.table.clone());
    let change = |path: &str| match path {
        "target" => Some(vec![project(), schema(), name()]),
        "target.project" => Some(vec![project()]),
        "target.schema" => Some(vec![schema()]),
        "target.table" => Some(vec![name()]),
        _ => None,
    };
    let known = "target, target.project, target.schema, target.table";
    let changes = changes(at, request.update_mask.as_ref(), known, change)?;
    let name = TableName::parse(&request.name);
    let name = name.map_err(|error| vec![FieldViolation::new(format!("{at}name"), error.reason)])?;
    Ok(TableUpdate { key: key::table_key(&name), etag: table.etag, changes })
}

impl Api {
    /// Makes all changes or none. `at` says where the update of a number stands in the request, whose rules are kept.
    pub(super) async fn update_tables(
        &self,
        requests: &[pb::UpdateTableRequest],
        at: impl Fn(usize) -> String,
    ) -> Result<Vec<pb::Table>, Status> {
        let (mut updates, mut found) = (Vec::new(), Vec::new());
        for (number, request) in requests.iter().enumerate() {
            match of_table(&at(number), request) {
                Ok(update) => updates.push(update),
                Err(faults) => found.extend(faults),
            }
        }
        if !found.is_empty() {
            return Err(ApiError::invalid(found).into());
        }
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
