use mms_delta::LoggedFile;
use mms_mapping::{CharacterMap, PartitionLevel, PartitionMapping, SourceColumn};
use mms_maxcompute::name::ColumnName;
use mms_maxcompute::types::DataType;
use proptest::prelude::*;

use super::*;
use crate::plan::units::Units;

/// A table with these partition columns and an ordinary column `amount`.
fn table(columns: &[(&str, SparkType)]) -> SourceTable {
    let column = |(name, data_type): &(&str, SparkType)| SourceColumn {
        name: (*name).to_owned(),
        data_type: data_type.clone(),
        nullable: true,
        comment: None,
        extras: Vec::new(),
    };
    SourceTable {
        columns: columns.iter().chain([&("amount", SparkType::Long)]).map(column).collect(),
        partition_columns: columns.iter().map(|(name, _)| (*name).to_owned()).collect(),
        ..SourceTable::default()
    }
}

/// One file of one byte and two rows in each of these partitions.
fn totals(columns: &[(&str, SparkType)], partitions: &[&[Option<&str>]]) -> TableTotals {
    let mut totals = TableTotals::default();
    for (partition, values) in partitions.iter().enumerate() {
        let names = columns.iter().map(|(name, _)| (*name).to_owned());
        let values: Vec<_> = names.zip(values.iter().map(|value| value.map(str::to_owned))).collect();
        let (path, partition_values) = ("f", &*values);
        totals.add(&LoggedFile {
            path,
            size: 1,
            rows: Some(2),
            partition,
            partition_values,
            deletion_vector: None,
            stats: None,
        });
    }
    totals
}

/// The values of a single partition column that a filter keeps, or the first blocker.
fn kept(
    kind: SparkType,
    values: &[Option<&str>],
    filter: &str,
) -> Result<Vec<Option<String>>, (FindingReason, String)> {
    let columns = [("p", kind)];
    let rows: Vec<[Option<&str>; 1]> = values.iter().map(|value| [*value]).collect();
    let totals = totals(&columns, &rows.iter().map(|row| &row[..]).collect::<Vec<_>>());
    let mut notes = Vec::new();
    let chosen = Chosen::of(&[], filter, &table(&columns), &totals, &mut notes);
    let told: Vec<_> = notes.iter().map(|note| note.to_pb("t")).collect();
    match told.iter().find(|told| told.severity() == Severity::Blocker) {
        Some(told) => Err((told.reason(), told.message.clone())),
        None => Ok(values
            .iter()
            .enumerate()
            .filter(|(at, _)| chosen.takes(*at))
            .map(|(_, v)| v.map(str::to_owned))
            .collect()),
    }
}

fn texts(values: &[&str]) -> Result<Vec<Option<String>>, (FindingReason, String)> {
    Ok(values.iter().map(|value| Some((*value).to_owned())).collect())
}

proptest! {
    #[test]
    fn integers_are_compared_as_numbers(values in proptest::collection::btree_set(-2_000..2_000_i64, 1..20), low in -100..100_i64) {
        let written: Vec<String> = values.iter().map(ToString::to_string).collect();
        let given: Vec<Option<&str>> = written.iter().map(|text| Some(text.as_str())).collect();
        let wanted: Vec<Option<String>> =
            values.iter().filter(|value| **value >= low).map(|value| Some(value.to_string())).collect();
        match kept(SparkType::Long, &given, &format!("P >= {low}")) {
            Ok(found) => prop_assert_eq!(found, wanted),
            Err((reason, _)) => prop_assert!(wanted.is_empty() && reason == FindingReason::PartitionFilterKeepsNone),
        }
    }

    #[test]
    fn what_a_filter_takes_and_what_its_opposite_takes_is_all_but_null(
        values in proptest::collection::btree_set(proptest::option::of(0..50_u8), 1..20), at in 0..50_u8,
    ) {
        let written: Vec<Option<String>> = values.iter().map(|value| value.map(|v| v.to_string())).collect();
        let given: Vec<Option<&str>> = written.iter().map(Option::as_deref).collect();
        let count = |filter: &str| kept(SparkType::Integer, &given, filter).map_or(0, |found| found.len());
        let known = given.iter().flatten().count();
        prop_assert_eq!(count(&format!("p < {at}")) + count(&format!("NOT p < {at}")), known);
        prop_assert_eq!(count("p IS NULL"), given.len() - known);
    }
}

#[test]
fn each_type_is_compared_by_its_own_order() {
    let dates = [Some("2024-01-31"), Some("2023-12-01"), None];
    assert_eq!(kept(SparkType::Date, &dates, "p >= '2024-01-01'"), texts(&["2024-01-31"]));
    assert_eq!(kept(SparkType::Date, &dates, "p IS NULL"), Ok(vec![None]));
    let times = [Some("2024-01-31 10:00:00.5"), Some("2024-01-31 10:00:00"), Some("2024-01-31T12:00:00.000000Z")];
    assert_eq!(
        kept(SparkType::Timestamp, &times, "p > '2024-01-31 10:00:00'"),
        texts(&[times[0].unwrap(), times[2].unwrap()])
    );
    let decimal = SparkType::Decimal { precision: 38, scale: 2 };
    let numbers = [Some("9.50"), Some("10.00"), Some("123456789012345678901234.01")];
    assert_eq!(kept(decimal.clone(), &numbers, "p > 9.5"), texts(&[numbers[1].unwrap(), numbers[2].unwrap()]));
    assert_eq!(kept(decimal, &numbers, "p = 10"), texts(&["10.00"]));
    assert_eq!(kept(SparkType::Double, &[Some("1.5"), Some("1.0E7")], "p > 2"), texts(&["1.0E7"]));
    assert_eq!(kept(SparkType::Boolean, &[Some("true"), Some("FALSE")], "p = FALSE"), texts(&["FALSE"]));
    assert_eq!(kept(SparkType::String, &[Some("7"), Some("11")], "p > '2'"), texts(&["7"]), "a text is a text");
    assert_eq!(kept(SparkType::Integer, &[Some("7"), Some("11")], "p > 8"), texts(&["11"]), "and a number a number");
}

#[test]
fn what_does_not_fit_the_table_is_told_with_its_name() {
    let of = |filter: &str| kept(SparkType::Date, &[Some("2024-01-31")], filter).unwrap_err();
    for (filter, part) in [
        ("q = 1", "`q` is no column of the table; its partition columns: p"),
        ("amount > 1", "`amount` is a column, but no partition column"),
        ("p > '2024-1-1'", "`p` is DATE, which \"2024-1-1\" is not: write '2024-01-31'"),
        ("p > 20240101", "put quotes around it"),
    ] {
        let (reason, message) = of(filter);
        assert_eq!(reason, FindingReason::PartitionFilterInvalid, "{filter}");
        assert!(message.contains(part), "{filter}: {message}");
    }
    let (reason, message) = of("p < '2000-01-01'");
    assert_eq!(reason, FindingReason::PartitionFilterKeepsNone);
    assert!(message.contains("keeps none of the table's 1 partitions"), "{message}");
}

#[test]
fn named_partitions_are_found_however_they_are_spelled_and_missing_ones_told() {
    let columns = [("Year", SparkType::Integer), ("region", SparkType::String)];
    let totals = totals(&columns, &[&[Some("2024"), Some("eu")], &[Some("2024"), None], &[Some("2023"), Some("eu")]]);
    let of = |names: &[&str], filter: &str| {
        let mut notes = Vec::new();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let chosen = Chosen::of(&names, filter, &table(&columns), &totals, &mut notes);
        let taken: Vec<usize> = (0..3).filter(|at| chosen.takes(*at)).collect();
        (taken, notes.iter().map(|note| note.to_pb("t")).collect::<Vec<_>>(), chosen.totals(&totals))
    };
    let (taken, told, sums) = of(&["year=02024,REGION=eu", "year=2024,region"], "");
    assert_eq!((taken, sums.files, sums.rows), (vec![0, 1], 2, Some(4)));
    assert_eq!(told[0].reason(), FindingReason::PartitionsChosen);
    assert!(told[0].message.contains("2 of 3 partitions are taken"), "{}", told[0].message);
    assert!(told[0].message.contains("Year=2024/region is NULL"), "{}", told[0].message);
    assert_eq!(of(&["year=2024,region=eu", "year=2024,region"], "region IS NULL").0, [1], "the filter takes away");
    for (name, part) in [
        ("year=1999,region=eu", "1 of the named partitions are not in the table: year=1999,region=eu"),
        ("year=2024", "has 1 levels, and the table has 2"),
        ("year=x,region=eu", "`year` is \"x\""),
    ] {
        let (_, told, _) = of(&[name], "");
        assert_eq!(told[0].reason(), FindingReason::PartitionUnknown, "{name}");
        assert!(told.iter().any(|told| told.message.contains(part)), "{told:?}");
    }
}

#[test]
fn a_target_partition_is_taken_whole_or_not_at_all() {
    // Like a seventh partition column, `q` does not partition the target.
    let columns = [("p", SparkType::String), ("q", SparkType::String)];
    let level = PartitionLevel {
        source: "p".to_owned(),
        source_type: SparkType::String,
        target: ColumnName::new("p").unwrap(),
        target_type: DataType::String,
    };
    let mapping = PartitionMapping { levels: vec![level], characters: CharacterMap::default() };
    let totals = totals(
        &columns,
        &[&[Some("a"), Some("1")], &[Some("a"), Some("2")], &[Some("b"), Some("1")], &[Some("x/y"), Some("1")]],
    );
    let of = |filter: &str| {
        let mut notes = Vec::new();
        let chosen = Chosen::of(&[], filter, &table(&columns), &totals, &mut notes);
        let units = Units::of(&mapping, &totals, &chosen, &mut notes);
        let blockers = notes.iter().map(|note| note.to_pb("t")).filter(|told| told.severity() == Severity::Blocker);
        (units.len(), blockers.map(|told| told.reason()).collect::<Vec<_>>())
    };
    assert_eq!(of("q = '1' AND p <> 'x/y'"), (2, vec![FindingReason::TargetPartitionSplit]));
    assert_eq!(of("p = 'a'"), (1, vec![]));
    assert_eq!(of("p = 'b' AND q = '1'"), (1, vec![]), "what cannot be carried may be left out");
    assert_eq!(of("p = 'x/y'").1, [FindingReason::PartitionValueUnsupported]);
}
