//! Decides which target units already have the rows of the pinned version at the target: those that an earlier version was moved
//! into by the same rules, and whose source partitions no commit has changed since. It must never guess: where the history cannot
//! tell, the whole table is moved, and the plan says why. Pure.

use std::collections::BTreeMap;

use mms_delta::{Changes, PartitionValues};
use mms_mapping::PartitionMapping;
use mms_proto::FindingReason;
use mms_proto::types::v1::Severity;

use super::finding::Note;
use super::units::Units;
use crate::record::{Migrated, Target};
use crate::rollup::target_text;

/// The most units that a finding lists.
const TOLD: usize = 10;

/// The table that is planned now, and its target.
#[derive(Debug, Clone, Copy)]
pub struct Now<'a> {
    /// The table's id in its Delta log.
    pub table_id: &'a str,
    /// The target that it is planned to be moved to.
    pub target: &'a Target,
}

impl Now<'_> {
    /// The version of an earlier move; None if that was of another table, or to another target.
    pub fn version_of(&self, moved: &Migrated) -> Option<u64> {
        let here = moved.target.as_ref().is_some_and(|target| target_text(target) == target_text(self.target));
        let same = !self.table_id.is_empty() && moved.table_id == self.table_id;
        u64::try_from(moved.number).ok().filter(|_| here && same)
    }
}

/// The version that each unit has at the target: the oldest version of its source partitions. None if one of them was not moved.
pub fn versions(units: &Units, moved: impl Fn(usize) -> Option<u64>) -> Vec<Option<u64>> {
    let oldest = |sources: &Vec<usize>| {
        let each: Option<Vec<u64>> = sources.iter().map(|source| moved(*source)).collect();
        each.and_then(|each| each.into_iter().min())
    };
    units.sources().iter().map(oldest).collect()
}

/// Returns for each unit whether its rows are at the target already. `versions` are the versions that the units have at the
/// target. `counted` says whether the log has the number of a unit's rows: without it, nobody could verify that they are there.
///
/// # Errors
/// The reason why this cannot be decided for any unit.
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

/// The version of the newest change of each changed unit. A partition whose files were all removed changes the unit it was part
/// of.
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

/// The finding that says in the plan which units are moved and which are at the target already.
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

/// The finding that the whole table is moved although only changed units were asked for.
pub fn whole(why: &str) -> Note {
    let text = format!("all of it is moved, since it cannot be told which units changed: {why}");
    Note::new(Severity::Note, FindingReason::ChangedUnitsWhole, text, "")
}

#[cfg(test)]
#[path = "changed_tests.rs"]
pub mod tests;
