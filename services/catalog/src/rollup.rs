//! Owns the writing of partitions, tables and schemas: updates the states and counters above them in the same commit, so that
//! they always agree. Nothing else may write these records.

use mms_store::{Read, Scope, StoreError, Tx};

use crate::error::Result;
use crate::record::{Counts, Migrated, Partition, Schema, Summary, Table, Target, VersionCount};
use crate::status::State;
use crate::store::{PARTITIONS, PartitionKey, SCHEMAS, SUMMARIES, SchemaKey, TABLES, TableKey, VERSIONS, VersionKey};

/// What a table or schema contributes to the counters above it; nothing when it is deleted at the source.
#[derive(Default)]
struct Share {
    objects: Counts,
    tables: Counts,
    partitions: Counts,
    size_bytes: i64,
    row_count: i64,
}

fn table_share(table: Option<&Table>) -> Share {
    match table {
        Some(table) if table.delete_time_ms == 0 => Share {
            objects: Counts::one(State::of(table.state)),
            tables: Counts::default(),
            partitions: table.partitions.clone(),
            size_bytes: table.facts.size_bytes.unwrap_or(0),
            row_count: table.facts.row_count.unwrap_or(0),
        },
        _ => Share::default(),
    }
}

fn schema_share(schema: Option<&Schema>) -> Share {
    match schema {
        Some(schema) if schema.delete_time_ms == 0 => Share {
            objects: Counts::one(schema.tables.rolled_up()),
            tables: schema.tables.clone(),
            partitions: schema.partitions.clone(),
            size_bytes: schema.size_bytes,
            row_count: schema.row_count,
        },
        _ => Share::default(),
    }
}

fn shift_schema(schema: &mut Schema, share: &Share, sign: i64) {
    schema.tables.shift(&share.objects, sign);
    schema.partitions.shift(&share.partitions, sign);
    schema.size_bytes += sign * share.size_bytes;
    schema.row_count += sign * share.row_count;
}

fn shift_summary(summary: &mut Summary, share: &Share, sign: i64) {
    summary.schemas.shift(&share.objects, sign);
    summary.tables.shift(&share.tables, sign);
    summary.partitions.shift(&share.partitions, sign);
    summary.size_bytes += sign * share.size_bytes;
    summary.row_count += sign * share.row_count;
}

/// Writes a schema and updates the data source's summary. Keeps the counters that [`save_table`] maintains.
pub fn save_schema(tx: &mut Tx<'_>, key: &SchemaKey, mut schema: Schema) -> Result<Schema> {
    let before = tx.get(&SCHEMAS, key)?;
    schema.revision = tx.revision();
    let mut summary = tx.get(&SUMMARIES, &key.0)?.unwrap_or_default();
    shift_summary(&mut summary, &schema_share(before.as_ref()), -1);
    shift_summary(&mut summary, &schema_share(Some(&schema)), 1);
    tx.put(&SUMMARIES, &key.0, &summary)?;
    tx.put(&SCHEMAS, key, &schema)?;
    Ok(schema)
}

/// Writes a table and updates its schema; derives its state and version from its partitions, which [`save_partition`] must have
/// written before.
pub fn save_table(tx: &mut Tx<'_>, key: &TableKey, mut table: Table) -> Result<Table> {
    let before = tx.get(&TABLES, key)?;
    if table.partitions.total() > 0 {
        let state = table.partitions.rolled_up();
        table.state = if state == State::Done && may_have_more(&table) { State::PartDone } else { state } as i32;
        table.migrated = oldest_version(tx, key)?;
    } else {
        table.state = State::of(table.own_state) as i32;
        table.migrated.clone_from(&table.own_migrated);
    }
    table.revision = tx.revision();
    let schema_key = (key.0.clone(), key.1.clone());
    let mut schema = tx.get(&SCHEMAS, &schema_key)?.unwrap_or_default();
    shift_schema(&mut schema, &table_share(before.as_ref()), -1);
    shift_schema(&mut schema, &table_share(Some(&table)), 1);
    save_schema(tx, &schema_key, schema)?;
    tx.put(&TABLES, key, &table)?;
    Ok(table)
}

/// Whether partitions may exist that no scan has seen: some were moved at a version newer than the scanned one.
fn may_have_more(table: &Table) -> bool {
    let seen = table.facts.version.as_ref().map(|version| version.number);
    table.part_version.is_some_and(|moved| seen.is_none_or(|seen| seen < moved))
}

/// Writes a partition and counts it in `table`, which the caller must write afterwards.
pub fn save_partition(tx: &mut Tx<'_>, table: &mut Table, key: &PartitionKey, after: &Partition) -> Result<()> {
    let before = tx.get(&PARTITIONS, key)?;
    if let Some(before) = before.as_ref().filter(|partition| partition.delete_time_ms == 0) {
        table.partitions.shift(&Counts::one(State::of(before.state)), -1);
        shift_version(tx, key, before.migrated.as_ref(), -1)?;
    }
    if after.delete_time_ms == 0 {
        table.partitions.shift(&Counts::one(State::of(after.state)), 1);
        shift_version(tx, key, after.migrated.as_ref(), 1)?;
    }
    tx.put(&PARTITIONS, key, after)?;
    Ok(())
}

fn shift_version(tx: &mut Tx<'_>, key: &PartitionKey, migrated: Option<&Migrated>, by: i64) -> Result<(), StoreError> {
    let Some(migrated) = migrated else { return Ok(()) };
    let place = (migrated.table_id.clone(), migrated.target.as_ref().map(target_text).unwrap_or_default());
    let key: VersionKey = ((key.0.clone(), key.1.clone(), key.2.clone()), place, migrated.number);
    let mut count = tx.get(&VERSIONS, &key)?.unwrap_or_default();
    count.partitions += by;
    count.commit_time_ms = migrated.commit_time_ms.or(count.commit_time_ms);
    count.target.clone_from(&migrated.target);
    if count.partitions > 0 {
        tx.put::<VersionKey, VersionCount>(&VERSIONS, &key, &count)?;
    } else {
        tx.delete(&VERSIONS, &key)?;
    }
    Ok(())
}

/// The canonical spelling of a target, which is the key of its claim. Targets ignore case, so it is lower case.
pub fn target_text(target: &Target) -> String {
    let parts = [&target.project, &target.schema, &target.table].into_iter().filter(|part| !part.is_empty());
    parts.map(|part| part.to_lowercase()).collect::<Vec<_>>().join(".")
}

/// The version at the target of a partitioned table: the oldest of its partitions' versions. If they come from several tables or
/// lie at several targets, neither is named, so that parts of different tables are never mistaken for one.
fn oldest_version(tx: &Tx<'_>, key: &TableKey) -> Result<Option<Migrated>> {
    let scope = Scope::prefix(&(key.clone(),));
    let Some((first, count)) = tx.page(&VERSIONS, &scope, None, 1)?.items.into_iter().next() else { return Ok(None) };
    let last = tx.page(&VERSIONS, &scope.descending(), None, 1)?.items.into_iter().next();
    let one_place = last.is_some_and(|(last, _)| last.1 == first.1);
    let (table_id, target) = if one_place { (first.1.0, count.target) } else { (String::new(), None) };
    Ok(Some(Migrated { number: first.2, commit_time_ms: count.commit_time_ms, table_id, target }))
}

/// Whether a partition's files differ from those at the target. `table_id` is the table's id in the newest scan.
pub fn partition_changed(partition: &Partition, table_id: &str) -> bool {
    let Some(migrated) = &partition.migrated else { return false };
    if migrated.table_id != table_id {
        return true;
    }
    if partition.migrated_files.is_empty() || partition.files.is_empty() {
        return partition.seen_version.is_some_and(|seen| seen > migrated.number);
    }
    partition.files != partition.migrated_files
}

/// Whether the scanned version differs from the one at the target.
pub fn table_changed(table: &Table) -> bool {
    match (&table.migrated, &table.facts.version) {
        (Some(migrated), Some(seen)) => migrated.number != seen.number || migrated.table_id != table.facts.delta_id,
        _ => false,
    }
}

#[cfg(test)]
#[path = "rollup_tests.rs"]
mod tests;
