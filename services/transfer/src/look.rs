//! LOOK: inspects the whole target table after every task of the job has ended. Checks whether it is the table that was
//! written, and whether it has all that the scheduler knows as published. Only reports what it finds; the scheduler decides
//! what follows.

use std::collections::{BTreeMap, BTreeSet};

use mms_mapping::NONCE_PROPERTY;
use mms_maxcompute::metadata::{PartitionInfo, TableInfo, state_digest};
use mms_maxcompute::table::PartitionSpec;
use mms_proto::scheduler::v1 as pb;
use mms_proto::types::v1::{PartitionValue, TargetIdentity, TargetPolicy};

use crate::context::Run;
use crate::count::{self, Levels, levels};
use crate::error::Result;
use crate::identity;
use crate::publish::{self, values};
use crate::target::Target;

/// The most units that differ, and surplus partitions, that one report names.
const DIFFERENT_SHOWN: usize = 1_000;
const SURPLUS_SHOWN: usize = 100;
/// Partitions that one statement drops.
const DROPPED_AT_ONCE: usize = 100;

/// The table at the target, as the service describes it.
struct Seen {
    table: TableInfo,
    partitions: Vec<PartitionInfo>,
}

/// The state of an unpartitioned table, and its rows, counted after the state was read. Such a table has one task, which verifies
/// and looks at it by this one count.
pub struct Sight {
    seen: Seen,
    rows: u64,
}

impl Sight {
    /// Reads and counts the table, if it is unpartitioned and this task is to look at it. None also if that fails: each step then
    /// asks for itself and reports the failure.
    pub async fn take(run: &Run, target: &Target, wanted: &TargetIdentity) -> Option<Self> {
        let alone = target.definition.partition_columns.is_empty();
        if !alone || !run.spec.steps.contains(&(pb::TaskStep::Look as i32)) {
            return None;
        }
        let seen = see(target, Some(wanted)).await.ok()?;
        let rows = count::table(target).await.ok()?;
        Some(Self { seen, rows })
    }

    /// Rows of the whole table.
    pub fn rows(&self) -> u64 {
        self.rows
    }
}

/// Checks that the table is the wanted one, if that is known, and compares its rows with what was published. With policy
/// REPLACE drops the partitions that the plan does not have, otherwise those that the scheduler names because their source is
/// gone. `sight` is what this attempt has just seen of the table, if it has.
pub async fn run(
    run: &Run,
    target: &Target,
    wanted: Option<&TargetIdentity>,
    sight: Option<Sight>,
) -> Result<(pb::StepDone, Vec<String>)> {
    let (expected, gone) = expected(run, target).await?;
    let (mut seen, rows) = match sight {
        Some(sight) => (sight.seen, Some(sight.rows)),
        None => (see(target, wanted).await?, None),
    };
    let mut beyond = beyond(&expected, &seen.partitions);
    let mut lines = Vec::new();
    let replaces = run.spec.target_policy() == TargetPolicy::Replace;
    let dropped: Vec<PartitionSpec> =
        beyond.iter().filter(|spec| replaces || gone.contains(&levels(spec))).cloned().collect();
    if !dropped.is_empty() {
        let which = if replaces { "that the plan does not have" } else { "whose source is gone" };
        lines.push(format!("{} partitions {which} are dropped", dropped.len()));
        for specs in dropped.chunks(DROPPED_AT_ONCE) {
            publish::drop_partitions(run, target, specs).await?;
        }
        seen = see(target, wanted).await?;
        beyond = self::beyond(&expected, &seen.partitions);
    }
    // The digest is of the state before the rows are counted: whoever writes from now on changes it.
    let digest = state_digest(&seen.table, &seen.partitions, NONCE_PROPERTY);
    let counted = match rows {
        Some(rows) => BTreeMap::from([(Levels::new(), rows)]),
        None => counted(target, &expected, &seen.partitions).await?,
    };
    let different: Vec<pb::LookedUnit> = expected
        .values()
        .filter_map(|unit| difference(unit, &counted).map(|rows| looked(&unit.values, rows)))
        .collect();
    let rows = counted.values().copied().fold(0, u64::saturating_add);
    lines.push(format!("looked at {} units with {rows} rows, {} differ", expected.len(), different.len()));
    let look = pb::TargetLook {
        identity: Some(identity::of(&seen.table)),
        rows: number(rows),
        different_count: number(different.len() as u64),
        different: different.into_iter().take(DIFFERENT_SHOWN).collect(),
        surplus_count: number(beyond.len() as u64),
        surplus: beyond.iter().take(SURPLUS_SHOWN).map(|spec| looked(&values(spec), None)).collect(),
        state_digest: digest.to_vec().into(),
    };
    let step = pb::TaskStep::Look as i32;
    Ok((pb::StepDone { step, look: Some(look), ..pb::StepDone::default() }, lines))
}

/// A unit that the job published, or whose partition it made (then `rows` is None).
struct Expected {
    values: Vec<PartitionValue>,
    spec: Option<PartitionSpec>,
    rows: Option<u64>,
}

/// What is to be there, and what is to go if it is there.
async fn expected(run: &Run, target: &Target) -> Result<(BTreeMap<Levels, Expected>, BTreeSet<Levels>)> {
    let told = run
        .peers
        .published_units(&pb::ReadPublishedUnitsRequest {
            worker: run.me.worker.clone(),
            task: run.spec.name.clone(),
            epoch: Some(run.epoch),
        })
        .await?;
    let mut expected = BTreeMap::new();
    for unit in told.units {
        let spec = target.partition(&unit.partition)?;
        let key = spec.as_ref().map(levels).unwrap_or_default();
        let rows = unit.rows.and_then(|rows| u64::try_from(rows).ok());
        expected.insert(key, Expected { values: unit.partition, spec, rows });
    }
    let mut gone = BTreeSet::new();
    for partition in told.drops {
        gone.extend(target.partition(&partition.values)?.as_ref().map(levels));
    }
    Ok((expected, gone))
}

/// Reads the table and its partitions; an error if it is not the wanted one.
async fn see(target: &Target, wanted: Option<&TargetIdentity>) -> Result<Seen> {
    let name = &target.definition.target;
    let Some(mut table) = target.project.table_summary(name).await? else { return Err(identity::gone(target, None)) };
    match wanted.filter(|wanted| identity::proves(wanted, &table)) {
        // The service's own id says that it is the table that we marked: its properties need not be read again.
        Some(wanted) => drop(table.properties.insert(NONCE_PROPERTY.to_owned(), wanted.nonce.clone())),
        None => {
            let whole = target.project.with_properties(table).await?;
            table = whole.ok_or_else(|| identity::gone(target, None))?;
        }
    }
    let found = identity::of(&table);
    if wanted.is_some_and(|wanted| !identity::same(wanted, &found)) {
        return Err(identity::gone(target, Some(found)));
    }
    let partitioned = !target.definition.partition_columns.is_empty();
    let partitions = if partitioned { target.project.partitions(name).await? } else { Vec::new() };
    Ok(Seen { table, partitions })
}

/// Partitions at the target that the plan does not have.
fn beyond(expected: &BTreeMap<Levels, Expected>, there: &[PartitionInfo]) -> Vec<PartitionSpec> {
    let all = there.iter().map(|part| &part.spec);
    all.filter(|spec| !expected.contains_key(&levels(spec))).cloned().collect()
}

/// Counts the rows of the expected units that exist.
async fn counted(
    target: &Target,
    expected: &BTreeMap<Levels, Expected>,
    there: &[PartitionInfo],
) -> Result<BTreeMap<Levels, u64>> {
    if target.definition.partition_columns.is_empty() {
        let rows = if expected.values().any(|unit| unit.rows.is_some()) { count::table(target).await? } else { 0 };
        return Ok(BTreeMap::from([(Levels::new(), rows)]));
    }
    let there: BTreeSet<Levels> = there.iter().map(|part| levels(&part.spec)).collect();
    let present = expected.iter().filter(|(key, _)| there.contains(*key));
    let asked: Vec<PartitionSpec> =
        present.clone().filter(|(_, unit)| unit.rows.is_some()).filter_map(|(_, unit)| unit.spec.clone()).collect();
    let found = count::partitions(target, &asked).await?;
    // A partition without rows is not in the result.
    Ok(present.map(|(key, _)| (key.clone(), found.get(key).copied().unwrap_or(0))).collect())
}

/// None if the unit is as expected; else Some of the rows that it has, which are None if it does not exist.
fn difference(unit: &Expected, counted: &BTreeMap<Levels, u64>) -> Option<Option<u64>> {
    let key = unit.spec.as_ref().map(levels).unwrap_or_default();
    match (unit.rows, counted.get(&key)) {
        (Some(expected), Some(found)) if expected == *found => None,
        (None, Some(_)) => None,
        (_, found) => Some(found.copied()),
    }
}

fn looked(values: &[PartitionValue], rows: Option<u64>) -> pb::LookedUnit {
    pb::LookedUnit { partition: values.to_vec(), rows: rows.map(number) }
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use mms_maxcompute::name::ColumnName;

    use super::*;

    fn unit(value: &str, rows: Option<u64>) -> (Levels, Expected) {
        let spec = PartitionSpec(vec![(ColumnName::new("pt").expect("a name"), value.to_owned())]);
        (levels(&spec), Expected { values: values(&spec), spec: Some(spec), rows })
    }

    #[test]
    fn a_unit_differs_when_it_is_gone_or_has_other_rows() {
        let counted = BTreeMap::from([(vec!["a".to_owned()], 3), (vec!["b".to_owned()], 0)]);
        let of = |value, rows| difference(&unit(value, rows).1, &counted);
        assert_eq!(of("a", Some(3)), None);
        assert_eq!(of("a", Some(4)), Some(Some(3)));
        assert_eq!(of("b", Some(0)), None);
        assert_eq!(of("b", Some(1)), Some(Some(0)));
        assert_eq!(of("c", Some(0)), Some(None), "an empty partition is a partition");
        assert_eq!((of("b", None), of("c", None)), (None, Some(None)), "a job without rows makes partitions");
    }

    #[test]
    fn what_no_plan_has_is_beyond_it() {
        let part = |value| PartitionInfo {
            spec: unit(value, None).1.spec.expect("partitioned"),
            created: None,
            last_modified: None,
            record_count: None,
            size_bytes: None,
        };
        let expected = BTreeMap::from([unit("a", Some(1))]);
        let found: Vec<String> = beyond(&expected, &[part("a"), part("z")]).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["pt=z"]);
    }
}
