//! Decides which partitions of a table a job takes, if not all of them. It knows names only: the catalog decides which
//! of them exist and what they hold. Pure.

use std::collections::BTreeMap;

use mms_expr::folded;
use mms_proto::FieldViolation;
use mms_proto::name::{PartitionName, ResourceName};

use super::scope::options;
use crate::record::{PartitionsOf, SourceTable, Spec};

/// Groups named partitions by table, in the order in which each table is named first.
///
/// # Errors
/// The positions of names that are not partition names, and what is wrong with each.
pub fn grouped(names: &[String]) -> Result<Vec<PartitionsOf>, Vec<(usize, String)>> {
    let (mut tables, mut wrong) = (Vec::<PartitionsOf>::new(), Vec::new());
    let mut places = BTreeMap::new();
    for (at, text) in names.iter().enumerate() {
        let name = match PartitionName::parse(text) {
            Ok(name) => name,
            Err(error) => {
                wrong.push((at, error.reason));
                continue;
            }
        };
        let (table, schema) = (name.parent(), name.parent().parent());
        let source = SourceTable { schema: schema.id().as_str().to_owned(), table: table.id().as_str().to_owned() };
        let parent = table.to_string();
        let key = (schema.parent().to_string(), folded(&source.schema), folded(&source.table));
        let place = *places.entry(key).or_insert_with(|| {
            tables.push(PartitionsOf { table: source, parent, partitions: Vec::new() });
            tables.len() - 1
        });
        tables[place].partitions.push(name.id().to_string());
    }
    if wrong.is_empty() { Ok(tables) } else { Err(wrong) }
}

/// The full names of partitions that [`grouped`] has split up.
pub fn names(tables: &[PartitionsOf]) -> Vec<String> {
    let of = |table: &PartitionsOf| {
        let parent = table.parent.clone();
        table.partitions.clone().into_iter().map(move |own| format!("{parent}/partitions/{own}"))
    };
    tables.iter().flat_map(of).collect()
}

/// Returns the ids of the partitions that a job names of one table. Empty if it names none of this table.
pub fn of(spec: &Spec, schema: &str, table: &str) -> Vec<String> {
    let own = (folded(schema), folded(table));
    let is_own = |of: &&PartitionsOf| (folded(&of.table.schema), folded(&of.table.table)) == own;
    spec.partitions.iter().find(is_own).map(|of| of.partitions.clone()).unwrap_or_default()
}

/// Whether a job takes only some of the partitions of a table.
pub fn takes_part(spec: &Spec, schema: &str, table: &str) -> bool {
    !spec.partitions.is_empty()
        || options(spec, schema, table).is_some_and(|options| !options.partition_filter.is_empty())
}

/// Whether a job takes only some of the partitions of any table.
pub fn takes_any_part(spec: &Spec) -> bool {
    !spec.partitions.is_empty() || spec.table_options.iter().any(|options| !options.partition_filter.is_empty())
}

/// Returns a violation for each table whose named partitions are of another data source than the job. `field` is the
/// path of the spec in the request.
pub fn foreign(spec: &Spec, data_source: &str, field: &str) -> Vec<FieldViolation> {
    let own = format!("dataSources/{data_source}/");
    let others = spec.partitions.iter().filter(|of| !of.parent.starts_with(&own));
    let text =
        |of: &PartitionsOf| format!("has partitions of {}, which is not of dataSources/{data_source}", of.parent);
    others.map(|of| FieldViolation::new(format!("{field}.partitions.partitions"), text(of))).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::TableOptions;

    fn name(table: &str, partition: &str) -> String {
        format!("dataSources/lake/schemas/s/tables/{table}/partitions/{partition}")
    }

    proptest! {
        #[test]
        fn no_partition_is_lost_or_goes_to_another_table(picks in proptest::collection::vec((0..4_u8, 0..50_u8), 0..100)) {
            let given: Vec<String> = picks.iter().map(|(table, p)| name(&format!("t{table}"), &format!("p={p}"))).collect();
            let tables = grouped(&given).unwrap();
            let (mut told, mut wanted) = (names(&tables), given);
            told.sort();
            wanted.sort();
            prop_assert_eq!(told, wanted);
            let spec = Spec { partitions: tables, ..Spec::default() };
            for table in 0..4 {
                let own = picks.iter().filter(|(of, _)| *of == table).map(|(_, p)| format!("p={p}"));
                prop_assert_eq!(of(&spec, "S", &format!("T{table}")), own.collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn a_table_is_taken_in_part_where_the_job_names_partitions_or_filters_them() {
        let spec = Spec { partitions: grouped(&[name("t", "p=1")]).unwrap(), ..Spec::default() };
        assert!(takes_part(&spec, "s", "T") && takes_any_part(&spec));
        assert!(foreign(&spec, "lake", "job.spec").is_empty());
        assert_eq!(foreign(&spec, "other", "job.spec").len(), 1);
        let table = SourceTable { schema: "s".to_owned(), table: "t".to_owned() };
        let filtered = TableOptions { table, partition_filter: "p > 1".to_owned(), ..TableOptions::default() };
        let spec = Spec { table_options: vec![filtered], ..Spec::default() };
        assert_eq!(
            (takes_part(&spec, "S", "t"), takes_part(&spec, "s", "u"), takes_any_part(&spec)),
            (true, false, true)
        );
        assert!(!takes_any_part(&Spec::default()));
        assert_eq!(grouped(&[name("t", "p=1"), "x".to_owned()]).unwrap_err()[0].0, 1);
    }
}
