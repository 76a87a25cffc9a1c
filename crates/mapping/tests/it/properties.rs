//! Property tests over arbitrary tables and values.

use std::collections::{BTreeMap, BTreeSet};

use mms_mapping::*;
use mms_maxcompute::name::{ColumnName, ProjectName, TableName};
use proptest::prelude::*;

fn spark_type() -> impl Strategy<Value = SparkType> {
    // Mostly types that can be carried over: one blocker is enough to leave a table without a definition to check.
    let fine = prop::sample::select(vec![
        SparkType::Byte,
        SparkType::Integer,
        SparkType::Long,
        SparkType::Double,
        SparkType::Boolean,
        SparkType::String,
        SparkType::Timestamp,
        SparkType::Char(255),
        SparkType::Char(256),
        SparkType::Varchar(65_535),
        SparkType::Varchar(65_536),
        SparkType::CollatedString("UTF8_LCASE".into()),
        SparkType::Decimal { precision: 38, scale: 18 },
    ]);
    let grim = prop_oneof![
        Just(SparkType::Binary),
        Just(SparkType::Variant),
        Just(SparkType::Void),
        Just(SparkType::Char(0)),
        (any::<u8>(), any::<u8>()).prop_map(|(precision, scale)| SparkType::Decimal { precision, scale }),
        ".{0,5}".prop_map(SparkType::Other),
    ];
    let leaf = prop_oneof![60 => fine, 1 => grim];
    let leaf = leaf.boxed();
    let nested = leaf.clone().prop_recursive(3, 12, 3, |inner| {
        let field = (prop_oneof![30 => "[a-z]{2,5}", 1 => "[aA_b c]{0,2}|.{0,3}"], inner.clone(), any::<bool>())
            .prop_map(|(name, data_type, nullable)| SparkField { name, data_type, nullable, comment: None });
        prop_oneof![
            (inner.clone(), any::<bool>())
                .prop_map(|(e, contains_null)| SparkType::Array { element: Box::new(e), contains_null }),
            (inner.clone(), inner, any::<bool>()).prop_map(|(key, value, value_contains_null)| SparkType::Map {
                key: Box::new(key),
                value: Box::new(value),
                value_contains_null
            }),
            prop::collection::vec(field, 1..4).prop_map(SparkType::Struct),
        ]
    });
    prop_oneof![4 => leaf, 1 => nested]
}

fn source_table() -> impl Strategy<Value = SourceTable> {
    let name = prop_oneof![90 => "[a-z]{3,6}", 2 => "[a-cA-C_ -]{1,3}", 1 => ".{0,6}"];
    let column = (name, spark_type(), any::<bool>(), prop::option::of("[xé]{0,1200}")).prop_map(
        |(name, data_type, nullable, comment)| SourceColumn { name, data_type, nullable, comment, extras: vec![] },
    );
    let columns = prop::collection::vec(column, 0..14);
    (
        prop_oneof![8 => "[a-z]{1,3}", 1 => ".{0,6}"],
        prop_oneof![8 => "[a-z][a-z_]{0,5}", 1 => "[a-z-]{1,5}|.{0,140}"],
        columns,
        any::<u16>(),
        any::<u16>(),
        any::<u16>(),
    )
        .prop_map(|(schema, table, columns, partition_bits, null_bits, key_bits)| {
            let chosen = |bits: u16| -> Vec<String> {
                let named = columns.iter().enumerate().filter(|(i, _)| bits >> i & 1 == 1);
                named.map(|(_, column): (_, &SourceColumn)| column.name.clone()).collect()
            };
            let partition_nulls = chosen(null_bits).into_iter().map(|name| (name, false)).collect();
            let primary_key = if key_bits % 5 == 0 { chosen(key_bits) } else { vec![] };
            let mut partition_columns = chosen(partition_bits);
            if partition_bits % 4 != 0 {
                // Delta itself rejects nested partition columns, so they are generated rarely.
                let nested = |t: &SparkType| t.to_string().contains('<');
                partition_columns.retain(|name| !columns.iter().any(|c| c.name == *name && nested(&c.data_type)));
            }
            SourceTable {
                schema,
                table,
                columns,
                partition_columns,
                primary_key,
                partition_nulls,
                ..SourceTable::default()
            }
        })
}

fn character_map() -> impl Strategy<Value = CharacterMap> {
    let entries = prop::collection::btree_map("[a-c /-]{1,2}", "[a-c_]{0,2}", 0..4);
    (entries, any::<bool>()).prop_map(|(entries, fallback)| {
        let map = CharacterMap::new(entries).unwrap();
        if fallback { map.with_fallback(Others::OutsideWords, "_").unwrap() } else { map }
    })
}

fn rules() -> impl Strategy<Value = MappingRules> {
    (character_map(), character_map(), any::<bool>(), any::<bool>()).prop_map(|(tables, columns, prefix, two_tier)| {
        let schema = if two_tier { SchemaRule::TwoTier } else { SchemaRule::LikeSource };
        MappingRules {
            table_characters: tables,
            column_characters: columns,
            table_name_prefix: prefix.then(|| "t_".to_owned()),
            ..MappingRules::plain(ProjectName::new("p").unwrap(), schema, "ds")
        }
    })
}

proptest! {
    /// A plan has either a blocker, or a definition that the target accepts and that contains every source column exactly once.
    #[test]
    fn a_plan_is_legal_or_blocked(source in source_table(), rules in rules()) {
        let plan = plan_table(&source, &rules);
        prop_assert_eq!(plan.columns.len(), source.columns.len());
        prop_assert_eq!(plan.definition.is_none(), plan.blockers().next().is_some());
        prop_assert_eq!(plan.definition.is_none(), plan.partitions.is_none());
        prop_assert_eq!(&plan, &plan_table(&source, &rules));
        let stored = serde_json::to_string(&plan).unwrap();
        prop_assert_eq!(&plan, &serde_json::from_str::<TablePlan>(&stored).unwrap());
        let Some(definition) = plan.definition else { return Ok(()) };
        prop_assert!(TableName::new(definition.target.table.as_str()).is_ok());
        prop_assert!(definition.partition_columns.len() <= PARTITION_LEVELS_MAX);
        prop_assert!(definition.partition_columns.iter().all(|c| c.data_type.partitions()));
        prop_assert!(!definition.columns.is_empty());
        let all: Vec<_> = definition.columns.iter().chain(&definition.partition_columns).collect();
        prop_assert_eq!(all.len(), source.columns.len());
        prop_assert_eq!(all.iter().map(|c| c.name.key()).collect::<BTreeSet<_>>().len(), all.len());
        prop_assert!(all.iter().all(|c| c.comment.as_ref().is_none_or(|t| t.len() <= COMMENT_BYTES_MAX)));
        for (mapping, column) in plan.columns.iter().zip(&source.columns) {
            prop_assert_eq!(&mapping.source, &column.name);
            let name = ColumnName::new(mapping.target.as_str()).unwrap();
            prop_assert!(all.iter().any(|c| c.name == name && Some(&c.data_type) == mapping.target_type.as_ref()));
        }
        let key = |name: &ColumnName| definition.columns.iter().any(|c| c.name == *name && !c.nullable);
        prop_assert!(definition.primary_key.iter().all(key));
    }

    /// Each character is mapped once, whatever replacement precedes it.
    #[test]
    fn characters_are_mapped_in_one_pass(entries in prop::collection::btree_map("[a-e]", "[a-e]{0,3}", 0..5), text in "[a-f]{0,12}") {
        let map = CharacterMap::new(entries.clone()).unwrap();
        let expected: String =
            text.chars().map(|c| entries.get(&c.to_string()).cloned().unwrap_or(c.to_string())).collect();
        prop_assert_eq!(map.apply(&text), expected);
    }

    #[test]
    fn a_fallback_leaves_nothing_else(text in ".{0,30}") {
        let mapped = CharacterMap::default().with_fallback(Others::OutsideWords, "_").unwrap().apply(&text);
        prop_assert!(mapped.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'));
        prop_assert_eq!(mapped.chars().count(), text.chars().count());
    }

    /// The canonical text of a value is its own canonical text, and computing it never panics.
    #[test]
    fn canonical_text_is_idempotent(
        source in spark_type(),
        raw in ".{0,12}|[-+0-9.eE]{0,12}|[0-9]{4}-[01][0-9]-[0-3][0-9]([ T][0-2][0-9]:[0-5][0-9]:[0-6][0-9](\\.[0-9]{1,9})?(Z|[+-][01][0-9]:00)?)?",
    ) {
        for source in [source, SparkType::Double, SparkType::Float, SparkType::Date, SparkType::Timestamp, SparkType::TimestampNtz] {
            if let Ok(text) = canonical_text(&source, &raw) {
                prop_assert_eq!(canonical_text(&source, &text), Ok(text));
            }
        }
    }

    #[test]
    fn floating_texts_keep_their_value(double in any::<f64>(), float in any::<f32>()) {
        let text = canonical_text(&SparkType::Double, &format!("{double:?}").replace("inf", "Infinity")).unwrap();
        let read: f64 = text.parse().unwrap();
        prop_assert!(read.to_bits() == double.to_bits() || (read.is_nan() && double.is_nan()));
        let text = canonical_text(&SparkType::Float, &format!("{float:?}").replace("inf", "Infinity")).unwrap();
        let read: f32 = text.parse().unwrap();
        prop_assert!(read.to_bits() == float.to_bits() || (read.is_nan() && float.is_nan()));
    }

    #[test]
    fn decimals_keep_their_value(unscaled in -10_i64.pow(17)..10_i64.pow(17), scale in 0..=18_u8) {
        let kind = SparkType::Decimal { precision: 38, scale };
        let text = canonical_text(&kind, &format!("{unscaled}E-{scale}")).unwrap();
        prop_assert_eq!(text.replace('.', "").parse::<i64>().unwrap(), unscaled);
        prop_assert_eq!(text.split_once('.').map_or(0, |(_, f)| f.len()), usize::from(scale));
    }

    /// A mapped partition can be expressed in the tunnel's form; without a clash, different sources have different targets.
    #[test]
    fn mapped_partitions_can_be_said(map in character_map(), values in prop::collection::vec(prop::option::of("[a-c/_ =é]{0,4}"), 0..8)) {
        let mapping = PartitionMapping {
            levels: vec![PartitionLevel {
                source: "p".into(),
                source_type: SparkType::String,
                target: ColumnName::new("p").unwrap(),
                target_type: mms_maxcompute::types::DataType::String,
            }],
            characters: map,
        };
        let mapped: Vec<_> =
            values.iter().filter_map(|v| mapping.map(&BTreeMap::from([("p".to_owned(), v.clone())])).ok()).collect();
        for partition in &mapped {
            let text = partition.target.to_string();
            prop_assert!(text.split(',').count() == 1 && text.split('=').count() == 2 && !text.contains('/'));
        }
        let sources: BTreeSet<_> = mapped.iter().map(|m| &m.source).collect();
        let targets: BTreeSet<_> = mapped.iter().map(|m| &m.target).collect();
        prop_assert_eq!(partition_clashes(&mapped).is_empty(), sources.len() == targets.len());
    }

    #[test]
    fn no_schema_text_makes_the_readers_panic(text in ".{0,40}", near in "[a-z<>:,()` ]{0,40}|(array|map|struct|decimal|string collate )[<(][a-z0-9:, ]{0,12}[>)]") {
        for text in [text, near] {
            if let Ok(found) = text.parse::<SparkType>() {
                prop_assert!(!found.to_string().is_empty());
            }
            prop_assert!(parse_schema(&text).is_err());
            let field = serde_json::json!({"name": text, "type": text, "metadata": {"__CHAR_VARCHAR_TYPE_STRING": text, "__COLLATIONS": {"a": text}}});
            let schema = serde_json::json!({"type": "struct", "fields": [field]});
            prop_assert!(parse_schema(&schema.to_string()).is_ok());
        }
    }
}
