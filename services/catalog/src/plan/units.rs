//! Target units: which source partitions move together, and which units fit into memory together. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use mms_delta::{PartitionTotals, PartitionValues};
use mms_mapping::{MappedPartition, PARTITIONS_MAX, PartitionMapping, partition_clashes};

use mms_proto::FindingReason;
use mms_proto::types::v1::Severity;

use super::finding::Note;

/// Findings of one kind that are told one by one.
const TOLD: usize = 10;

/// One target partition, or the whole of an unpartitioned target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Target column and value, by level.
    pub target: Vec<(String, String)>,
    /// Files that fall into it.
    pub files: u64,
}

/// All units of a table, in the order of their target partitions.
#[derive(Debug, Clone, Default)]
pub struct Units {
    units: Vec<Unit>,
    by_source: BTreeMap<PartitionValues, usize>,
}

impl Units {
    /// Groups the partitions of a source by where they go.
    pub fn of(mapping: &PartitionMapping, partitions: &[PartitionTotals], files: u64, notes: &mut Vec<Note>) -> Self {
        if mapping.levels.is_empty() {
            let by_source = partitions.iter().map(|partition| (partition.values.clone(), 0)).collect();
            return Self { units: vec![Unit { target: Vec::new(), files }], by_source };
        }
        let mut refused = Vec::new();
        let mut mapped: Vec<(MappedPartition, &PartitionTotals)> = Vec::with_capacity(partitions.len());
        for partition in partitions {
            match mapping.map(&partition.values.iter().cloned().collect()) {
                Ok(target) => mapped.push((target, partition)),
                Err(error) => refused.push(error.to_string()),
            }
        }
        let remedy = "map the characters of partition values, or leave these partitions out";
        tell(FindingReason::PartitionValueUnsupported, refused, remedy, notes);
        tell_rewritten(mapping, &mapped, notes);
        let clashes = partition_clashes(mapped.iter().map(|(target, _)| target));
        let clashes = clashes
            .iter()
            .map(|clash| format!("different partitions would become {}: {:?}", clash.target, clash.sources));
        let remedy = "map the characters of partition values so that different values stay different";
        tell(FindingReason::PartitionClash, clashes.collect(), remedy, notes);
        let mut grouped: BTreeMap<_, Vec<&PartitionTotals>> = BTreeMap::new();
        for (target, partition) in mapped {
            grouped.entry(target.target).or_default().push(partition);
        }
        let mut all = Self::default();
        for (target, sources) in grouped {
            let number = all.units.len();
            let files = sources.iter().map(|source| source.totals.files).sum();
            all.by_source.extend(sources.into_iter().map(|source| (source.values.clone(), number)));
            let target = target.0.into_iter().map(|(column, value)| (column.to_string(), value)).collect();
            all.units.push(Unit { target, files });
        }
        if all.units.len() as u64 > PARTITIONS_MAX {
            notes.push(Note::blocker(
                FindingReason::TooManyPartitions,
                format!("the target would have {} partitions, the limit is {PARTITIONS_MAX}", all.units.len()),
                "move a view with coarser partitions",
            ));
        }
        all
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.units.len()
    }

    /// The units.
    pub fn units(&self) -> &[Unit] {
        &self.units
    }

    /// The number of the unit that a source partition falls into.
    pub fn unit_of(&self, partition: &PartitionValues) -> Option<usize> {
        // Files of an unpartitioned source are not listed by partition.
        if partition.is_empty() && self.units.len() == 1 { Some(0) } else { self.by_source.get(partition).copied() }
    }

    /// Units whose files are gathered in one reading of the log: at most so many files together, or one unit alone.
    pub fn batches(&self, files: usize) -> Vec<Range<usize>> {
        let limit = files as u64;
        let (mut batches, mut begin, mut sum) = (Vec::new(), 0, 0_u64);
        for (number, unit) in self.units.iter().enumerate() {
            if number > begin && sum.saturating_add(unit.files) > limit {
                batches.push(begin..number);
                (begin, sum) = (number, 0);
            }
            sum = sum.saturating_add(unit.files);
        }
        if begin < self.units.len() {
            batches.push(begin..self.units.len());
        }
        batches
    }
}

/// One note of all values that arrive under another text, with the first few.
fn tell_rewritten(mapping: &PartitionMapping, mapped: &[(MappedPartition, &PartitionTotals)], notes: &mut Vec<Note>) {
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
        notes.push(Note::blocker(reason, format!("the same of {more} further partitions"), remedy));
    }
}
