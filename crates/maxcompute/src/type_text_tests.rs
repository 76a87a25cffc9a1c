use proptest::prelude::*;

use crate::types::{DataType, StructField};

fn parse(text: &str) -> DataType {
    text.parse().unwrap()
}

#[test]
fn reads_what_servers_and_people_write() {
    assert_eq!(parse(" BigInt "), DataType::BigInt);
    assert_eq!(parse("decimal"), DataType::Decimal { precision: 38, scale: 18 });
    assert_eq!(parse("DECIMAL( 10 , 2 )"), DataType::Decimal { precision: 10, scale: 2 });
    assert_eq!(parse("decimal(10)"), DataType::Decimal { precision: 10, scale: 0 });
    assert_eq!(parse("varchar(65535)"), DataType::Varchar(65_535));
    let list_of_struct = DataType::Array(Box::new(DataType::Struct(vec![
        StructField { name: "a".into(), data_type: DataType::BigInt },
        StructField {
            name: "b`c d".into(),
            data_type: DataType::Map(Box::new(DataType::String), Box::new(DataType::TimestampNtz)),
        },
    ])));
    assert_eq!(parse("array<struct<a:bigint, `b``c d` : MAP< string,timestamp_ntz>>>"), list_of_struct);
}

#[test]
fn refuses_what_is_no_type_and_says_where() {
    for (text, at) in
        [("", 0), ("bigint x", 7), ("interval", 0), ("array<int", 9), ("char", 4), ("struct<a bigint>", 9)]
    {
        let error = text.parse::<DataType>().unwrap_err();
        assert_eq!(error.at, at, "{text}: {error}");
    }
    assert!("decimal(999)".parse::<DataType>().is_err());
    let deep = format!("{}int{}", "array<".repeat(1000), ">".repeat(1000));
    assert_eq!(deep.parse::<DataType>().unwrap_err().expected, "less nesting");
}

fn any_type() -> impl Strategy<Value = DataType> {
    let leaf = prop_oneof![
        Just(DataType::TinyInt),
        Just(DataType::SmallInt),
        Just(DataType::Int),
        Just(DataType::BigInt),
        Just(DataType::Float),
        Just(DataType::Double),
        Just(DataType::Boolean),
        (1u8..=38, 0u8..=18).prop_map(|(precision, scale)| DataType::Decimal { precision, scale }),
        Just(DataType::String),
        (1u32..=65_535).prop_map(DataType::Varchar),
        (1u32..=255).prop_map(DataType::Char),
        Just(DataType::Binary),
        Just(DataType::Date),
        Just(DataType::Datetime),
        Just(DataType::Timestamp),
        Just(DataType::TimestampNtz),
        Just(DataType::Json),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            inner.clone().prop_map(|item| DataType::Array(Box::new(item))),
            (inner.clone(), inner.clone()).prop_map(|(k, v)| DataType::Map(Box::new(k), Box::new(v))),
            prop::collection::vec(("[^\\x00]{1,8}", inner), 1..4).prop_map(|fields| {
                DataType::Struct(fields.into_iter().map(|(name, data_type)| StructField { name, data_type }).collect())
            }),
        ]
    })
}

proptest! {
    #[test]
    fn printing_then_reading_is_the_identity(data_type in any_type()) {
        let text = data_type.to_string();
        prop_assert_eq!(&parse(&text), &data_type);
    }

    #[test]
    fn no_text_breaks_the_parser(text in "\\PC{0,40}") {
        // Only that parsing returns matters, not what.
        let _answer = text.parse::<DataType>();
    }
}
