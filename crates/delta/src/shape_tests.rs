use super::*;

fn shape(root: &str) -> TableShape {
    let schema = StructType::try_new([
        StructField::new("id", DataType::LONG, false),
        StructField::nullable("p", DataType::STRING),
    ])
    .unwrap();
    TableShape::new(Url::parse(root).unwrap(), Arc::new(schema), vec!["p".into()], ColumnMapping::None).unwrap()
}

const LAKE: &str = "abfss://lake@acct.dfs.core.windows.net/s/t/";

#[test]
fn the_text_is_read_back() {
    let shape = shape(LAKE);
    let text = shape.text();
    assert_eq!((text.root.as_str(), text.column_mapping), (LAKE, ColumnMapping::None));
    assert!(
        text.schema.starts_with(r#"{"type":"struct","fields":[{"name":"id","type":"long","nullable":false"#),
        "{text:?}"
    );
    let back = TableShape::read(text.clone()).unwrap();
    assert_eq!(back.text(), text);
    assert_eq!(back.arrow_schema(), shape.arrow_schema());
    assert_eq!(back.partition_columns(), ["p"]);
}

#[test]
fn a_text_that_describes_no_table_is_refused() {
    let good = shape(LAKE).text();
    for broken in [
        ShapeText { root: String::new(), ..good.clone() },
        ShapeText { root: LAKE.trim_end_matches('/').to_owned(), ..good.clone() },
        ShapeText { schema: "{}".to_owned(), ..good.clone() },
        ShapeText { partition_columns: vec!["q".to_owned()], ..good.clone() },
    ] {
        assert!(matches!(TableShape::read(broken.clone()), Err(DeltaError::InvalidShape(_))), "{broken:?}");
    }
}

#[test]
fn paths_are_decoded_once_and_stay_under_the_root() {
    let lake = shape(LAKE);
    for (path, object) in [
        ("a.parquet", "s/t/a.parquet"),
        ("p=a%20b/a.parquet", "s/t/p=a b/a.parquet"),
        ("p=a%2520b/a.parquet", "s/t/p=a%20b/a.parquet"),
        ("p=%3A/a.parquet", "s/t/p=:/a.parquet"),
        ("abfss://lake@acct.dfs.core.windows.net/s/t/a.parquet", "s/t/a.parquet"),
        ("wasbs://lake@acct.blob.core.windows.net/s/t/x%20y", "s/t/x y"),
        ("https://acct.blob.core.windows.net/lake/s/t/a", "s/t/a"),
        ("x/../a", "s/t/a"),
    ] {
        let (_, found) = lake.locate(path).expect(path);
        assert_eq!(found.as_ref(), object, "{path}");
    }
    for path in [
        "",
        "../t2/a",
        "/s/t2/a",
        "..%2Ft2/a",
        "%2e%2e/t2/a",
        "abfss://lake@other.dfs.core.windows.net/s/t/a",
        "abfss://other@acct.dfs.core.windows.net/s/t/a",
        "abfss://lake@acct.dfs.core.windows.net/s/t2/a",
        "https://evil.example/lake/s/t/a",
        "file:///etc/passwd",
        "a?x=1",
        "a#b",
    ] {
        assert!(matches!(lake.locate(path), Err(DeltaError::OutsideRoot { .. })), "{path:?}: {:?}", lake.locate(path));
    }
    assert_eq!(shape("file:///d/t/").locate("file:/d/t/a").unwrap().1.as_ref(), "d/t/a");
}
