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
    let back = TableShape::from_json(&shape.to_json()).unwrap();
    assert_eq!(back.to_json(), shape.to_json());
    assert_eq!(back.arrow_schema(), shape.arrow_schema());
    assert_eq!(back.partition_columns(), ["p"]);
}

#[test]
fn a_text_of_another_kind_is_refused() {
    let text = shape(LAKE).to_json();
    for broken in [
        "{}".to_owned(),
        text.replace("\"format\":1", "\"format\":2"),
        text.replace("/s/t/", "/s/t"),
        text.replace("[\"p\"]", "[\"q\"]"),
    ] {
        assert_ne!(broken, text);
        assert!(matches!(TableShape::from_json(&broken), Err(DeltaError::InvalidShape(_))), "{broken}");
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
