//! Judges an existing target table for the plan: whether the name is free, the table is ours or somebody else's, and which types
//! its partition columns have. Pure.

use std::collections::BTreeMap;

use mms_mapping::{
    ExistingTable, MappingRules, OWNER_PROPERTY, TargetAction, TargetPolicy, check_existing, target_action,
};
use mms_maxcompute::metadata::TableInfo;
use mms_maxcompute::table::TableDefinition;
use mms_proto::FindingReason;
use mms_proto::types::v1::Severity;

use super::finding::Note;

/// Makes the rules keep the partition column types of an existing table that is ours or that the job may adopt: the planned types
/// depend on whether the snapshot has NULLs, those of an existing table cannot change. Returns whether they differ from the
/// planned ones, so that the table must be mapped again.
pub fn keep_types(
    rules: &mut MappingRules,
    planned: &TableDefinition,
    there: &TableInfo,
    policy: Option<TargetPolicy>,
) -> bool {
    let ours = there.properties.get(OWNER_PROPERTY) == planned.properties.get(OWNER_PROPERTY);
    if there.is_view || !(ours || policy == Some(TargetPolicy::Adopt)) {
        return false;
    }
    let types = there.partition_columns.iter().map(|column| (column.name.key(), column.data_type.clone()));
    let types: BTreeMap<_, _> = types.collect();
    let same = |column: &mms_maxcompute::table::Column| types.get(&column.name.key()) == Some(&column.data_type);
    let differs = !planned.partition_columns.iter().all(same);
    rules.partition_types = types;
    differs
}

/// Reports how an existing table differs from the planned one. Whether that forbids the move is decided by the job's policy;
/// without a job (`None`) only a view does.
pub fn judge(planned: &TableDefinition, there: &TableInfo, policy: Option<TargetPolicy>, notes: &mut Vec<Note>) {
    if there.is_view {
        let text = format!("{} is a view", planned.target);
        let remedy = "drop the view, or give the table another target";
        notes.push(Note::blocker(FindingReason::TargetIsView, text, remedy));
        return;
    }
    let existing = ExistingTable {
        kind: there.kind(),
        columns: there.columns.clone(),
        partition_columns: there.partition_columns.clone(),
        primary_key: there.primary_key.clone(),
        properties: there.properties.clone(),
    };
    let (differences, severity) = match policy.map(|policy| target_action(policy, Some(&existing), planned)) {
        Some(TargetAction::Create | TargetAction::UseOwn) => return,
        Some(TargetAction::Adopt(mark)) => {
            if mark.as_ref() == planned.properties.get(OWNER_PROPERTY) {
                return;
            }
            let whose = mark.map_or("without a mark of mms".to_owned(), |mark| format!("of `{mark}`"));
            let text = format!("{} exists, {whose}, and is as planned: the job takes it over", planned.target);
            let remedy = "make sure that nobody else writes it";
            notes.push(Note::new(Severity::Note, FindingReason::TargetAdopted, text, remedy));
            return;
        }
        Some(TargetAction::Refuse(differences)) => (differences, Severity::Blocker),
        Some(TargetAction::Extend(columns)) => {
            let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
            let text = format!("{} exists, and the job adds the columns {} to it", planned.target, names.join(", "));
            let remedy = "nothing needs to be done: existing rows have NULL in these columns until they are replaced";
            notes.push(Note::new(Severity::Note, FindingReason::TargetDiffers, text, remedy));
            return;
        }
        Some(TargetAction::Recreate) => {
            let text = format!(
                "{} exists and differs from the planned table: the job drops it and creates it again",
                planned.target
            );
            let remedy =
                "readers see no table for a while, and then one that is being filled: run the job when nobody reads";
            notes.push(Note::new(Severity::Note, FindingReason::ReadersSeeGap, text, remedy));
            (check_existing(planned, &existing), Severity::Note)
        }
        None => (check_existing(planned, &existing), Severity::Note),
    };
    let differences: Vec<String> = differences.iter().map(ToString::to_string).collect();
    if !differences.is_empty() {
        notes.push(Note::new(
            severity,
            FindingReason::TargetDiffers,
            format!("{} exists and differs from the planned table: {}", planned.target, differences.join("; ")),
            "jobs with target_policy ADOPT and REPLACE take it over if only its mark differs, else REPLACE drops it, and all others \
             refuse it: choose, or give the table another target",
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

    /// The properties as the service reports them for a table of the definition's kind.
    fn told(definition: &TableDefinition) -> BTreeMap<String, String> {
        let mut properties = definition.properties.clone();
        properties.insert("table.format.version".to_owned(), "2".to_owned());
        properties
    }

    fn there(definition: &TableDefinition) -> TableInfo {
        TableInfo {
            target: definition.target.clone(),
            columns: definition.columns.clone(),
            partition_columns: definition.partition_columns.clone(),
            comment: None,
            lifecycle_days: None,
            properties: told(definition),
            primary_key: Vec::new(),
            is_view: false,
            id: None,
            created: None,
            last_modified: None,
            record_count: None,
            size_bytes: None,
        }
    }

    fn reasons(notes: &[Note]) -> Vec<(FindingReason, Severity)> {
        notes.iter().map(|note| note.to_pb("t")).map(|found| (found.reason(), found.severity())).collect()
    }

    #[test]
    fn a_table_of_ours_keeps_its_partition_types_whatever_the_snapshot_has() {
        let mut rules = MappingRules::plain(ProjectName::new("p").unwrap(), SchemaRule::LikeSource, "ds");
        let (integer, text) = (planned(false, &rules), planned(true, &rules));
        assert_ne!(integer.partition_columns, text.partition_columns);
        for (had, now) in [(&integer, &text), (&text, &integer)] {
            let mut rules = rules.clone();
            assert!(keep_types(&mut rules, now, &there(had), None));
            for nulls in [false, true] {
                assert_eq!(planned(nulls, &rules).partition_columns, had.partition_columns);
            }
        }
        assert!(!keep_types(&mut rules, &integer, &there(&integer), None), "nothing to plan anew");
    }

    #[test]
    fn the_table_of_another_teaches_nothing_and_is_told() {
        let mut rules = MappingRules::plain(ProjectName::new("p").unwrap(), SchemaRule::LikeSource, "ds");
        let (integer, text) = (planned(false, &rules), planned(true, &rules));
        let mut foreign = there(&integer);
        foreign.properties = BTreeMap::from([("x".to_owned(), "y".to_owned())]);
        assert!(!keep_types(&mut rules, &text, &foreign, None) && rules.partition_types.is_empty());
        let mut notes = Vec::new();
        judge(&text, &foreign, None, &mut notes);
        assert_eq!(reasons(&notes), [(FindingReason::TargetDiffers, Severity::Note)]);
        notes.clear();
        judge(&text, &TableInfo { is_view: true, ..there(&text) }, None, &mut notes);
        assert_eq!(reasons(&notes), [(FindingReason::TargetIsView, Severity::Blocker)]);
    }

    #[test]
    fn the_policy_of_the_job_says_what_a_table_that_is_there_means() {
        use TargetPolicy::{Adopt, CreateOrOwn, FailIfExists, Replace};
        let mut rules = MappingRules::plain(ProjectName::new("p").unwrap(), SchemaRule::LikeSource, "ds");
        let planned = planned(true, &rules);
        let ours = there(&planned);
        let mut theirs = ours.clone();
        theirs.properties.insert(OWNER_PROPERTY.to_owned(), "u/s/t".to_owned());
        let found = |there: &TableInfo, policy| {
            let mut notes = Vec::new();
            judge(&planned, there, Some(policy), &mut notes);
            reasons(&notes)
        };
        let (differs, adopted) = (FindingReason::TargetDiffers, FindingReason::TargetAdopted);
        for policy in [CreateOrOwn, Replace, Adopt] {
            assert_eq!(found(&ours, policy), [], "{policy:?}");
        }
        assert_eq!(found(&ours, FailIfExists), [(differs, Severity::Blocker)]);
        assert_eq!(found(&theirs, FailIfExists), [(differs, Severity::Blocker)]);
        assert_eq!(found(&theirs, CreateOrOwn), [(differs, Severity::Blocker)]);
        assert_eq!(found(&theirs, Replace), [(adopted, Severity::Note)]);
        assert_eq!(found(&theirs, Adopt), [(adopted, Severity::Note)]);
        let mut other = ours.clone();
        other.columns[0].data_type = mms_maxcompute::types::DataType::String;
        let gap = (FindingReason::ReadersSeeGap, Severity::Note);
        assert_eq!(found(&other, Replace), [gap, (differs, Severity::Note)]);
        let shorter = TableInfo { columns: Vec::new(), ..ours };
        assert_eq!(found(&shorter, Replace), [(differs, Severity::Note)], "its columns are added");
        assert!(keep_types(&mut rules, &planned, &theirs, Some(Adopt)) || !rules.partition_types.is_empty());
    }
}
