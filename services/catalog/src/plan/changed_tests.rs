//! Compares the units that are not moved again with the rows of the version at the target and of the newest version.

use std::collections::BTreeSet;

use mms_delta::{LoggedFile, TableTotals};
use mms_mapping::{CharacterMap, PartitionLevel, SparkType};
use mms_maxcompute::name::ColumnName;
use mms_maxcompute::types::DataType;
use proptest::prelude::*;

use super::*;
use crate::plan::chosen::Chosen;

/// A mapping that carries these text columns unchanged.
pub fn mapping(columns: &[&str]) -> PartitionMapping {
    let level = |column: &&str| PartitionLevel {
        source: (*column).to_owned(),
        source_type: SparkType::String,
        target: ColumnName::new(*column).expect("legal"),
        target_type: DataType::String,
    };
    PartitionMapping { levels: columns.iter().map(level).collect(), characters: CharacterMap::default() }
}

/// The units of partitions by `p` and, where there are two values, `q`.
pub fn units(mapping: &PartitionMapping, partitions: &[&[&str]]) -> Units {
    Units::of(mapping, &totals(partitions), &Chosen::default(), &mut Vec::new())
}

fn values(partition: &[&str]) -> PartitionValues {
    ["p", "q"].iter().zip(partition).map(|(column, value)| ((*column).to_owned(), Some((*value).to_owned()))).collect()
}

fn totals(partitions: &[&[&str]]) -> TableTotals {
    let mut totals = TableTotals::default();
    for (number, partition) in partitions.iter().enumerate() {
        let partition_values = &*values(partition);
        totals.add(&LoggedFile {
            path: "",
            size: 1,
            rows: Some(1),
            partition: number,
            partition_values,
            deletion_vector: None,
            stats: None,
        });
    }
    totals
}

/// The rows of a source partition after each version.
type History = Vec<BTreeSet<u8>>;

proptest! {
    /// Units of two source partitions each. Whichever version was moved, and whatever changed since: a unit that is not moved has
    /// the rows of the newest version at the target, and a unit that is moved although its rows are the same was touched by a
    /// commit with changes.
    #[test]
    fn what_is_kept_has_the_rows_of_the_newest_version(
        histories in proptest::collection::vec(proptest::collection::vec(proptest::option::of(0..3_u8), 5), 6),
        moved in proptest::collection::vec(proptest::option::of(0..6_usize), 6),
    ) {
        let name = |at: usize| [["0", "0"], ["0", "1"], ["1", "0"], ["1", "1"], ["2", "0"], ["2", "1"]][at];
        // Version 0 has one row in each partition. Each commit may set the rows of a partition, even to none.
        let rows: Vec<History> = histories.iter().map(|commits| {
            let mut all = vec![BTreeSet::from([9])];
            for commit in commits {
                let next = commit.map_or_else(|| all[all.len() - 1].clone(), |rows| (0..rows).collect());
                all.push(next);
            }
            all
        }).collect();
        let live: Vec<usize> = (0..6).filter(|at| !rows[*at][5].is_empty()).collect();
        let names: Vec<[&str; 2]> = live.iter().map(|at| name(*at)).collect();
        let names: Vec<&[&str]> = names.iter().map(<[&str; 2]>::as_slice).collect();
        let mapping = mapping(&["p"]);
        let units = units(&mapping, &names);
        let changed = (0..6).filter_map(|at| {
            let last = histories[at].iter().rposition(Option::is_some)?;
            Some((values(&name(at)), last as u64 + 1))
        });
        let changes = Changes::Of(changed.collect());
        let version = |source: usize| moved[live[source]].map(|version| version as u64);
        let versions = versions(&units, version);
        let kept = at_target(&units, &mapping, &versions, &changes, |_| true).expect("known");
        prop_assert_eq!(kept.len(), units.len());
        for (unit, kept) in units.units().iter().zip(&kept) {
            let own: Vec<usize> = (0..6).filter(|at| name(*at)[0] == unit.target[0].1).collect();
            let there = own.iter().filter(|at| live.contains(at)).map(|at| moved[*at]).collect::<Option<Vec<_>>>();
            let Some(oldest) = there.and_then(|each| each.into_iter().min()) else {
                prop_assert!(!kept, "it was never moved");
                continue;
            };
            // Each of its partitions was moved at the oldest version or later; the unit may be kept only if none was touched
            // since.
            let touched = own.iter().any(|at| histories[*at].iter().skip(oldest).any(Option::is_some));
            prop_assert_eq!(*kept, !touched);
            if *kept {
                let at = |version: usize| own.iter().map(|at| rows[*at][version].clone()).collect::<Vec<_>>();
                prop_assert_eq!(at(oldest), at(5));
            }
        }
    }
}

#[test]
fn what_the_log_does_not_tell_is_a_reason_for_the_whole_table() {
    let mapping = mapping(&["p"]);
    let units = units(&mapping, &[&["1"], &["2"]]);
    let unknown = Changes::Unknown("commit 3 is gone".to_owned());
    let why = at_target(&units, &mapping, &[Some(1), Some(1)], &unknown, |_| true).expect_err("unknown");
    let told = whole(&why).to_pb("t");
    assert_eq!(told.reason(), FindingReason::ChangedUnitsWhole);
    assert!(told.message.contains("commit 3 is gone"), "{}", told.message);
    // A partition value that the target cannot hold: it cannot be told which unit it belonged to.
    let odd = Changes::Of(BTreeMap::from([(values(&["a/b"]), 2)]));
    assert!(at_target(&units, &mapping, &[Some(1), Some(1)], &odd, |_| true).is_err());
    // A unit whose rows the log does not count cannot be verified, so it is moved.
    let none = Changes::Of(BTreeMap::new());
    assert_eq!(at_target(&units, &mapping, &[Some(1), Some(1)], &none, |unit| unit == 1), Ok(vec![false, true]));
}

#[test]
fn the_plan_says_what_stays_and_what_is_moved() {
    let mapping = mapping(&["p"]);
    let units = units(&mapping, &[&["1"], &["2"], &["3"]]);
    let told = told(&units, &[true, false, true], 4).to_pb("t");
    assert_eq!(told.reason(), FindingReason::UnitsAtTarget);
    assert!(told.message.contains("2 of 3 units") && told.message.contains("moved: p=2"), "{}", told.message);
}

#[test]
fn what_is_of_another_table_or_place_is_not_there() {
    let target = Target { project: "P".to_owned(), schema: "s".to_owned(), table: "t".to_owned() };
    let now = Now { table_id: "id", target: &target };
    let moved = Migrated { number: 3, commit_time_ms: None, table_id: "id".to_owned(), target: Some(target.clone()) };
    assert_eq!(now.version_of(&moved), Some(3));
    let folded = Target { project: "p".to_owned(), ..target.clone() };
    assert_eq!(now.version_of(&Migrated { target: Some(folded), ..moved.clone() }), Some(3));
    for other in [
        Migrated { table_id: "other".to_owned(), ..moved.clone() },
        Migrated { table_id: String::new(), ..moved.clone() },
        Migrated { target: None, ..moved.clone() },
        Migrated { target: Some(Target { table: "u".to_owned(), ..target.clone() }), ..moved.clone() },
        Migrated { number: -1, ..moved },
    ] {
        assert_eq!(now.version_of(&other), None, "{other:?}");
    }
}
