//! Applies updates of targets: reads the changed parts from the update mask, and resets the state of tables whose target has
//! changed. Must never leave a state that was reported for the old target.

use mms_proto::catalog::v1 as pb;
use mms_proto::name::{ResourceName, TableName};
use mms_proto::types::v1::View;
use mms_proto::{ApiError, FieldViolation};
use mms_store::{Read, Scope};
use tonic::Status;

use super::Api;
use crate::convert;
use crate::error::CatalogError;
use crate::key;
use crate::migration;
use crate::store::{SCHEMAS, SchemaKey, TABLES, TableKey};
use crate::target::{self, Change};

/// A parsed update of a table.
pub(super) struct TableUpdate {
    key: TableKey,
    etag: String,
    changes: Vec<Change>,
}

/// The changes that a mask names, or a violation for each unknown path. `at` is the prefix of the update's field paths.
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
    /// Makes all changes or none. `at` gives the prefix of the field paths of the update with this index; the requests must have
    /// been checked against the contract's rules.
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
        let keys: Vec<TableKey> = updates.iter().map(|update| update.key.clone()).collect();
        let moved = self
            .core
            .store
            .commit(move |tx| {
                let mut moved = Vec::new();
                for update in updates {
                    if target::update_table(tx, &update.key, &update.etag, &update.changes)? {
                        // Reset the table itself in the same commit, so that it never counts as migrated to the new target, even
                        // after a crash.
                        migration::reset(tx, &update.key, None)?;
                        moved.push(update.key);
                    }
                }
                Ok::<_, CatalogError>(moved)
            })
            .await?;
        for key in &moved {
            self.reset(key).await?;
        }
        let uid = keys.first().map(|key| self.source_uid(&key.0)).transpose()?.unwrap_or_default();
        let shown = self.core.store.read(|read| {
            let show = |key: &TableKey| {
                let table = convert::table_to(&uid, key, read.get(&TABLES, key)?.unwrap_or_default())?;
                Ok(convert::in_view(table, View::Basic))
            };
            keys.iter().map(show).collect::<crate::error::Result<Vec<_>>>()
        })?;
        Ok(shown)
    }

    /// Changes the target of a schema.
    pub(super) async fn update_schema_target(
        &self,
        key: SchemaKey,
        etag: String,
        changes: Vec<Change>,
    ) -> Result<pb::Schema, Status> {
        let own = key.clone();
        let moved = self.core.store.commit(move |tx| target::update_schema(tx, &own, &etag, &changes)).await?;
        if moved {
            self.reset_tables(&key).await?;
        }
        let schema = self.core.store.read(|read| read.get(&SCHEMAS, &key)).map_err(CatalogError::from)?;
        let uid = self.source_uid(&key.0)?;
        Ok(convert::schema_to(&uid, &key, schema.unwrap_or_default())?)
    }

    /// Resets the tables of a schema whose target has changed.
    async fn reset_tables(&self, key: &SchemaKey) -> crate::error::Result<()> {
        for page in self.core.store.pages(&TABLES, Scope::prefix(key), 1_000) {
            for (table, _) in page?.iter().filter(|(_, table)| migration::claims_anything(table)) {
                self.reset(table).await?;
            }
        }
        Ok(())
    }

    /// Resets a table whose target has changed, in commits of bounded size.
    async fn reset(&self, key: &TableKey) -> crate::error::Result<()> {
        let mut after = None;
        loop {
            let (own, from) = (key.clone(), after.take());
            after = self.core.store.commit(move |tx| migration::reset(tx, &own, from.as_ref())).await?;
            if after.is_none() {
                return Ok(());
            }
        }
    }
}
