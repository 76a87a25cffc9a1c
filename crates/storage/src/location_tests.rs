use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Result<StorageLocation, StorageError> {
    StorageLocation::parse(text, LocalFiles::Refused)
}

#[test]
fn every_spelling_of_a_place_is_one_place() {
    let canonical = "abfss://lake@acct.dfs.core.windows.net/a%20b/t/";
    for text in [
        canonical,
        "abfss://lake@acct.dfs.core.windows.net/a b/t",
        "abfs://lake@acct.dfs.core.windows.net/a%20b/t",
        "wasbs://lake@acct.blob.core.windows.net/a%20b/t/",
        "https://acct.blob.core.windows.net/lake/a%20b/t",
        "https://acct.dfs.core.windows.net/lake/a%20b/t/",
    ] {
        let location = parse(text).expect(text);
        assert_eq!(location.to_string(), canonical, "{text}");
        assert_eq!(location.object_path().unwrap().as_ref(), "a b/t");
        let StorageLocation::Azure(azure) = location else { panic!("{text}") };
        assert_eq!(azure.blob_endpoint(), "https://acct.blob.core.windows.net");
    }
}

#[test]
fn sovereign_clouds_and_dns_zones_keep_their_suffix() {
    for (text, endpoint) in [
        ("abfss://con@acct.dfs.core.chinacloudapi.cn/x", "https://acct.blob.core.chinacloudapi.cn"),
        ("abfss://con@acct.dfs.core.usgovcloudapi.net/x", "https://acct.blob.core.usgovcloudapi.net"),
        ("https://acct.z12.blob.storage.azure.net/con/x", "https://acct.z12.blob.storage.azure.net"),
    ] {
        let Ok(StorageLocation::Azure(azure)) = parse(text) else { panic!("{text}") };
        assert_eq!(azure.blob_endpoint(), endpoint);
        assert_eq!(azure.path().as_ref(), "x");
    }
}

#[test]
fn what_is_no_place_of_azure_is_refused_by_kind() {
    let kind = |text: &str| match parse(text).expect_err(text) {
        StorageError::NotAUrl { .. } => "url",
        StorageError::Scheme { .. } => "scheme",
        StorageError::LocalRefused { .. } => "local",
        StorageError::Host { .. } => "host",
        StorageError::Part { part, .. } => part,
        other => panic!("{other}"),
    };
    for (text, expected) in [
        ("no url", "url"),
        ("s3://bucket/x", "scheme"),
        ("dbfs:/mnt/x", "scheme"),
        ("http://acct.blob.core.windows.net/con/x", "scheme"),
        ("file:///etc", "local"),
        ("abfss://con@evil.example/x", "host"),
        ("abfss://con@acct.dfs.core.windows.net.evil.example/x", "host"),
        ("abfss://con@acct.file.core.windows.net/x", "host"),
        ("https://acct.blob.core.windows.net/con/x?sig=canary", "query"),
        ("abfss://con:pw@acct.dfs.core.windows.net/x", "authority"),
        ("https://acct.blob.core.windows.net:8443/con/x", "authority"),
        ("https://user@acct.blob.core.windows.net/con/x", "user"),
        ("abfss://con@ACCT_1.dfs.core.windows.net/x", "account"),
        ("abfss://acct.dfs.core.windows.net/x", "container"),
        ("https://acct.blob.core.windows.net/", "container"),
        ("abfss://con@acct.dfs.core.windows.net/a%2F..%2Fb", "path"),
        ("abfss://con@acct.dfs.core.windows.net/a%FF", "path"),
    ] {
        assert_eq!(kind(text), expected, "{text}");
    }
}

#[test]
fn a_secret_in_a_location_is_not_repeated() {
    for text in
        ["https://acct.blob.core.windows.net/con/x?sig=canary", "abfss://con:canary@acct.dfs.core.windows.net/x"]
    {
        assert!(!parse(text).expect_err(text).to_string().contains("canary"));
    }
}

#[test]
fn local_files_need_permission() {
    let location = StorageLocation::parse("file:/data/my%20tables", LocalFiles::Allowed).unwrap();
    assert_eq!(location, StorageLocation::Local("/data/my tables".into()));
    assert_eq!(location.to_string(), "file:///data/my%20tables/");
    assert_eq!(location.object_path().unwrap().as_ref(), "data/my tables");
    assert!(StorageLocation::local(FilePath::new("relative")).is_err());
}

proptest! {
    #[test]
    fn the_canonical_url_parses_to_the_same_place(segments in proptest::collection::vec("[^/\\p{Cc}]{1,12}", 0..5)) {
        prop_assume!(segments.iter().all(|s| s != "." && s != ".."));
        let Ok(path) = ObjectPath::parse(segments.join("/")) else { return Ok(()) };
        let location = StorageLocation::Azure(AzureLocation {
            account: "acct".into(),
            zone: None,
            suffix: "core.windows.net".into(),
            container: "lake".into(),
            path,
        });
        prop_assert_eq!(parse(location.url().as_str()).unwrap(), location);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in ".{0,80}") {
        // Only the absence of a panic is tested; both outcomes are fine.
        drop(StorageLocation::parse(&text, LocalFiles::Allowed));
    }
}
