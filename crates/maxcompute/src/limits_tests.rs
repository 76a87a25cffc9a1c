use std::collections::BTreeMap;

use crate::limits::LimitViolation as V;
use crate::name::{ColumnName, ProjectName, TableName};
use crate::table::{Column, PartitionSpec, TableDefinition, TableKind, TableRef};
use crate::types::DataType;

fn column(name: &str, data_type: &str) -> Column {
    Column {
        name: ColumnName::new(name).unwrap(),
        data_type: data_type.parse().unwrap(),
        nullable: true,
        comment: None,
    }
}

fn table(columns: Vec<Column>) -> TableDefinition {
    TableDefinition {
        target: TableRef { project: ProjectName::new("p").unwrap(), schema: None, table: TableName::new("t").unwrap() },
        kind: TableKind::Ordinary,
        columns,
        partition_columns: Vec::new(),
        primary_key: Vec::new(),
        comment: None,
        lifecycle_days: None,
        properties: BTreeMap::new(),
    }
}

#[test]
fn a_table_at_its_limits_is_accepted() {
    let mut definition = table((0..1194).map(|i| column(&format!("c{i}"), "bigint")).collect());
    definition.partition_columns = (0..6).map(|i| column(&format!("p{i}"), "varchar(3)")).collect();
    definition.comment = Some("x".repeat(1024));
    definition.lifecycle_days = Some(1);
    assert_eq!(definition.validate(), []);
    definition.columns.push(column("one_more", "int"));
    assert_eq!(definition.validate(), [V::TooManyColumns { count: 1201 }]);
}

#[test]
fn all_violations_are_told_at_once() {
    let mut definition = table(vec![
        column("Id", "decimal(10,19)"),
        column("iD", "varchar(65536)"),
        column("j", "array<json>"),
        column("s", "struct<a:int,A:int>"),
    ]);
    definition.partition_columns = (0..7).map(|i| column(&format!("p{i}"), "string")).collect();
    definition.partition_columns[6].data_type = DataType::Double;
    definition.columns[2].comment = Some("é".repeat(513));
    definition.lifecycle_days = Some(0);
    definition.primary_key = vec![ColumnName::new("Id").unwrap()];
    definition.properties.insert("Transactional".into(), "true".into());
    let found = definition.validate();
    let expected = [
        V::TooManyPartitionLevels { count: 7 },
        V::Lifecycle,
        V::Decimal { column: "Id".into(), precision: 10, scale: 19 },
        V::SameColumn { first: "Id".into(), second: "iD".into() },
        V::TextLength { column: "iD".into(), data_type: DataType::Varchar(65_536) },
        V::CommentTooLong { what: "column `j`".into(), bytes: 1026 },
        V::NestedJson { column: "j".into() },
        V::SameField { column: "s".into(), first: "a".into(), second: "A".into() },
        V::PartitionType { column: "p6".into(), data_type: DataType::Double },
        V::KeyNotAllowed,
        V::ReservedProperty { key: "Transactional".into() },
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_key_must_exist_and_be_not_null() {
    let mut definition = table(vec![column("a", "bigint"), column("b", "bigint")]);
    definition.kind = TableKind::PkDelta;
    assert_eq!(definition.validate(), [V::KeyMissing]);
    definition.primary_key = vec![ColumnName::new("A").unwrap(), ColumnName::new("c").unwrap()];
    assert_eq!(definition.validate(), [V::KeyNullable { column: "A".into() }, V::KeyUnknown { column: "c".into() }]);
    definition.primary_key.pop();
    definition.columns[0].nullable = false;
    assert_eq!(definition.validate(), []);
}

#[test]
fn partition_values_that_have_no_spelling_are_refused() {
    let spec = |value: &str| PartitionSpec(vec![(ColumnName::new("pt").unwrap(), value.to_owned())]);
    for good in ["20240101", "a b", "2024-01-01 00:00:00", "a+b", "50%", "__HIVE_DEFAULT_PARTITION__"] {
        assert_eq!(spec(good).check(), Ok(()), "{good}");
    }
    for bad in ["", "a/b", "a,b", "a=b", "it's", "tab\t", "北京", " a", &"x".repeat(129)] {
        assert!(spec(bad).check().is_err(), "{bad}");
    }
}
