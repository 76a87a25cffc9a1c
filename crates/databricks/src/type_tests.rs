//! Type texts: the canonical text of every type reads back as that type.

use proptest::prelude::*;

use super::*;

fn leaf() -> impl Strategy<Value = SparkType> {
    prop_oneof![
        prop::sample::select(vec![
            SparkType::Boolean,
            SparkType::Byte,
            SparkType::Short,
            SparkType::Integer,
            SparkType::Long,
            SparkType::Float,
            SparkType::Double,
            SparkType::String,
            SparkType::Binary,
            SparkType::Date,
            SparkType::Timestamp,
            SparkType::TimestampNtz,
            SparkType::Variant,
            SparkType::Null,
            SparkType::Interval("interval day to second".to_owned()),
            SparkType::Other("geometry(4326)".to_owned()),
        ]),
        (1_u8..=38, 0_u8..=38).prop_map(|(p, s)| SparkType::Decimal { precision: p, scale: s.min(p) }),
        any::<u32>().prop_map(SparkType::Varchar),
        any::<u32>().prop_map(SparkType::Char),
    ]
}

fn types() -> impl Strategy<Value = SparkType> {
    leaf().prop_recursive(4, 24, 4, |inner| {
        let field =
            ("[a-zA-Z0-9_ .:`<>,é]{1,8}", inner.clone(), any::<bool>()).prop_map(|(name, data_type, nullable)| {
                SparkField { name, data_type, nullable, comment: None, metadata: BTreeMap::new() }
            });
        prop_oneof![
            inner.clone().prop_map(|element| SparkType::Array { element: Box::new(element), contains_null: true }),
            (inner.clone(), inner).prop_map(|(key, value)| SparkType::Map {
                key: Box::new(key),
                value: Box::new(value),
                value_contains_null: true
            }),
            prop::collection::vec(field, 0..4).prop_map(SparkType::Struct),
        ]
    })
}

proptest! {
    #[test]
    fn the_text_of_a_type_reads_back_as_it(data_type in types()) {
        let text = data_type.to_string();
        prop_assert_eq!(parse_type_text(&text), Ok(data_type));
    }

    #[test]
    fn any_text_is_read_or_refused_without_a_panic(text in "[a-z<>(),:` '\\\\0-9é]{0,60}") {
        let _either = parse_type_text(&text);
    }
}

#[test]
fn ddl_as_people_write_it() {
    for (text, canonical) in [
        ("STRUCT<a: INT NOT NULL COMMENT 'it''s \\'x\\'', `b c` STRING>", "struct<a:int not null,`b c`:string>"),
        (" Decimal ", "decimal(10,0)"),
        ("string collate UTF8_LCASE", "string"),
        ("array< map<string , double> >", "array<map<string,double>>"),
        ("struct<größe:int>", "struct<`größe`:int>"),
        ("struct<>", "struct<>"),
    ] {
        assert_eq!(parse_type_text(text).unwrap().to_string(), canonical, "{text}");
    }
    for text in ["", "array<int", "decimal(39,1)", "decimal(3,4)", "varchar", "int int", "struct<a>", "map<int>"] {
        assert!(parse_type_text(text).is_err(), "{text}");
    }
    assert!(parse_type_text(&"array<".repeat(10_000)).is_err());
}
