//! Compares the counters that each write maintains with a full recount, over random sequences of writes.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use mms_store::Store;
use proptest::prelude::*;

use super::*;
use crate::migration::{self, Report, Subject};
use crate::record::{TableFacts, Version};
use crate::store;

#[derive(Debug, Clone)]
enum Step {
    Scan { table: u8, partitions: Vec<u8>, version: i64, size: i64 },
    TableGone(u8),
    SchemaGone(u8),
    Report { table: u8, partitions: Vec<u8>, state: State, version: i64, place: u8 },
    Reset(u8),
    Set { table: u8, state: State },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let parts = || proptest::collection::vec(0_u8..4, 0..4);
    let state = || proptest::sample::select(&[State::Init, State::Doing, State::Done, State::Failed][..]);
    let step = prop_oneof![
        (0_u8..4, parts(), 0_i64..4, 0_i64..100).prop_map(|(table, partitions, version, size)| Step::Scan {
            table,
            partitions,
            version,
            size
        }),
        (0_u8..4).prop_map(Step::TableGone),
        (0_u8..2).prop_map(Step::SchemaGone),
        (0_u8..4, parts(), state(), 0_i64..4, 0_u8..2).prop_map(|(table, partitions, state, version, place)| {
            Step::Report { table, partitions, state, version, place }
        }),
        (0_u8..4).prop_map(Step::Reset),
        (0_u8..4, proptest::sample::select(&[State::Init, State::Done][..]))
            .prop_map(|(table, state)| Step::Set { table, state }),
    ];
    proptest::collection::vec(step, 1..25)
}

/// Tables 0 and 1 are in one schema, 2 and 3 in another.
fn table_key(table: u8) -> TableKey {
    ("ds".to_owned(), format!("s{}", table / 2), format!("t{table}"))
}

fn partition_key(table: u8, partition: u8) -> PartitionKey {
    crate::key::partition_of(&table_key(table), format!("p={partition}"))
}

fn version(number: i64) -> Version {
    Version { number, commit_time_ms: Some(number + 1) }
}

fn migrated(number: i64, place: u8) -> Migrated {
    Migrated { number, commit_time_ms: Some(number + 1), table_id: format!("id{place}"), target: None }
}

fn apply(tx: &mut Tx<'_>, at: usize, step: &Step) -> Result<()> {
    match step {
        Step::Scan { table, partitions, version: number, size } => {
            let key = table_key(*table);
            let mut record = tx.get(&TABLES, &key)?.unwrap_or_default();
            record.delete_time_ms = 0;
            record.facts =
                TableFacts { version: Some(version(*number)), size_bytes: Some(*size), ..TableFacts::default() };
            for number in 0..4 {
                let own = partition_key(*table, number);
                let known = tx.get(&PARTITIONS, &own)?;
                if known.is_none() && !partitions.contains(&number) {
                    continue;
                }
                let mut partition = known.unwrap_or_default();
                partition.delete_time_ms = i64::from(!partitions.contains(&number));
                save_partition(tx, &mut record, &own, &partition)?;
            }
            let mut schema = tx.get(&SCHEMAS, &(key.0.clone(), key.1.clone()))?.unwrap_or_default();
            schema.delete_time_ms = 0;
            save_schema(tx, &(key.0.clone(), key.1.clone()), schema)?;
            save_table(tx, &key, record)?;
        }
        Step::TableGone(table) => {
            if let Some(mut record) = tx.get(&TABLES, &table_key(*table))? {
                record.delete_time_ms = 1;
                save_table(tx, &table_key(*table), record)?;
            }
        }
        Step::SchemaGone(number) => {
            let key = ("ds".to_owned(), format!("s{number}"));
            if let Some(mut schema) = tx.get(&SCHEMAS, &key)? {
                schema.delete_time_ms = 1;
                save_schema(tx, &key, schema)?;
            }
        }
        Step::Report { table, partitions, state, version: number, place } => {
            let report = Report {
                of_part: false,
                task: "dataSources/ds/jobs/j/tasks/t000000".to_owned(),
                sequence: i64::try_from(at).unwrap() + 1,
                table: table_key(*table),
                partitions: partitions.iter().map(|number| format!("p={number}")).collect(),
                state: *state,
                migrated: Some(migrated(*number, *place)),
                rules_digest: Vec::new(),
                target_digest: Vec::new(),
            };
            migration::report(tx, 1, &report)?;
            assert!(!migration::report(tx, 1, &report)?, "a report is applied once");
        }
        Step::Reset(table) => {
            migration::reset(tx, &table_key(*table), None)?;
            let table = tx.get(&TABLES, &table_key(*table))?;
            assert!(table.is_none_or(|table| !migration::claims_anything(&table)));
        }
        Step::Set { table, state } => drop(migration::set(tx, &[Subject::Table(table_key(*table))], *state)),
    }
    Ok(())
}

/// Recounts everything from the partitions up and compares.
fn recount(tx: &Tx<'_>) -> Result<()> {
    let mut parts: BTreeMap<TableKey, (Counts, Vec<Migrated>)> = BTreeMap::new();
    tx.scan(&PARTITIONS, &Scope::all(), |key, partition| {
        if partition.delete_time_ms == 0 {
            let (counts, migrated) = parts.entry((key.0, key.1, key.2)).or_default();
            counts.shift(&Counts::one(State::of(partition.state)), 1);
            migrated.extend(partition.migrated);
        }
        ControlFlow::Continue(())
    })?;
    let mut schemas: BTreeMap<SchemaKey, Schema> = BTreeMap::new();
    tx.scan(&TABLES, &Scope::all(), |key, table| {
        let (counts, migrated) = parts.get(&key).cloned().unwrap_or_default();
        assert_eq!(table.partitions, counts, "{key:?}");
        if counts.total() > 0 {
            assert_eq!(State::of(table.state), counts.rolled_up(), "{key:?}");
            let whole = migrated.iter().all(|one| one.table_id == migrated[0].table_id);
            let told = table.migrated.as_ref().map(|told| (told.table_id.as_str(), told.number));
            let oldest = migrated.iter().min_by_key(|one| (&one.table_id, one.number));
            let wanted = oldest.map(|one| (if whole { one.table_id.as_str() } else { "" }, one.number));
            assert_eq!(told, wanted, "{key:?}");
        }
        let schema = schemas.entry((key.0, key.1)).or_default();
        if table.delete_time_ms == 0 {
            schema.tables.shift(&Counts::one(State::of(table.state)), 1);
            schema.partitions.shift(&counts, 1);
            schema.size_bytes += table.facts.size_bytes.unwrap_or(0);
        }
        ControlFlow::Continue(())
    })?;
    let mut summary = Summary::default();
    tx.scan(&SCHEMAS, &Scope::all(), |key, schema| {
        let counted = schemas.remove(&key).unwrap_or_default();
        assert_eq!((&schema.tables, &schema.partitions), (&counted.tables, &counted.partitions), "{key:?}");
        assert_eq!(schema.size_bytes, counted.size_bytes, "{key:?}");
        if schema.delete_time_ms == 0 {
            summary.schemas.shift(&Counts::one(counted.tables.rolled_up()), 1);
            summary.tables.shift(&counted.tables, 1);
            summary.partitions.shift(&counted.partitions, 1);
            summary.size_bytes += counted.size_bytes;
        }
        ControlFlow::Continue(())
    })?;
    assert!(schemas.is_empty(), "every table has its schema");
    assert_eq!(tx.get(&SUMMARIES, &"ds".to_owned())?.unwrap_or_default(), summary);
    Ok(())
}

proptest! {
    #[test]
    fn counters_are_what_counting_gives(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let store = Store::in_memory(store::schema()).unwrap();
        for (at, step) in steps.into_iter().enumerate() {
            runtime.block_on(store.commit(move |tx| {
                apply(tx, at, &step)?;
                recount(tx)
            })).unwrap();
        }
    }
}
