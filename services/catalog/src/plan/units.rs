//! Groups source partitions into target units, which are written as a whole. Two partitions with the same target partition move
//! together. Pure.

use std::collections::{BTreeMap, BTreeSet};

use mms_delta::TableTotals;
use mms_mapping::{MappedPartition, PARTITIONS_MAX, PartitionMapping, partition_clashes};

use mms_proto::FindingReason;
use mms_proto::types::v1::Severity;

use super::chosen::Chosen;
use super::finding::Note;

/// How many findings of one reason are listed one by one; the rest become one finding with their number.
const TOLD: usize = 10;

/// One target partition, or the whole of an unpartitioned target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Target columns and values, by level; empty for an unpartitioned target.
    pub target: Vec<(String, String)>,
}

impl Unit {
    fn place(&self) -> Vec<(&str, &str)> {
        self.target.iter().map(|(column, value)| (column.as_str(), value.as_str())).collect()
    }
}

/// All units of a table, in the order of their target partitions.
#[derive(Debug, Clone, Default)]
pub struct Units {
    units: Vec<Unit>,
    /// The unit of each source partition, indexed by the partition's number. None if it is not selected.
    by_source: Vec<Option<usize>>,
    /// Whether the rows of each unit are at the target already. Empty if that was not determined.
    at_target: Vec<bool>,
}

impl Units {
    /// Groups the selected source partitions by target partition. Adds blockers for values that cannot be carried, for different
    /// partitions that would become the same, for target partitions that are only partly selected, and for too many units.
    pub fn of(mapping: &PartitionMapping, totals: &TableTotals, chosen: &Chosen, notes: &mut Vec<Note>) -> Self {
        if mapping.levels.is_empty() {
            // All files of an unpartitioned source have partition number 0.
            let by_source = vec![Some(0); totals.numbers().max(1)];
            return Self { units: vec![Unit { target: Vec::new() }], by_source, at_target: Vec::new() };
        }
        let partitions = totals.partitions();
        let mut refused = Vec::new();
        let mut mapped: Vec<(MappedPartition, usize)> = Vec::with_capacity(partitions.len());
        let mut left: Vec<MappedPartition> = Vec::new();
        for (number, partition) in partitions {
            match (mapping.map(&partition.values.iter().cloned().collect()), chosen.takes(number)) {
                (Ok(target), true) => mapped.push((target, number)),
                (Ok(target), false) => left.push(target),
                (Err(error), true) => refused.push(error.to_string()),
                (Err(_), false) => {}
            }
        }
        tell_split(&mapped, &left, notes);
        let remedy = "map the characters of partition values, or leave these partitions out";
        tell(FindingReason::PartitionValueUnsupported, refused, remedy, notes);
        tell_rewritten(mapping, &mapped, notes);
        let clashes = partition_clashes(mapped.iter().map(|(target, _)| target));
        let clashes = clashes
            .iter()
            .map(|clash| format!("different partitions would become {}: {:?}", clash.target, clash.sources));
        let remedy = "map the characters of partition values so that different values stay different";
        tell(FindingReason::PartitionClash, clashes.collect(), remedy, notes);
        let mut grouped: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        for (target, partition) in mapped {
            grouped.entry(target.target).or_default().push(partition);
        }
        let mut all = Self {
            units: Vec::with_capacity(grouped.len()),
            by_source: vec![None; totals.numbers()],
            at_target: Vec::new(),
        };
        for (target, sources) in grouped {
            for source in sources {
                if let Some(unit) = all.by_source.get_mut(source) {
                    *unit = Some(all.units.len());
                }
            }
            let target = target.0.into_iter().map(|(column, value)| (column.to_string(), value)).collect();
            all.units.push(Unit { target });
        }
        if all.units.len() as u64 > PARTITIONS_MAX {
            notes.push(Note::blocker(
                FindingReason::TooManyPartitions,
                format!("the target would have {} partitions, the limit is {PARTITIONS_MAX}", all.units.len()),
                "make a table of it with CREATE TABLE ... AS SELECT that has coarser partitions, and move that",
            ));
        }
        all
    }

    /// The number of units.
    pub fn len(&self) -> usize {
        self.units.len()
    }

    /// All units, in order.
    pub fn units(&self) -> &[Unit] {
        &self.units
    }

    /// The number of each unit, by the columns and values of its target partition.
    pub fn places(&self) -> BTreeMap<Vec<(&str, &str)>, usize> {
        self.units.iter().enumerate().map(|(number, unit)| (unit.place(), number)).collect()
    }

    /// Marks the units whose rows are at the target already.
    pub fn mark(&mut self, at_target: Vec<bool>) {
        self.at_target = at_target;
    }

    /// Whether the rows of a unit are known to be at the target already.
    pub fn is_at_target(&self, unit: usize) -> bool {
        self.at_target.get(unit).copied().unwrap_or(false)
    }

    /// The number of the unit that a source partition belongs to; None if it is not selected.
    pub fn unit_of(&self, partition: usize) -> Option<usize> {
        self.by_source.get(partition).copied().flatten()
    }

    /// The numbers of each unit's source partitions.
    pub fn sources(&self) -> Vec<Vec<usize>> {
        let mut sources = vec![Vec::new(); self.units.len()];
        for (partition, unit) in self.by_source.iter().enumerate() {
            if let Some(found) = unit.and_then(|unit| sources.get_mut(unit)) {
                found.push(partition);
            }
        }
        sources
    }
}

/// Blocks target partitions of which only some source partitions are selected: a unit is written as a whole.
fn tell_split(mapped: &[(MappedPartition, usize)], left: &[MappedPartition], notes: &mut Vec<Note>) {
    let left: BTreeSet<_> = left.iter().map(|partition| &partition.target).collect();
    let split: BTreeSet<_> =
        mapped.iter().map(|(partition, _)| &partition.target).filter(|at| left.contains(at)).collect();
    let texts = split.into_iter().map(|target| {
        format!("{target} is made of several source partitions, of which the job takes some and leaves others")
    });
    let remedy = "take all of them or none: choose by the first six partition columns only";
    tell(FindingReason::TargetPartitionSplit, texts.collect(), remedy, notes);
}

/// One note for all values that the character mapping rewrites, listing the first few.
fn tell_rewritten(mapping: &PartitionMapping, mapped: &[(MappedPartition, usize)], notes: &mut Vec<Note>) {
    let all: BTreeSet<_> = mapped.iter().flat_map(|(target, _)| mapping.rewritten(target)).collect();
    if all.is_empty() {
        return;
    }
    let told = all.iter().take(TOLD).map(|(column, from, to)| format!("{column}: `{from}` becomes `{to}`"));
    let told = told.collect::<Vec<_>>().join(", ");
    let more = if all.len() > TOLD { ", and so on" } else { "" };
    let text = format!("the character mapping rewrites {} partition values: {told}{more}", all.len());
    notes.push(Note::new(Severity::Note, FindingReason::PartitionValueRenamed, text, ""));
}

fn tell(reason: FindingReason, texts: Vec<String>, remedy: &str, notes: &mut Vec<Note>) {
    let more = texts.len().saturating_sub(TOLD);
    notes.extend(texts.into_iter().take(TOLD).map(|text| Note::blocker(reason, text, remedy)));
    if more > 0 {
        notes.push(Note::blocker(reason, format!("the same for {more} more partitions"), remedy));
    }
}
