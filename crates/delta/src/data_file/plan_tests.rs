//! Where columns are found: by name or by id, and in lists and maps of every form.

use std::collections::HashMap;

use delta_kernel::schema::{ArrayType, MapType, MetadataValue};
use parquet::schema::parser::parse_message_type;

use super::*;

fn file(message: &str) -> SchemaDescriptor {
    SchemaDescriptor::new(Arc::new(parse_message_type(message).expect(message)))
}

fn planned(fields: Vec<StructField>, mapping: ColumnMapping, message: &str) -> Result<FilePlan, Refusal> {
    plan(fields.iter(), mapping, &file(message))
}

fn by_name(fields: Vec<StructField>, message: &str) -> Result<FilePlan, Refusal> {
    planned(fields, ColumnMapping::None, message)
}

fn mapped(name: &str, data_type: impl Into<DataType>, id: i64, stored: &str) -> StructField {
    let metadata: HashMap<String, MetadataValue> = [
        ("delta.columnMapping.id".to_owned(), MetadataValue::Number(id)),
        ("delta.columnMapping.physicalName".to_owned(), MetadataValue::String(stored.to_owned())),
    ]
    .into();
    StructField { metadata, ..StructField::nullable(name, data_type) }
}

fn longs() -> DataType {
    ArrayType::new(DataType::LONG, true).into()
}

fn structure(fields: impl IntoIterator<Item = StructField>) -> DataType {
    StructType::try_new(fields).expect("a struct").into()
}

#[test]
fn names_are_found_whatever_their_case_and_only_once() {
    let market = || vec![StructField::nullable("MARKET", DataType::LONG)];
    let found = by_name(market(), "message m { optional int64 other; optional int64 market; }").expect("found");
    assert_eq!((found.leaves, found.columns[0].at, found.found_any), (vec![1], Some(0), true));
    let absent = by_name(market(), "message m { optional int64 other; }").expect("planned");
    assert_eq!((absent.columns[0].node.clone(), absent.found_any), (Node::Absent, false));
    let twice = by_name(market(), "message m { optional int64 market; optional int64 Market; }").expect_err("twice");
    assert_eq!(twice.path, ["MARKET"]);
    assert!(twice.reason.contains("`market`") && twice.reason.contains("`Market`"), "{}", twice.reason);
}

#[test]
fn in_mode_name_ids_are_not_looked_at_and_in_mode_id_names_are_not() {
    let fields = || vec![mapped("price", DataType::LONG, 1, "p"), mapped("cost", DataType::LONG, 2, "c")];
    let message = "message m { optional int64 c = 1; optional int64 p = 2; }";
    let by = |mapping| planned(fields(), mapping, message).expect("planned");
    let places = |plan: &FilePlan| plan.columns.iter().map(|column| column.at).collect::<Vec<_>>();
    assert_eq!(places(&by(ColumnMapping::Name)), [Some(1), Some(0)]);
    assert_eq!(places(&by(ColumnMapping::Id)), [Some(0), Some(1)]);
    let silent = planned(fields(), ColumnMapping::Id, "message m { optional int64 p; optional int64 c; }");
    assert!(silent.expect_err("no ids").reason.contains("no ids"));
    let nested = || vec![mapped("s", structure([mapped("x", DataType::LONG, 2, "x")]), 1, "s")];
    let message = "message m { optional group s = 1 { optional int64 x; } }";
    let inner = planned(nested(), ColumnMapping::Id, message).expect_err("no ids inside");
    assert_eq!(inner.path, ["s"]);
    let twice = planned(fields(), ColumnMapping::Id, "message m { optional int64 a = 1; optional int64 b = 1; }");
    assert!(twice.expect_err("one id twice").reason.contains("id 1"));
}

#[test]
fn lists_of_every_make_are_lists() {
    for message in [
        "optional group xs (LIST) { repeated group list { optional int64 element; } }",
        "optional group xs (LIST) { repeated group list { optional int64 item; } }",
        "optional group xs (LIST) { repeated group bag { optional int64 array_element; } }",
        "optional group xs (LIST) { repeated group array { optional int64 item; } }",
        "optional group xs (LIST) { repeated int64 array; }",
        "optional group xs (LIST) { repeated int64 xs_tuple; }",
        "repeated int64 xs",
        "optional group xs { repeated group list { optional int64 element; } }",
    ] {
        let message = format!("message m {{ {}; }}", message.trim_end_matches(';'));
        let message = message.replace("};", "}");
        let found = by_name(vec![StructField::nullable("xs", longs())], &message).expect(&message);
        assert!(matches!(found.columns[0].node, Node::List(_)), "{message}");
        assert_eq!(found.leaves, [0]);
    }
    let none = by_name(vec![StructField::nullable("xs", longs())], "message m { optional int64 xs; }");
    assert!(none.expect_err("a number").reason.contains("no ARRAY"));
}

#[test]
fn a_struct_of_one_field_in_a_list_is_told_from_a_group_around_an_element() {
    let element = || structure([StructField::nullable("x", DataType::LONG)]);
    let field = || vec![StructField::nullable("xs", DataType::from(ArrayType::new(element(), true)))];
    for message in [
        "message m { optional group xs (LIST) { repeated group list { optional group element { optional int64 x; } } } }",
        "message m { optional group xs (LIST) { repeated group array { optional int64 x; } } }",
        "message m { optional group xs (LIST) { repeated group xs_tuple { optional int64 x; } } }",
        "message m { optional group xs (LIST) { repeated group list { optional int64 x; } } }",
        "message m { repeated group xs { optional int64 x; } }",
    ] {
        let found = by_name(field(), message).expect(message);
        let Node::List(element) = &found.columns[0].node else { panic!("{message}") };
        let Node::Struct(members) = &element.node else { panic!("{message}: {element:?}") };
        assert_eq!(members[0].at, Some(0), "{message}");
    }
}

#[test]
fn maps_of_every_make_are_maps() {
    let field =
        || vec![StructField::nullable("m", DataType::from(MapType::new(DataType::STRING, DataType::LONG, true)))];
    for message in [
        "message m { optional group m (MAP) { repeated group key_value { required binary key (UTF8); optional int64 value; } } }",
        "message m { optional group m (MAP_KEY_VALUE) { repeated group map { required binary key (UTF8); optional int64 value; } } }",
        "message m { optional group m (MAP) { repeated group entries { required binary k (UTF8); optional int64 v; } } }",
        "message m { optional group m (MAP) { repeated group map (MAP_KEY_VALUE) { optional binary key (UTF8); optional int64 value; } } }",
    ] {
        let found = by_name(field(), message).expect(message);
        assert!(matches!(found.columns[0].node, Node::Map(..)), "{message}");
        assert_eq!(found.leaves, [0, 1]);
    }
    let keys = "message m { optional group m (MAP) { repeated group key_value { required binary key (UTF8); } } }";
    assert!(by_name(field(), keys).expect_err("no values").reason.contains("not a key and a value"));
}

#[test]
fn a_struct_without_any_wanted_field_is_still_there() {
    let field = vec![StructField::nullable("s", structure([StructField::nullable("new", DataType::LONG)]))];
    let found =
        by_name(field, "message m { optional group s { optional int64 old; optional int64 older; } }").expect("s");
    assert_eq!(found.leaves, [0], "one leaf tells where the struct is NULL");
    assert_eq!(found.columns[0].at, Some(0));
}

#[test]
fn what_is_not_read_may_be_as_odd_as_it_likes() {
    let message = "message m { optional group odd (MAP) { repeated int32 a; repeated int32 b; } optional int64 id; }";
    let found = by_name(vec![StructField::nullable("id", DataType::LONG)], message).expect("planned");
    assert_eq!(found.leaves, [2]);
}
