//! What is at the target already, as far as it bears on the plan: whether the place is free, ours or another's, and the
//! types that partition columns have there. Pure.

use std::collections::BTreeMap;

use mms_mapping::{ExistingTable, MappingRules, OWNER_PROPERTY, check_existing};
use mms_maxcompute::metadata::TableInfo;
use mms_maxcompute::table::TableDefinition;
use mms_proto::types::v1::Severity;

use super::finding::Note;

/// Gives the rules the types of partition columns that a table of ours has; whether that may change the plan.
pub fn keep_types(rules: &mut MappingRules, planned: &TableDefinition, there: &TableInfo) -> bool {
    if there.is_view || there.properties.get(OWNER_PROPERTY) != planned.properties.get(OWNER_PROPERTY) {
        return false;
    }
    let types = there.partition_columns.iter().map(|column| (column.name.key(), column.data_type.clone()));
    let types: BTreeMap<_, _> = types.collect();
    let same = |column: &mms_maxcompute::table::Column| types.get(&column.name.key()) == Some(&column.data_type);
    let differs = !planned.partition_columns.iter().all(same);
    rules.partition_types = types;
    differs
}

/// Says in what a table that is there is not the planned one.
pub fn judge(planned: &TableDefinition, there: &TableInfo, notes: &mut Vec<Note>) {
    if there.is_view {
        let text = format!("{} is a view", planned.target);
        notes.push(Note::blocker("TARGET_IS_VIEW", text, "drop the view, or give the table another target"));
        return;
    }
    let existing = ExistingTable {
        kind: there.kind(),
        columns: there.columns.clone(),
        partition_columns: there.partition_columns.clone(),
        primary_key: there.primary_key.clone(),
        properties: there.properties.clone(),
    };
    let differences: Vec<String> = check_existing(planned, &existing).iter().map(ToString::to_string).collect();
    if !differences.is_empty() {
        // Whether that forbids the move is for the job's target_policy to say.
        notes.push(Note::new(
            Severity::Note,
            "TARGET_DIFFERS",
            format!("{} is there, and not the planned table: {}", planned.target, differences.join("; ")),
            "jobs with target_policy CREATE_OR_OWN refuse it, REPLACE drops it: choose, or give the table another target",
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mms_mapping::{SchemaRule, SourceTable, parse_schema, plan_table};
    use mms_maxcompute::name::ProjectName;

    fn planned(nulls: bool, rules: &MappingRules) -> TableDefinition {
        let field = |name: &str| format!(r#"{{"name":"{name}","type":"integer","nullable":true,"metadata":{{}}}}"#);
        let schema = format!(r#"{{"type":"struct","fields":[{},{}]}}"#, field("v"), field("P"));
        let source = SourceTable {
            schema: "s".to_owned(),
            table: "t".to_owned(),
            columns: parse_schema(&schema).unwrap(),
            partition_columns: vec!["P".to_owned()],
            partition_nulls: BTreeMap::from([("P".to_owned(), nulls)]),
            ..SourceTable::default()
        };
        plan_table(&source, rules).definition.unwrap()
    }

    fn there(definition: &TableDefinition) -> TableInfo {
        TableInfo {
            target: definition.target.clone(),
            columns: definition.columns.clone(),
            partition_columns: definition.partition_columns.clone(),
            comment: None,
            lifecycle_days: None,
            properties: definition.properties.clone(),
            primary_key: Vec::new(),
            is_view: false,
            last_modified: None,
            record_count: None,
            size_bytes: None,
        }
    }

    fn reasons(notes: &[Note]) -> Vec<String> {
        notes.iter().map(|note| note.to_pb("t").reason).collect()
    }

    #[test]
    fn a_table_of_ours_keeps_its_partition_types_whatever_the_snapshot_has() {
        let mut rules = MappingRules::plain(ProjectName::new("p").unwrap(), SchemaRule::LikeSource, "ds");
        let (integer, text) = (planned(false, &rules), planned(true, &rules));
        assert_ne!(integer.partition_columns, text.partition_columns);
        for (had, now) in [(&integer, &text), (&text, &integer)] {
            let mut rules = rules.clone();
            assert!(keep_types(&mut rules, now, &there(had)));
            for nulls in [false, true] {
                assert_eq!(planned(nulls, &rules).partition_columns, had.partition_columns);
            }
        }
        assert!(!keep_types(&mut rules, &integer, &there(&integer)), "nothing to plan anew");
    }

    #[test]
    fn the_table_of_another_teaches_nothing_and_is_told() {
        let mut rules = MappingRules::plain(ProjectName::new("p").unwrap(), SchemaRule::LikeSource, "ds");
        let (integer, text) = (planned(false, &rules), planned(true, &rules));
        let mut foreign = there(&integer);
        foreign.properties = BTreeMap::from([("x".to_owned(), "y".to_owned())]);
        assert!(!keep_types(&mut rules, &text, &foreign) && rules.partition_types.is_empty());
        let mut notes = Vec::new();
        judge(&text, &foreign, &mut notes);
        assert_eq!(reasons(&notes), ["TARGET_DIFFERS"]);
        notes.clear();
        judge(&text, &TableInfo { is_view: true, ..there(&text) }, &mut notes);
        assert_eq!(reasons(&notes), ["TARGET_IS_VIEW"]);
    }
}
