//! Changes the targets that people set, and owns the claims: which source table a target table belongs to. A target table belongs
//! to one source table at most. Runs inside a commit of the caller.

use mms_store::{Read, Scope, Tx};

use crate::error::{CatalogError, Result};
use crate::key;
use crate::record::{Claim, Target};
use crate::rollup;
use crate::store::{CLAIMS, CLAIMS_BY_TABLE, SCHEMAS, SchemaKey, TABLES, TableKey};

/// A new value for one part of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The project; empty: inherited.
    Project(String),
    /// The schema; empty: inherited.
    Schema(String),
    /// The table; empty: inherited.
    Table(String),
}

fn check_etag(etag: &str, revision: u64, resource: impl ToString) -> Result<()> {
    let current = etag.is_empty() || etag == revision.to_string();
    if current { Ok(()) } else { Err(CatalogError::EtagMismatch(resource.to_string())) }
}

/// Changes a schema's target; true when it differs from before. The caller must then reset its tables with
/// [`crate::migration::reset`].
pub fn update_schema(tx: &mut Tx<'_>, key: &SchemaKey, etag: &str, changes: &[Change]) -> Result<bool> {
    let name = key::schema_name(key)?;
    let mut schema = tx.get(&SCHEMAS, key)?.ok_or_else(|| CatalogError::NotFound(name.to_string()))?;
    check_etag(etag, schema.revision, name)?;
    let before = (schema.target_project.clone(), schema.target_schema.clone());
    for change in changes {
        match change {
            Change::Project(project) => schema.target_project.clone_from(project),
            Change::Schema(target) => schema.target_schema.clone_from(target),
            // A schema has no target table.
            Change::Table(_) => {}
        }
    }
    if before == (schema.target_project.clone(), schema.target_schema.clone()) {
        return Ok(false);
    }
    // The old targets of its tables are no longer theirs.
    for claim in tx.all_index_keys(&CLAIMS, &CLAIMS_BY_TABLE, &Scope::prefix(key))? {
        tx.delete(&CLAIMS, &claim)?;
    }
    rollup::save_schema(tx, key, schema).map(|_| true)
}

/// Changes a table's target; true when it differs from before. The caller must then reset the table with
/// [`crate::migration::reset`].
pub fn update_table(tx: &mut Tx<'_>, key: &TableKey, etag: &str, changes: &[Change]) -> Result<bool> {
    let name = key::table_name(key)?;
    let mut table = tx.get(&TABLES, key)?.ok_or_else(|| CatalogError::NotFound(name.to_string()))?;
    check_etag(etag, table.revision, name)?;
    let before = table.target.clone();
    for change in changes {
        let Target { project, schema, table } = &mut table.target;
        match change {
            Change::Project(text) => project.clone_from(text),
            Change::Schema(text) => schema.clone_from(text),
            Change::Table(text) => table.clone_from(text),
        }
    }
    if table.target == before {
        return Ok(false);
    }
    release(tx, key)?;
    rollup::save_table(tx, key, table).map(|_| true)
}

fn release(tx: &mut Tx<'_>, key: &TableKey) -> Result<()> {
    for claim in tx.all_index_keys(&CLAIMS, &CLAIMS_BY_TABLE, &Scope::exactly(key))? {
        tx.delete(&CLAIMS, &claim)?;
    }
    Ok(())
}

/// The other source table that has claimed a target table and still exists.
pub fn taken_by(read: &impl Read, target: &str, key: &TableKey) -> Result<Option<TableKey>> {
    let Some(claim) = read.get(&CLAIMS, &target.to_owned())? else { return Ok(None) };
    let other = (claim.data_source, claim.schema, claim.table);
    let there = other != *key && read.get(&TABLES, &other)?.is_some_and(|table| table.delete_time_ms == 0);
    Ok(there.then_some(other))
}

/// Claims a target table for a source table and releases its other claims; or returns the other source table that has claimed it.
pub fn claim(tx: &mut Tx<'_>, target: &str, key: &TableKey) -> Result<Option<TableKey>> {
    let other = taken_by(tx, target, key)?;
    if other.is_none() {
        release(tx, key)?;
        let claim = Claim { data_source: key.0.clone(), schema: key.1.clone(), table: key.2.clone() };
        tx.put(&CLAIMS, &target.to_owned(), &claim)?;
    }
    Ok(other)
}
