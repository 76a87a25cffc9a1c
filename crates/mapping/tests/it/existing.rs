//! Tests decisions about an existing target table: used, replaced, or rejected with every difference named.

use mms_mapping::*;
use mms_maxcompute::name::{ColumnName, ProjectName};
use mms_maxcompute::table::{TableDefinition, TableKind};
use mms_maxcompute::types::DataType;

fn planned() -> TableDefinition {
    let column = |name: &str, text: &str| SourceColumn {
        name: name.into(),
        data_type: text.parse().unwrap(),
        nullable: true,
        comment: Some("c".into()),
        extras: vec![],
    };
    let source = SourceTable {
        schema: "s".into(),
        table: "t".into(),
        columns: vec![column("a", "int"), column("B", "struct<Xy:int>"), column("p", "string")],
        partition_columns: vec!["p".into()],
        ..SourceTable::default()
    };
    let rules = MappingRules::plain(ProjectName::new("proj").unwrap(), SchemaRule::TwoTier, "ds");
    plan_table(&source, &rules).definition.unwrap()
}

/// The planned table as the target reports it: names in lower case, no comments.
fn made(definition: &TableDefinition) -> ExistingTable {
    let lower = |columns: &[mms_maxcompute::table::Column]| {
        let mut columns = columns.to_vec();
        for column in &mut columns {
            column.name = ColumnName::new(column.name.key()).unwrap();
            column.comment = None;
        }
        columns
    };
    let mut properties = definition.properties.clone();
    properties.insert("else".into(), "x".into());
    ExistingTable {
        kind: Some(definition.kind),
        columns: lower(&definition.columns),
        partition_columns: lower(&definition.partition_columns),
        primary_key: vec![],
        properties,
    }
}

#[test]
fn our_own_table_is_used_where_the_policy_says_so() {
    let definition = planned();
    let existing = made(&definition);
    for (policy, action) in [
        (TargetPolicy::CreateOrOwn, TargetAction::UseOwn),
        (TargetPolicy::Replace, TargetAction::Adopt(Some("ds/s/t".to_owned()))),
        (TargetPolicy::FailIfExists, TargetAction::Refuse(vec![Difference::Exists])),
        (TargetPolicy::Adopt, TargetAction::UseOwn),
    ] {
        assert_eq!(target_action(policy, Some(&existing), &definition), action);
        assert_eq!(target_action(policy, None, &definition), TargetAction::Create);
    }
}

#[test]
fn another_table_is_refused_or_replaced() {
    let definition = planned();
    let mut existing = made(&definition);
    existing.properties.clear();
    let refused = target_action(TargetPolicy::CreateOrOwn, Some(&existing), &definition);
    let owner = Difference::Owner { expected: "ds/s/t".into(), found: None };
    assert_eq!(refused, TargetAction::Refuse(vec![owner.clone()]));
    assert!(owner.to_string().contains("was not made by mms"));
    let refused = target_action(TargetPolicy::FailIfExists, Some(&existing), &definition);
    assert_eq!(refused, TargetAction::Refuse(vec![Difference::Exists, owner]), "it says whose it is");
    let replaced = |existing: &ExistingTable| target_action(TargetPolicy::Replace, Some(existing), &definition);
    assert_eq!(replaced(&existing), TargetAction::Adopt(None), "what fits stays in its place");
    existing.columns.pop();
    assert_eq!(replaced(&existing), TargetAction::Recreate, "a column of a nested type is not added");
}

#[test]
fn columns_that_came_to_the_end_are_added_and_nothing_else_is_altered() {
    let mut definition = planned();
    let mut existing = made(&definition);
    let column = |name: &str, nullable| mms_maxcompute::table::Column {
        name: ColumnName::new(name).unwrap(),
        data_type: DataType::BigInt,
        nullable,
        comment: None,
    };
    definition.columns.extend([column("c", true), column("d", true)]);
    let action = |policy, existing: &ExistingTable, definition: &TableDefinition| {
        target_action(policy, Some(existing), definition)
    };
    let added = TargetAction::Extend(definition.columns[2..].to_vec());
    assert_eq!(action(TargetPolicy::Replace, &existing, &definition), added);
    for policy in [TargetPolicy::CreateOrOwn, TargetPolicy::Adopt, TargetPolicy::FailIfExists] {
        assert!(matches!(action(policy, &existing, &definition), TargetAction::Refuse(_)), "{policy:?}");
    }
    existing.properties.clear();
    assert_eq!(action(TargetPolicy::Replace, &existing, &definition), added, "whoever made it");
    let mut strict = definition.clone();
    strict.columns[3].nullable = false;
    assert_eq!(action(TargetPolicy::Replace, &existing, &strict), TargetAction::Recreate, "NOT NULL cannot be added");
    let mut amid = definition.clone();
    amid.columns.swap(0, 3);
    assert_eq!(action(TargetPolicy::Replace, &existing, &amid), TargetAction::Recreate, "it would come to the end");
    existing.columns[0].data_type = DataType::String;
    assert_eq!(action(TargetPolicy::Replace, &existing, &definition), TargetAction::Recreate, "another type");
}

#[test]
fn a_table_that_fits_is_adopted_and_no_other() {
    let definition = planned();
    for mark in [None, Some("0190b6f5-0000-7000-8000-000000000000/s/t".to_owned())] {
        let mut existing = made(&definition);
        existing.properties = mark.iter().map(|mark| (OWNER_PROPERTY.to_owned(), mark.clone())).collect();
        let adopt = |existing: &ExistingTable| target_action(TargetPolicy::Adopt, Some(existing), &definition);
        assert_eq!(adopt(&existing), TargetAction::Adopt(mark));
        existing.columns.swap(0, 1);
        assert!(matches!(adopt(&existing), TargetAction::Refuse(all) if all.len() == 2), "it is another table");
    }
}

#[test]
fn a_mark_of_the_time_before_uids_says_so() {
    let owner = |found: &str| Difference::Owner { expected: "u/s/t".into(), found: Some(found.into()) }.to_string();
    assert!(owner("lake/s/t").contains("before 0.1.0"));
    assert!(!owner("0190b6f5-0000-7000-8000-000000000000/s/t").contains("before"));
}

#[test]
fn every_difference_is_named() {
    let definition = planned();
    let texts = |change: &dyn Fn(&mut ExistingTable)| {
        let mut existing = made(&definition);
        change(&mut existing);
        check_existing(&definition, &existing).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(texts(&|_| {}), [""; 0]);
    assert_eq!(texts(&|t| t.kind = Some(TableKind::Ordinary)), ["the table is Ordinary, planned is AppendDelta"]);
    assert_eq!(texts(&|t| t.kind = None), [""; 0]);
    assert_eq!(texts(&|t| t.columns[0].data_type = DataType::BigInt), ["column `a` is BIGINT, planned is INT"]);
    assert_eq!(texts(&|t| t.columns[0].nullable = false).len(), 1);
    assert_eq!(texts(&|t| t.columns.swap(0, 1)), ["the columns are in the order b, a, planned is a, b"]);
    assert_eq!(texts(&|t| t.primary_key = vec!["a".into()]), ["the primary key is (a), planned is ()"]);
    assert_eq!(
        texts(&|t| {
            let partition = t.partition_columns.pop().unwrap();
            t.columns.push(partition);
        }),
        ["column `p` is not planned", "partition column `p` is missing"]
    );
}
