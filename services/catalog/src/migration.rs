//! What became of tables and partitions: the scheduler's reports, and states set by hand. All inside a commit.

use std::ops::ControlFlow;

use mms_proto::name::PartitionId;
use mms_proto::name::segment::Segment;
use mms_store::{Read, Scope, Tx};

use crate::error::{CatalogError, Result};
use crate::key;
use crate::record::{Applied, Partition, Table, Version};
use crate::rollup;
use crate::status::State;
use crate::store::{APPLIED, APPLIED_BY_TIME, PARTITIONS, PartitionKey, TABLES, TableKey};

/// How long the last sequence of a task is remembered after its last report.
const APPLIED_TTL_MS: i64 = 90 * 24 * 3600 * 1000;

/// One report.
#[derive(Debug, Clone)]
pub struct Report {
    /// The task's name.
    pub task: String,
    /// Its place in the order of reports.
    pub sequence: i64,
    /// The table.
    pub table: TableKey,
    /// Last segments of partitions' names; empty: the whole table.
    pub partitions: Vec<String>,
    /// What became of them.
    pub state: State,
    /// The version that the task moves.
    pub version: Option<Version>,
}

/// Applies a report, unless it or a later one of its task was applied already. False: passed over.
pub fn report(tx: &mut Tx<'_>, now_ms: i64, report: &Report) -> Result<bool> {
    let applied_key = (report.table.0.clone(), report.task.clone());
    if tx.get(&APPLIED, &applied_key)?.is_some_and(|applied| applied.sequence >= report.sequence) {
        return Ok(false);
    }
    tx.put(&APPLIED, &applied_key, &Applied { sequence: report.sequence, time_ms: now_ms })?;
    let Some(mut table) = tx.get(&TABLES, &report.table)? else {
        tracing::warn!(task = report.task, "a report about a table that is not in the catalog");
        return Ok(false);
    };
    table.task.clone_from(&report.task);
    let keys = if report.partitions.is_empty() {
        table.own_state = report.state as i32;
        if report.state == State::Done {
            table.own_migrated = report.version;
        }
        live_partitions(tx, &report.table)?
    } else {
        report.partitions.iter().map(|segment| key::partition_of(&report.table, segment.clone())).collect()
    };
    for own in keys {
        // A partition that no scan has seen yet: the task pinned a newer version.
        let mut partition = tx.get(&PARTITIONS, &own)?.unwrap_or_else(|| Partition {
            seen_version: report.version.as_ref().map(|version| version.number),
            ..Partition::default()
        });
        partition.state = report.state as i32;
        partition.task.clone_from(&report.task);
        if report.state == State::Done {
            migrated(&mut partition, report.version);
        }
        rollup::save_partition(tx, &mut table, &own, &partition)?;
    }
    rollup::save_table(tx, &report.table, table)?;
    Ok(true)
}

/// Records what is at the target now.
fn migrated(partition: &mut Partition, version: Option<Version>) {
    let seen = version.as_ref().map(|version| version.number) == partition.seen_version;
    partition.migrated_files = if seen { partition.files.clone() } else { Vec::new() };
    partition.migrated = version;
}

fn live_partitions(tx: &Tx<'_>, table: &TableKey) -> Result<Vec<PartitionKey>> {
    let mut keys = Vec::new();
    tx.scan(&PARTITIONS, &Scope::prefix(table), |key, partition| {
        if partition.delete_time_ms == 0 {
            keys.push(key);
        }
        ControlFlow::Continue(())
    })?;
    Ok(keys)
}

/// Whether a text is the last segment of a partition's name.
pub fn is_segment(text: &str) -> std::result::Result<(), String> {
    PartitionId::parse_segment(text).map(drop)
}

/// What a state is set for by hand.
#[derive(Debug, Clone)]
pub enum Subject {
    /// All tables of a schema.
    Schema(crate::store::SchemaKey),
    /// A table and all its partitions.
    Table(TableKey),
    /// One partition.
    Partition(PartitionKey),
}

/// Sets states by hand; the number of tables and partitions that changed.
pub fn set(tx: &mut Tx<'_>, subjects: &[Subject], state: State) -> Result<i64> {
    let mut changed = 0;
    for subject in subjects {
        changed += match subject {
            Subject::Schema(key) => {
                tx.get(&crate::store::SCHEMAS, key)?.ok_or_else(|| not_found(key::schema_name(key)))?;
                let mut tables = Vec::new();
                tx.scan(&TABLES, &Scope::prefix(key), |key, table| {
                    if table.delete_time_ms == 0 {
                        tables.push(key);
                    }
                    ControlFlow::Continue(())
                })?;
                let mut sum = 0;
                for table in tables {
                    sum += set_table(tx, &table, state)?;
                }
                sum
            }
            Subject::Table(key) => set_table(tx, key, state)?,
            Subject::Partition(key) => {
                let table_key = (key.0.clone(), key.1.clone(), key.2.clone());
                let missing = || not_found(key::partition_name(key));
                let mut table = tx.get(&TABLES, &table_key)?.ok_or_else(missing)?;
                tx.get(&PARTITIONS, key)?.ok_or_else(missing)?;
                let sum = set_partition(tx, &mut table, key, state)?;
                rollup::save_table(tx, &table_key, table)?;
                sum
            }
        };
    }
    Ok(changed)
}

fn not_found<N: ToString>(name: Result<N>) -> CatalogError {
    name.map_or_else(|error| error, |name| CatalogError::NotFound(name.to_string()))
}

fn set_table(tx: &mut Tx<'_>, key: &TableKey, state: State) -> Result<i64> {
    let mut table = tx.get(&TABLES, key)?.ok_or_else(|| not_found(key::table_name(key)))?;
    if State::of(table.state) == State::Doing {
        return Err(CatalogError::Doing(key::table_name(key)?.to_string()));
    }
    let own_changed = State::of(table.own_state) != state;
    table.own_state = state as i32;
    if state == State::Done {
        table.own_migrated = table.facts.version;
    }
    let partitions = live_partitions(tx, key)?;
    let mut changed = i64::from(own_changed && partitions.is_empty());
    for partition in &partitions {
        changed += set_partition(tx, &mut table, partition, state)?;
    }
    rollup::save_table(tx, key, table)?;
    Ok(changed)
}

fn set_partition(tx: &mut Tx<'_>, table: &mut Table, key: &PartitionKey, state: State) -> Result<i64> {
    let Some(mut partition) = tx.get(&PARTITIONS, key)? else { return Ok(0) };
    match State::of(partition.state) {
        State::Doing => Err(CatalogError::Doing(key::partition_name(key)?.to_string())),
        before if before == state => Ok(0),
        _ => {
            partition.state = state as i32;
            if state == State::Done {
                // By hand: what was seen last counts as moved.
                migrated(&mut partition, table.facts.version);
            }
            rollup::save_partition(tx, table, key, &partition)?;
            Ok(1)
        }
    }
}

/// Forgets the sequences of tasks that were not heard of for long; at most 1,000 at once.
pub fn forget_applied(tx: &mut Tx<'_>, now_ms: i64) -> Result<()> {
    let old = Scope::range(..now_ms.saturating_sub(APPLIED_TTL_MS));
    for key in tx.index_keys(&APPLIED, &APPLIED_BY_TIME, &old, None, 1000)?.items {
        tx.delete(&APPLIED, &key)?;
    }
    Ok(())
}
