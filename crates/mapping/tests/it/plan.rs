//! Tests plans by example: real schemas, and each finding once.

use std::collections::{BTreeMap, BTreeSet};

use mms_mapping::*;
use mms_maxcompute::name::ProjectName;
use mms_maxcompute::table::TableKind;
use mms_maxcompute::types::DataType;

fn rules() -> MappingRules {
    MappingRules::plain(ProjectName::new("proj").unwrap(), SchemaRule::LikeSource, "ds-1")
}

fn demo_rules() -> MappingRules {
    let demo = CharacterMap::default().with_fallback(Others::OutsideWords, "_").unwrap();
    MappingRules {
        table_characters: demo.clone(),
        column_characters: demo,
        table_name_prefix: Some("t_".into()),
        ..rules()
    }
}

fn column(name: &str, data_type: &str) -> SourceColumn {
    SourceColumn {
        name: name.into(),
        data_type: data_type.parse().unwrap(),
        nullable: true,
        comment: None,
        extras: vec![],
    }
}

fn table(columns: &[(&str, &str)]) -> SourceTable {
    SourceTable {
        schema: "s".into(),
        table: "t".into(),
        columns: columns.iter().map(|(name, text)| column(name, text)).collect(),
        ..SourceTable::default()
    }
}

fn reasons(plan: &TablePlan) -> BTreeSet<&'static str> {
    plan.findings.iter().map(|finding| finding.reason.code()).collect()
}

fn ddl(plan: &TablePlan) -> String {
    let definition = plan.definition.as_ref().unwrap_or_else(|| panic!("{:?}", plan.findings));
    let list = |columns: &[mms_maxcompute::table::Column]| {
        let text = |c: &mms_maxcompute::table::Column| {
            format!("{} {}{}", c.name, c.data_type, if c.nullable { "" } else { " NOT NULL" })
        };
        columns.iter().map(text).collect::<Vec<_>>().join(", ")
    };
    format!("{} ({}) by ({})", definition.target, list(&definition.columns), list(&definition.partition_columns))
}

/// The schema of Spark's golden table `data-reader-partition-values`, which has twelve partition columns, one per type.
const PARTITION_VALUES: &str = r#"{"type":"struct","fields":[
 {"name":"as_int","type":"integer","nullable":true,"metadata":{}},{"name":"as_long","type":"long","nullable":true,"metadata":{}},
 {"name":"as_byte","type":"byte","nullable":true,"metadata":{}},{"name":"as_short","type":"short","nullable":true,"metadata":{}},
 {"name":"as_boolean","type":"boolean","nullable":true,"metadata":{}},{"name":"as_float","type":"float","nullable":true,"metadata":{}},
 {"name":"as_double","type":"double","nullable":true,"metadata":{}},{"name":"as_string","type":"string","nullable":true,"metadata":{}},
 {"name":"as_date","type":"date","nullable":true,"metadata":{}},{"name":"as_timestamp","type":"timestamp","nullable":true,"metadata":{}},
 {"name":"as_big_decimal","type":"decimal(1,0)","nullable":true,"metadata":{}},
 {"name":"as_list_of_records","type":{"type":"array","elementType":{"type":"struct","fields":[{"name":"val","type":"integer","nullable":true,"metadata":{}}]},"containsNull":true},"nullable":true,"metadata":{}},
 {"name":"value","type":"string","nullable":false,"metadata":{}}]}"#;

#[test]
fn twelve_partition_columns_become_six_and_keep_the_column_order() {
    let columns = parse_schema(PARTITION_VALUES).unwrap();
    let names: Vec<String> = columns.iter().map(|c| c.name.clone()).collect();
    let mut source = SourceTable {
        schema: "real".into(),
        table: "data-reader-partition-values".into(),
        columns,
        partition_columns: names[..11].to_vec(),
        ..SourceTable::default()
    };
    source.partition_nulls = BTreeMap::from([("as_int".into(), true), ("as_long".into(), false)]);
    let plan = plan_table(&source, &demo_rules());
    assert_eq!(
        ddl(&plan),
        "proj.real.data_reader_partition_values (as_double DOUBLE, as_string STRING, as_date DATE, as_timestamp TIMESTAMP, \
         as_big_decimal DECIMAL(1,0), as_list_of_records ARRAY<STRUCT<val:INT>>, value STRING NOT NULL) by (as_int STRING, \
         as_long BIGINT, as_byte STRING, as_short STRING, as_boolean STRING, as_float STRING)"
    );
    assert_eq!(
        reasons(&plan),
        BTreeSet::from(["PARTITION_BECOMES_COLUMN", "PARTITION_BECOMES_STRING", "TABLE_RENAMED"])
    );
    assert_eq!(plan.columns.len(), source.columns.len());
    assert_eq!(plan.columns[1].role, ColumnRole::Partition { level: 1 });
    assert_eq!(plan.columns[1].conversion, ValueConversion::PartitionInteger);
    assert_eq!(plan.columns[4].conversion, ValueConversion::PartitionText);
    assert_eq!(plan.columns[6].role, ColumnRole::Data);
    let definition = plan.definition.unwrap();
    assert_eq!(definition.kind, TableKind::AppendDelta);
    assert_eq!(definition.properties[OWNER_PROPERTY], "ds-1/real/data-reader-partition-values");

    let values = |n: &str| names.iter().map(|name| (name.clone(), Some(n.to_owned()))).collect::<BTreeMap<_, _>>();
    let mut partition = values("0");
    partition.insert("as_boolean".into(), Some("true".into()));
    partition.insert("as_int".into(), None);
    let mapped = plan.partitions.unwrap().map(&partition).unwrap();
    assert_eq!(
        mapped.target.to_string(),
        "as_int=__HIVE_DEFAULT_PARTITION__,as_long=0,as_byte=0,as_short=0,as_boolean=true,as_float=0.0"
    );
}

#[test]
fn every_type_has_its_counterpart() {
    let source = table(&[
        ("a", "tinyint"),
        ("b", "smallint"),
        ("c", "int"),
        ("d", "bigint"),
        ("e", "float"),
        ("f", "double"),
        ("g", "boolean"),
        ("h", "decimal(38,18)"),
        ("i", "string"),
        ("j", "varchar(65535)"),
        ("k", "char(255)"),
        ("l", "binary"),
        ("m", "date"),
        ("n", "timestamp"),
        ("o", "timestamp_ntz"),
        ("p", "map<string,array<struct<x:decimal(3,1),Y:char(2)>>>"),
    ]);
    let plan = plan_table(&source, &rules());
    assert_eq!(
        ddl(&plan),
        "proj.s.t (a TINYINT, b SMALLINT, c INT, d BIGINT, e FLOAT, f DOUBLE, g BOOLEAN, h DECIMAL(38,18), i STRING, \
         j VARCHAR(65535), k CHAR(255), l BINARY, m DATE, n TIMESTAMP, o TIMESTAMP_NTZ, \
         p MAP<STRING,ARRAY<STRUCT<x:DECIMAL(3,1),Y:CHAR(2)>>>) by ()"
    );
    assert!(plan.findings.is_empty(), "{:?}", plan.findings);
}

#[test]
fn what_has_no_counterpart_is_a_blocker_that_names_the_column() {
    for (text, code) in [
        ("variant", "TYPE_UNSUPPORTED"),
        ("interval day to second", "TYPE_UNSUPPORTED"),
        ("void", "TYPE_UNSUPPORTED"),
        ("geography(4326)", "TYPE_UNSUPPORTED"),
        ("array<variant>", "TYPE_UNSUPPORTED"),
        ("struct<>", "TYPE_UNSUPPORTED"),
        ("decimal(38,19)", "DECIMAL_SCALE_TOO_LARGE"),
        ("struct<a:int,A:int>", "FIELD_NAME_COLLISION"),
        ("struct<a b:int>", "FIELD_NAME_ILLEGAL"),
    ] {
        let plan = plan_table(&table(&[("ok", "int"), ("bad", text)]), &rules());
        let blockers: Vec<_> = plan.blockers().collect();
        assert_eq!(blockers.len(), 1, "{text}: {:?}", plan.findings);
        assert_eq!((blockers[0].reason.code(), blockers[0].column.as_deref()), (code, Some("bad")), "{text}");
        assert!(!blockers[0].remedy.is_empty());
        assert_eq!((plan.definition, plan.partitions), (None, None));
        assert_eq!(plan.columns.len(), 2, "the column is still in the plan");
    }
}

#[test]
fn what_is_lost_is_said_once_a_column() {
    let mut source = table(&[
        ("long", "varchar(65536)"),
        ("coll", "string collate UTF8_LCASE"),
        ("nest", "struct<a:int not null comment 'x',b c:array<struct<d:int not null>>>"),
    ]);
    source.columns[0].comment = Some(format!("{}é", "x".repeat(1023)));
    source.columns[0].extras = vec![ColumnExtra::Default("1".into()), ColumnExtra::Identity];
    source.properties = BTreeMap::from([("delta.constraints.pos".into(), "a > 0".into()), ("x".into(), "y".into())]);
    let plan = plan_table(&source, &demo_rules());
    assert_eq!(
        plan.findings.iter().map(|f| f.reason.code()).collect::<Vec<_>>(),
        [
            "LENGTH_BOUND_LOST",
            "COMMENT_TRUNCATED",
            "COLLATION_LOST",
            "NESTED_CONSTRAINT_LOST",
            "FIELD_RENAMED",
            "DEFAULT_LOST",
            "GENERATION_LOST",
            "CHECK_CONSTRAINT_LOST"
        ]
    );
    let nested = plan.findings.iter().find(|f| f.reason == Reason::NestedConstraintLost).unwrap();
    assert!(
        nested.message.contains("`nest.a NOT NULL`, `nest.a comment`, `nest.b c.element.d NOT NULL`"),
        "{}",
        nested.message
    );
    let definition = plan.definition.unwrap();
    assert_eq!(definition.columns[0].comment.as_deref().map(str::len), Some(1023));
    assert_eq!(definition.columns[2].data_type.to_string(), "STRUCT<a:INT,b_c:ARRAY<STRUCT<d:INT>>>");
}

#[test]
fn names_are_mapped_checked_and_told_apart() {
    let mut source = table(&[("a-b", "int"), ("A_B", "int"), ("c", "int")]);
    source.table = "1st-table".into();
    let plan = plan_table(&source, &demo_rules());
    let clash: Vec<_> = plan.blockers().collect();
    assert_eq!(clash.iter().map(|finding| finding.reason).collect::<Vec<_>>(), [Reason::ColumnNameCollision]);
    assert!(reasons(&plan).contains("COLUMN_RENAMED"));
    assert!(clash[0].message.contains("`a-b` → `a_b`, `A_B` → `A_B`"), "{}", clash[0].message);

    let mut explicit = demo_rules();
    explicit.column_names = BTreeMap::from([("A_B".into(), "other".into())]);
    let definition = plan_table(&source, &explicit).definition.unwrap();
    assert_eq!(definition.target.to_string(), "proj.s.t_1st_table");
    explicit.column_names.insert("nope".into(), "x".into());
    assert_eq!(
        plan_table(&source, &explicit).blockers().map(|f| f.reason).collect::<Vec<_>>(),
        [Reason::ColumnUnknown]
    );

    source.schema = "my schema".into();
    let codes = reasons(&plan_table(&source, &rules()));
    assert!(codes.is_superset(&BTreeSet::from(["TABLE_NAME_ILLEGAL", "COLUMN_NAME_ILLEGAL", "SCHEMA_NAME_ILLEGAL"])));
    let named = MappingRules { table_name: Some("Exact".into()), target_schema: SchemaRule::TwoTier, ..explicit };
    assert!(!reasons(&plan_table(&source, &named)).contains("TABLE_NAME_ILLEGAL"));
}

#[test]
fn partition_columns_follow_type_and_nulls() {
    let mut source =
        table(&[("v", "int"), ("c", "char(3)"), ("n", "bigint"), ("d", "decimal(38,38)"), ("s", "string")]);
    source.partition_columns = vec!["s".into(), "N".into(), "c".into(), "d".into()];
    source.columns[2].nullable = false;
    source.partition_nulls = BTreeMap::from([("c".into(), false)]);
    assert!(ddl(&plan_table(&source, &rules())).ends_with("by (s STRING, n BIGINT, c CHAR(3), d STRING)"));
    source.partition_nulls.insert("c".into(), true);
    assert!(ddl(&plan_table(&source, &rules())).ends_with("by (s STRING, n BIGINT, c STRING, d STRING)"));

    source.columns[1].data_type = SparkType::Binary;
    source.partition_columns.push("gone".into());
    let codes = reasons(&plan_table(&source, &rules()));
    assert!(codes.is_superset(&BTreeSet::from(["PARTITION_TYPE_UNSUPPORTED", "COLUMN_UNKNOWN"])));
}

#[test]
fn keys_and_kinds() {
    let mut source = table(&[("id", "bigint"), ("day", "string"), ("v", "array<int>")]);
    source.columns[0].nullable = false;
    source.columns[1].nullable = false;
    source.primary_key = vec!["day".into(), "id".into()];
    source.partition_columns = vec!["day".into()];
    let plan = plan_table(&source, &rules());
    assert_eq!(reasons(&plan), BTreeSet::from(["PRIMARY_KEY_MERGES", "PRIMARY_KEY_REDUCED"]));
    let definition = plan.definition.unwrap();
    assert_eq!((definition.kind, definition.primary_key.len()), (TableKind::PkDelta, 1));
    assert!(!definition.columns[0].nullable);

    let ordinary = MappingRules { table_kind: Some(TableKind::Ordinary), ..rules() };
    let plan = plan_table(&source, &ordinary);
    assert_eq!(reasons(&plan), BTreeSet::from(["PRIMARY_KEY_LOST"]));
    assert!(plan.definition.unwrap().primary_key.is_empty());

    for key in [vec!["day"], vec!["v"], vec!["nope"]] {
        source.primary_key = key.into_iter().map(str::to_owned).collect();
        assert_eq!(plan_table(&source, &rules()).blockers().count(), 1, "{:?}", source.primary_key);
    }
    source.primary_key.clear();
    let keyed = MappingRules { table_kind: Some(TableKind::PkDelta), ..rules() };
    assert_eq!(
        plan_table(&source, &keyed).blockers().map(|f| f.reason).collect::<Vec<_>>(),
        [Reason::PrimaryKeyUnusable]
    );
}

#[test]
fn limits_are_blockers() {
    let many: Vec<(String, &str)> = (0..=COLUMNS_MAX).map(|i| (format!("c{i}"), "int")).collect();
    let mut source = table(&many.iter().map(|(name, text)| (name.as_str(), *text)).collect::<Vec<_>>());
    assert_eq!(reasons(&plan_table(&source, &rules())), BTreeSet::from(["TOO_MANY_COLUMNS"]));
    source.columns.pop();
    assert!(plan_table(&source, &rules()).definition.is_some());
    source.partition_columns = vec!["c0".into()];
    source.partition_count = Some(PARTITIONS_MAX + 1);
    assert!(reasons(&plan_table(&source, &rules())).contains("TOO_MANY_PARTITIONS"));
    source.columns.truncate(1);
    source.partition_count = None;
    assert!(reasons(&plan_table(&source, &rules())).contains("NO_DATA_COLUMN"));
    assert!(reasons(&plan_table(&table(&[]), &rules())).contains("NO_DATA_COLUMN"));
}

#[test]
fn a_partition_type_that_the_target_has_stays_and_a_null_concerns_its_own_partition() {
    let mut source = table(&[("v", "string"), ("p", "int")]);
    source.partition_columns = vec!["p".into()];
    let planned = |nulls: bool, kept: Option<DataType>| {
        let mut source = source.clone();
        source.partition_nulls = BTreeMap::from([("p".to_owned(), nulls)]);
        let types = kept.map(|kept| ("p".to_owned(), kept)).into_iter().collect();
        plan_table(&source, &MappingRules { partition_types: types, ..rules() })
    };
    let level = |plan: &TablePlan| plan.partitions.as_ref().unwrap().levels[0].target_type.clone();
    assert_eq!(level(&planned(false, None)), DataType::Int);
    assert_eq!(level(&planned(true, None)), DataType::String);
    let kept = planned(true, Some(DataType::Int));
    assert_eq!(level(&kept), DataType::Int);
    let mapping = kept.partitions.unwrap();
    let map = |value: Option<&str>| mapping.map(&BTreeMap::from([("p".to_owned(), value.map(str::to_owned))]));
    assert!(map(Some("7")).is_ok());
    let refused = map(None).unwrap_err();
    assert!(
        matches!(&refused, MappingError::PartitionValue { problem: PartitionProblem::Null { .. }, .. }),
        "{refused}"
    );
    assert_eq!(level(&planned(false, Some(DataType::String))), DataType::String);
    assert_eq!(
        level(&planned(false, Some(DataType::Double))),
        DataType::Int,
        "a type that is none of the two is no guide"
    );
}
