//! Which parts of a target an update changes.

use mms_proto::ApiError;
use mms_proto::catalog::v1 as pb;
use mms_proto::name::TableName;
use mms_store::{Read, Scope};
use tonic::Status;

use super::{Api, check, name};
use crate::convert;
use crate::error::CatalogError;
use crate::key;
use crate::migration;
use crate::store::{SCHEMAS, SchemaKey, TABLES, TableKey};
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
        let keys: Vec<TableKey> = updates.iter().map(|update| update.key.clone()).collect();
        self.core
            .store
            .commit(move |tx| {
                for update in &updates {
                    target::update_table(tx, &update.key, &update.etag, &update.changes)?;
                }
                Ok::<_, CatalogError>(())
            })
            .await?;
        for key in &keys {
            self.reset(key).await?;
        }
        let shown = self.core.store.read(|read| {
            let show = |key: &TableKey| convert::table_to(key, read.get(&TABLES, key)?.unwrap_or_default());
            keys.iter().map(show).collect::<crate::error::Result<Vec<_>>>()
        })?;
        Ok(shown)
    }

    /// Changes where a schema goes.
    pub(super) async fn update_schema_target(
        &self,
        key: SchemaKey,
        etag: String,
        changes: Vec<Change>,
    ) -> Result<pb::Schema, Status> {
        let own = key.clone();
        self.core.store.commit(move |tx| target::update_schema(tx, &own, &etag, &changes)).await?;
        let mut after = None;
        loop {
            let page = self
                .core
                .store
                .read(|read| read.page(&TABLES, &Scope::prefix(&key), after.as_ref(), 1_000))
                .map_err(CatalogError::from)?;
            for (table, _) in page.items.iter().filter(|(_, table)| migration::claims_anything(table)) {
                self.reset(table).await?;
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let schema = self.core.store.read(|read| read.get(&SCHEMAS, &key)).map_err(CatalogError::from)?;
        Ok(convert::schema_to(&key, schema.unwrap_or_default())?)
    }

    /// Takes back what was said of a table that goes elsewhere now, in commits of bounded size.
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
