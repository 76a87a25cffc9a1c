//! LOOK: the whole target table, after every task of the job has ended. Whether it is the one that was written, and has all that
//! the scheduler knows as published. Says what it sees; what follows from it the scheduler decides.

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

/// Units that differ, and partitions beyond the plan, that one report names.
const DIFFERENT_SHOWN: usize = 1_000;
const SURPLUS_SHOWN: usize = 100;
/// Partitions that are dropped by one statement.
const DROPPED_AT_ONCE: usize = 100;

/// What is at the target, as the service describes it.
struct Seen {
    table: TableInfo,
    partitions: Vec<PartitionInfo>,
}

/// Looks whether it is the wanted one, if that is known, and drops partitions beyond the plan: all of them where the policy is to
/// replace the table, or those that the scheduler names, as their source is gone.
pub async fn run(run: &Run, target: &Target, wanted: Option<&TargetIdentity>) -> Result<(pb::StepDone, Vec<String>)> {
    let (expected, gone) = expected(run, target).await?;
    let mut seen = see(target, wanted).await?;
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
    // Taken from what was seen before the rows are counted: whoever writes from now on changes it.
    let digest = state_digest(&seen.table, &seen.partitions, NONCE_PROPERTY);
    let counted = counted(target, &expected, &seen.partitions).await?;
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

/// A unit that the job published, or made the partition of.
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

/// The table as it is, if it is the one that was written.
async fn see(target: &Target, wanted: Option<&TargetIdentity>) -> Result<Seen> {
    let name = &target.definition.target;
    let Some(table) = target.project.table(name).await? else { return Err(identity::gone(target, None)) };
    let found = identity::of(&table);
    if wanted.is_some_and(|wanted| !identity::same(wanted, &found)) {
        return Err(identity::gone(target, Some(found)));
    }
    let partitioned = !target.definition.partition_columns.is_empty();
    let partitions = if partitioned { target.project.partitions(name).await? } else { Vec::new() };
    Ok(Seen { table, partitions })
}

/// Partitions that are there and that the plan does not have.
fn beyond(expected: &BTreeMap<Levels, Expected>, there: &[PartitionInfo]) -> Vec<PartitionSpec> {
    let all = there.iter().map(|part| &part.spec);
    all.filter(|spec| !expected.contains_key(&levels(spec))).cloned().collect()
}

/// Rows of the expected units that are there.
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
    // A partition without rows does not show in the result.
    Ok(present.map(|(key, _)| (key.clone(), found.get(key).copied().unwrap_or(0))).collect())
}

/// The rows that are there in place of the expected ones; None if they are as expected.
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
