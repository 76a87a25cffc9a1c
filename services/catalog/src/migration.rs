//! Applies the scheduler's reports and states that people set by hand to tables and partitions. Runs inside a commit of the
//! caller. Each report of a task is applied at most once and in order, however often it is delivered.

use std::ops::ControlFlow;

use mms_proto::name::PartitionId;
use mms_proto::name::segment::Segment;
use mms_store::{Read, Scope, Tx};

use crate::error::{CatalogError, Result};
use crate::key;
use crate::record::{Applied, Migrated, Partition, Table};
use crate::rollup;
use crate::status::State;
use crate::store::{APPLIED, APPLIED_BY_TIME, CLAIMS, PARTITIONS, PartitionKey, TABLES, TableKey};

/// How long the last sequence of a task is kept after its last report: 90 days.
const APPLIED_TTL_MS: i64 = 90 * 24 * 3600 * 1000;

/// One report of the scheduler.
#[derive(Debug, Clone)]
pub struct Report {
    /// The resource name of the task.
    pub task: String,
    /// Rises with each report of the task; lower or equal ones are ignored.
    pub sequence: i64,
    /// The table that the task migrates.
    pub table: TableKey,
    /// Last segments of partition names; empty: the whole table.
    pub partitions: Vec<String>,
    /// The new state of the table or the partitions.
    pub state: State,
    /// The version that the task moves, and its target. With DONE: the version that is now at the target; None if no rows were
    /// moved.
    pub migrated: Option<Migrated>,
    /// With DONE of a whole table: the digest of the target's state after the final check. Empty: it was not checked.
    pub target_digest: Vec<u8>,
    /// With a digest of the target: the digest of the rules by which its rows were made.
    pub rules_digest: Vec<u8>,
    /// Whether the job moves only some of the table's partitions.
    pub of_part: bool,
}

/// Applies a report; false when it was ignored, because it or a later one of its task was applied before, or its table is
/// unknown.
pub fn report(tx: &mut Tx<'_>, now_ms: i64, report: &Report) -> Result<bool> {
    let applied_key = (report.table.0.clone(), report.task.clone());
    if tx.get(&APPLIED, &applied_key)?.is_some_and(|applied| applied.sequence >= report.sequence) {
        return Ok(false);
    }
    tx.put(&APPLIED, &applied_key, &Applied { sequence: report.sequence, time_ms: now_ms })?;
    let Some(mut table) = tx.get(&TABLES, &report.table)? else {
        tracing::warn!(task = report.task, "a report was ignored: its table is not in the catalog");
        return Ok(false);
    };
    table.task.clone_from(&report.task);
    // Anything that a task does changes the target; only the last task of a job brings a digest of the checked table again.
    table.target_digest.clone_from(&report.target_digest);
    table.rules_digest.clone_from(&report.rules_digest);
    let moved = report.migrated.as_ref().filter(|_| report.state == State::Done);
    let state = match (report.state, moved) {
        // DONE without rows: only tables and partitions were created. Or the table was sent to another target meanwhile.
        (State::Done, None) => State::Init,
        (State::Done, Some(moved)) if !still_goes_to(tx, &report.table, moved)? => State::Init,
        (state, _) => state,
    };
    if let Some(moved) = moved {
        // A whole table that was checked has reported all its partitions.
        let whole = !report.of_part && !report.target_digest.is_empty();
        table.part_version = if whole { None } else { table.part_version.max(report.of_part.then_some(moved.number)) };
    }
    let keys = if report.partitions.is_empty() {
        table.own_state = state as i32;
        if moved.is_some() {
            table.own_migrated = moved.cloned();
        }
        live_partitions(tx, &report.table)?
    } else {
        report.partitions.iter().map(|segment| key::partition_of(&report.table, segment.clone())).collect()
    };
    for own in keys {
        // A partition that no scan has seen yet: the task pinned a newer version.
        let mut partition = tx.get(&PARTITIONS, &own)?.unwrap_or_else(|| Partition {
            seen_version: report.migrated.as_ref().map(|version| version.number),
            ..Partition::default()
        });
        partition.state = state as i32;
        partition.task.clone_from(&report.task);
        if let Some(moved) = moved {
            migrated(&mut partition, moved.clone(), &table.facts.delta_id);
        }
        rollup::save_partition(tx, &mut table, &own, &partition)?;
    }
    rollup::save_table(tx, &report.table, table)?;
    Ok(true)
}

/// Whether the table still goes to the target that a report names, by the claim of its last plan. A report without a target is
/// accepted.
fn still_goes_to(tx: &Tx<'_>, table: &TableKey, moved: &Migrated) -> Result<bool> {
    let Some(target) = &moved.target else { return Ok(true) };
    let claim = tx.get(&CLAIMS, &rollup::target_text(target))?;
    Ok(claim.is_some_and(|claim| (claim.data_source, claim.schema, claim.table) == *table))
}

/// Stores the version that is now at the target. `table_id` is the Delta table id of the newest scan.
fn migrated(partition: &mut Partition, moved: Migrated, table_id: &str) {
    let seen = Some(moved.number) == partition.seen_version && moved.table_id == table_id;
    partition.migrated_files = if seen { partition.files.clone() } else { Vec::new() };
    partition.migrated = Some(moved);
}

/// The version of the newest scan, without a target.
fn seen(table: &Table) -> Option<Migrated> {
    table.facts.version.map(|version| Migrated {
        number: version.number,
        commit_time_ms: version.commit_time_ms,
        table_id: table.facts.delta_id.clone(),
        target: None,
    })
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

/// Checks the syntax of the last segment of a partition's name.
pub fn is_segment(text: &str) -> std::result::Result<(), String> {
    PartitionId::parse_segment(text).map(drop)
}

/// What a person sets a state for.
#[derive(Debug, Clone)]
pub enum Subject {
    /// All tables of a schema.
    Schema(crate::store::SchemaKey),
    /// A table and all its partitions.
    Table(TableKey),
    /// One partition.
    Partition(PartitionKey),
}

/// Sets states by hand; returns how many tables and partitions changed. Fails when a task is migrating one of them.
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
    table.target_digest.clear();
    table.rules_digest.clear();
    table.own_state = state as i32;
    if state == State::Done {
        table.own_migrated = seen(&table);
        table.part_version = None;
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
                // Set by hand: the version of the newest scan counts as moved.
                match seen(table) {
                    Some(moved) => migrated(&mut partition, moved, &table.facts.delta_id),
                    None => (partition.migrated, partition.migrated_files) = (None, Vec::new()),
                }
            }
            rollup::save_partition(tx, table, key, &partition)?;
            Ok(1)
        }
    }
}

/// How many partitions one commit of [`reset`] looks at.
const RESET_AT_ONCE: usize = 5_000;

/// Resets the states of a table and its partitions to INIT, because their target has changed; the record of which version is at
/// which target stays. Handles a bounded number of partitions and returns the key to continue after, if there are more.
pub fn reset(tx: &mut Tx<'_>, key: &TableKey, after: Option<&PartitionKey>) -> Result<Option<PartitionKey>> {
    let Some(mut table) = tx.get(&TABLES, key)? else { return Ok(None) };
    if State::of(table.own_state) != State::Doing {
        table.own_state = State::Init as i32;
    }
    let mut next = after.cloned();
    let mut looked_at = 0;
    loop {
        let page = tx.page(&PARTITIONS, &Scope::prefix(key), next.as_ref(), 1_000)?;
        looked_at += page.items.len();
        for (own, mut partition) in page.items {
            if !matches!(State::of(partition.state), State::Init | State::Doing) {
                partition.state = State::Init as i32;
                rollup::save_partition(tx, &mut table, &own, &partition)?;
            }
        }
        next = page.next;
        if next.is_none() || looked_at >= RESET_AT_ONCE {
            rollup::save_table(tx, key, table)?;
            return Ok(next);
        }
    }
}

/// Whether [`reset`] would change anything.
pub fn claims_anything(table: &Table) -> bool {
    !matches!(State::of(table.own_state), State::Init | State::Doing)
        || table.partitions.total() > table.partitions.init + table.partitions.doing
}

/// Deletes the sequences of tasks without a report for `APPLIED_TTL_MS`; at most 1,000 a call.
pub fn forget_applied(tx: &mut Tx<'_>, now_ms: i64) -> Result<()> {
    let old = Scope::range(..now_ms.saturating_sub(APPLIED_TTL_MS));
    for key in tx.index_keys(&APPLIED, &APPLIED_BY_TIME, &old, None, 1000)?.items {
        tx.delete(&APPLIED, &key)?;
    }
    Ok(())
}
