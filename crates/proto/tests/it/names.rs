//! Resource names: one spelling per resource, whatever the source calls its tables.

use mms_proto::name::{
    DataSourceName, JobName, Parent, PartitionId, PartitionName, ResourceId, ResourceName, SchemaName, SourceId,
    TableName, TaskName,
};
use proptest::prelude::*;

fn table(schema: &str, table: &str) -> TableName {
    let source = DataSourceName::new(ResourceId::new("ds-1").unwrap());
    TableName::new(SchemaName::new(source, SourceId::new(schema).unwrap()), SourceId::new(table).unwrap())
}

proptest! {
    #[test]
    fn parse_undoes_format(
        schema in "\\PC{1,12}|[-%/,=.~ ]{1,4}",
        name in any::<String>().prop_filter("empty", |text| !text.is_empty()),
        levels in prop::collection::vec(("\\PC{1,6}|[-,=%]{1,3}", prop::option::of("\\PC{0,6}|[-,=%]{1,3}")), 1..4),
    ) {
        let table = table(&schema, &name);
        prop_assert_eq!(TableName::parse(&table.to_string()).unwrap(), table.clone());
        let partition = PartitionName::new(table, PartitionId::new(levels).unwrap());
        let text = partition.to_string();
        prop_assert!(text.is_ascii());
        let parsed = PartitionName::parse(&text).unwrap();
        prop_assert_eq!(parsed.to_string(), text);
        prop_assert_eq!(parsed, partition);
    }

    #[test]
    fn what_parses_formats_to_itself(segment in "[a-zA-Z0-9%=,~./-]{1,10}") {
        let text = format!("dataSources/a/schemas/s/tables/t/partitions/{segment}");
        if let Ok(name) = PartitionName::parse(&text) {
            prop_assert_eq!(name.to_string(), text);
        }
    }
}

#[test]
fn the_examples_of_the_contract() {
    let name = PartitionName::parse("dataSources/ds-1/schemas/real/tables/a%20b/partitions/dt=2024-01-01,region,note=")
        .unwrap();
    assert_eq!(name.parent().id().as_str(), "a b");
    assert_eq!(name.data_source().to_string(), "dataSources/ds-1");
    let levels =
        [("dt".into(), Some("2024-01-01".into())), ("region".into(), None), ("note".into(), Some(String::new()))];
    assert_eq!(name.id().levels(), levels);
}

#[test]
fn wrong_names_are_refused_with_the_reason() {
    for (text, reason) in [
        ("dataSources/A/jobs/j", "does not match"),
        ("dataSources/a/job/j", "stands where \"jobs\" must"),
        ("dataSources/a", "2 parts instead of 4"),
        ("dataSources/-/jobs/j", "does not match"),
    ] {
        let error = JobName::parse(text).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
    for spelling in ["a%2fb", "%61", "a b", "", "-", "%FF"] {
        let text = format!("dataSources/a/schemas/s/tables/{spelling}");
        assert!(TableName::parse(&text).is_err(), "{text} must be refused");
    }
    assert_eq!(table("s", "-").to_string(), "dataSources/ds-1/schemas/s/tables/%2D");
}

#[test]
fn parents_of_lists_may_name_all() {
    let all = Parent::<SchemaName>::parse("dataSources/ds-1/schemas/-").unwrap();
    assert!(all.matches(table("x", "t").parent()) && all.exact().is_none());
    assert_eq!(all.data_source().unwrap().to_string(), "dataSources/ds-1");
    let one = Parent::<SchemaName>::parse("dataSources/ds-1/schemas/x").unwrap();
    assert!(!one.matches(table("y", "t").parent()));
    assert_eq!(one.exact().as_ref(), Some(table("x", "t").parent()));
    assert!(Parent::<DataSourceName>::parse("dataSources/-").unwrap().data_source().is_none());
    assert!(Parent::<DataSourceName>::parse("dataSources/A").is_err());
}

#[test]
fn names_are_texts_in_serde() {
    let task: TaskName = serde_json::from_str("\"dataSources/a/jobs/j/tasks/t\"").unwrap();
    assert_eq!(serde_json::to_string(&task).unwrap(), "\"dataSources/a/jobs/j/tasks/t\"");
    assert!(serde_json::from_str::<TaskName>("\"dataSources/a\"").is_err());
}
