//! Which target units have at the target already what the pinned version has: those of a version that was moved there, by the same
//! rules, whose partitions no commit has changed since. Pure. It never guesses: what cannot be told is a reason to move the whole table.

use std::collections::BTreeMap;

use mms_delta::{Changes, PartitionValues};
use mms_mapping::PartitionMapping;
use mms_proto::FindingReason;
use mms_proto::types::v1::Severity;

use super::finding::Note;
use super::units::Units;
use crate::record::{Migrated, Target};
use crate::rollup::target_text;

/// Units that a finding names.
const TOLD: usize = 10;

/// What is to be moved now: of which table, and where to.
#[derive(Debug, Clone, Copy)]
pub struct Now<'a> {
    /// The id of the table in its log.
    pub table_id: &'a str,
    /// Its place at the target.
    pub target: &'a Target,
}

impl Now<'_> {
    /// The version in which something is there already; none: it is not, or it is of another table.
    pub fn version_of(&self, moved: &Migrated) -> Option<u64> {
        let here = moved.target.as_ref().is_some_and(|target| target_text(target) == target_text(self.target));
        let same = !self.table_id.is_empty() && moved.table_id == self.table_id;
        u64::try_from(moved.number).ok().filter(|_| here && same)
    }
}

/// The version that each unit has at the target: the oldest of its source partitions'. None: one of them is not there.
pub fn versions(units: &Units, moved: impl Fn(usize) -> Option<u64>) -> Vec<Option<u64>> {
    let oldest = |sources: &Vec<usize>| {
        let each: Option<Vec<u64>> = sources.iter().map(|source| moved(*source)).collect();
        each.and_then(|each| each.into_iter().min())
    };
    units.sources().iter().map(oldest).collect()
}

/// By unit: whether its rows are at the target already. `versions`: those that the units have there. `counted`: whether the log has the
/// number of a unit's rows, without which nobody could look whether they are there.
///
/// # Errors
/// Why it cannot be told of any.
pub fn at_target(
    units: &Units,
    mapping: &PartitionMapping,
    versions: &[Option<u64>],
    changes: &Changes,
    counted: impl Fn(usize) -> bool,
) -> Result<Vec<bool>, String> {
    let changed = match changes {
        Changes::Of(changed) => changed,
        Changes::Unknown(why) => return Err(why.clone()),
    };
    let newest = newest(units, mapping, changed)?;
    let unchanged = |(unit, version): (usize, &Option<u64>)| {
        version.is_some_and(|version| newest.get(&unit).is_none_or(|changed| *changed <= version)) && counted(unit)
    };
    Ok(versions.iter().enumerate().map(unchanged).collect())
}

/// The newest change of each unit that has any. A partition whose files are all gone changes the unit that it was a part of.
fn newest(
    units: &Units,
    mapping: &PartitionMapping,
    changed: &BTreeMap<PartitionValues, u64>,
) -> Result<BTreeMap<usize, u64>, String> {
    let mut newest = BTreeMap::new();
    let places = units.places();
    for (partition, version) in changed {
        let target = mapping.map(&partition.iter().cloned().collect()).map_err(|error| error.to_string())?.target;
        let values: Vec<(&str, &str)> =
            target.0.iter().map(|(column, value)| (column.as_str(), value.as_str())).collect();
        if let Some(unit) = places.get(&values) {
            let known = newest.entry(*unit).or_insert(*version);
            *known = (*known).max(*version);
        }
    }
    Ok(newest)
}

/// What people read of it in the plan.
pub fn told(units: &Units, at_target: &[bool], since: u64) -> Note {
    let kept = at_target.iter().filter(|kept| **kept).count();
    let names = units.units().iter().zip(at_target).filter(|(_, kept)| !**kept).map(|(unit, _)| {
        let levels: Vec<String> = unit.target.iter().map(|(column, value)| format!("{column}={value}")).collect();
        if levels.is_empty() { "the whole table".to_owned() } else { levels.join("/") }
    });
    let names: Vec<String> = names.take(TOLD + 1).collect();
    let moved = match names.len() {
        0 => "nothing is moved".to_owned(),
        many => {
            let more = if many > TOLD { ", and so on" } else { "" };
            format!("these are moved: {}{more}", names[..many.min(TOLD)].join(", "))
        }
    };
    let all = at_target.len();
    let text = format!("{kept} of {all} units are at the target, unchanged since version {since} or later; {moved}");
    Note::new(Severity::Note, FindingReason::UnitsAtTarget, text, "")
}

/// That the whole table is moved, though changed units were asked for.
pub fn whole(why: &str) -> Note {
    let text = format!("all of it is moved, since it cannot be told which units changed: {why}");
    Note::new(Severity::Note, FindingReason::ChangedUnitsWhole, text, "")
}

#[cfg(test)]
#[path = "changed_tests.rs"]
pub mod tests;
