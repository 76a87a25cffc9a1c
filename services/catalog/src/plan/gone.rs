//! Finds target partitions whose source partitions do not exist any more. It must never name a partition that does not exist at
//! the target, that the catalog does not know to have been moved, or that the plan still writes: what is named may be dropped.
//! Pure.

use std::collections::BTreeSet;

use mms_mapping::PartitionMapping;
use mms_proto::FindingReason;
use mms_proto::name::{PartitionId, Segment};
use mms_proto::types::v1::Severity;

use super::finding::Note;
use super::units::Units;

/// The most partitions that one plan names (`GONE_MAX`), and the most that its finding lists (`TOLD`).
pub const GONE_MAX: usize = 1_000;
const TOLD: usize = 10;

/// Columns and values of a target partition, by level.
pub type Values = Vec<(String, String)>;

/// Returns the target partitions that removed source partitions map to, without those that the plan still writes. `gone` are the
/// last segments of the source partitions' names.
pub fn places<'a>(units: &Units, mapping: &PartitionMapping, gone: impl Iterator<Item = &'a str>) -> BTreeSet<Values> {
    if mapping.levels.is_empty() {
        return BTreeSet::new();
    }
    let planned = units.places();
    let target = |segment: &str| {
        let id = PartitionId::parse_segment(segment).ok()?;
        let target = mapping.map(&id.levels().iter().cloned().collect()).ok()?.target;
        Some(target.0.into_iter().map(|(column, value)| (column.to_string(), value)).collect::<Values>())
    };
    let is_planned = |values: &Values| {
        let values: Vec<(&str, &str)> =
            values.iter().map(|(column, value)| (column.as_str(), value.as_str())).collect();
        planned.contains_key(&values)
    };
    gone.filter_map(target).filter(|values| !is_planned(values)).collect()
}

/// Returns those of `places` that exist at the target, at most [`GONE_MAX`], and a finding about them if there are any.
pub fn there(places: BTreeSet<Values>, at_target: &BTreeSet<Vec<String>>) -> (Vec<Values>, Option<Note>) {
    let levels = |values: &Values| values.iter().map(|(_, value)| value.clone()).collect::<Vec<_>>();
    let mut there: Vec<Values> = places.into_iter().filter(|values| at_target.contains(&levels(values))).collect();
    if there.is_empty() {
        return (there, None);
    }
    let shown = |values: &Values| {
        let levels: Vec<String> = values.iter().map(|(column, value)| format!("{column}={value}")).collect();
        levels.join("/")
    };
    let more = if there.len() > TOLD { ", and so on" } else { "" };
    let names: Vec<String> = there.iter().take(TOLD).map(shown).collect();
    let text = format!(
        "{} partitions of the target have no source partition any more: {}{more}",
        there.len(),
        names.join(", ")
    );
    let remedy = "they stay with dropped_policy KEEP, and are dropped with DROP, at most 1,000 by one job";
    there.truncate(GONE_MAX);
    (there, Some(Note::new(Severity::Note, FindingReason::SourcePartitionsGone, text, remedy)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::changed::tests::{mapping, units};

    #[test]
    fn only_what_was_moved_is_there_and_is_planned_no_more_is_gone() {
        let mapping = mapping(&["p"]);
        let units = units(&mapping, &[&["1"], &["2"]]);
        let gone = places(&units, &mapping, ["p=2", "p=3", "p=4", "no segment"].into_iter());
        let values = |value: &str| vec![("p".to_owned(), value.to_owned())];
        assert_eq!(gone, BTreeSet::from([values("3"), values("4")]), "the plan has p=2");
        let at_target = BTreeSet::from([vec!["1".to_owned()], vec!["4".to_owned()], vec!["9".to_owned()]]);
        let (named, note) = there(gone, &at_target);
        assert_eq!(named, [values("4")]);
        let told = note.expect("a finding").to_pb("t");
        assert_eq!(told.reason(), FindingReason::SourcePartitionsGone);
        assert!(told.message.contains("1 partitions") && told.message.contains("p=4"), "{}", told.message);
        assert_eq!(there(BTreeSet::from([values("3")]), &at_target), (Vec::new(), None));
        let many: BTreeSet<Values> = (0..1_500).map(|n| values(&n.to_string())).collect();
        let all = (0..1_500).map(|n| vec![n.to_string()]).collect();
        assert_eq!(there(many, &all).0.len(), GONE_MAX);
    }
}
