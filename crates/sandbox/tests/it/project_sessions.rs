//! A session belongs to one table and one partition: a request that names another does not find it.

use crate::support::{ONE, serve};
use reqwest::Method;

const T: &str = "/projects/demo/tables/t";
const U: &str = "/projects/demo/tables/u";

#[tokio::test]
async fn an_upload_is_found_under_its_own_partition_only() {
    let dir = tempfile::tempdir().expect("a directory");
    let (project, client) = serve(dir.path()).await;
    for table in ["t", "u"] {
        client.sql(&format!("CREATE TABLE {table} (a BIGINT) PARTITIONED BY (p STRING);")).await.expect("made");
        client.sql(&format!("ALTER TABLE {table} ADD PARTITION (p='x') PARTITION (p='y');")).await.expect("added");
    }
    let id = client.open(T, &[("partition", "p=x"), ("overwrite", "true")]).await;
    let one = || hex::decode(ONE).expect("hex");
    for (table, partition, want) in [
        (T, Some("p=y"), "NoSuchUpload"),
        (T, Some("p=nowhere"), "NoSuchUpload"),
        (T, None, "MissingPartitionSpec"),
        (T, Some("q=x"), "InvalidPartitionSpec"),
        (U, Some("p=x"), "NoSuchUpload"),
    ] {
        for (method, block) in [(Method::PUT, Some("0")), (Method::GET, None), (Method::POST, None)] {
            let mut params = vec![("uploadid", id.as_str())];
            params.extend(partition.map(|p| ("partition", p)));
            params.extend(block.map(|b| ("blockid", b)));
            let body = if block.is_some() { one() } else { Vec::new() };
            let (_, code) = client.call(method.clone(), table, &params, body).await.refusal();
            assert_eq!(code, want, "{method} {table} {partition:?}");
        }
    }
    let own = [("uploadid", id.as_str()), ("partition", "p=x")];
    let session = client.call(Method::GET, T, &own, Vec::new()).await.ok().json();
    assert_eq!((&session["Status"], &session["UploadedBlockList"]), (&"normal".into(), &serde_json::json!([])));
    let block = [own.as_slice(), &[("blockid", "0")]].concat();
    client.call(Method::PUT, T, &block, one()).await.ok();
    client.call(Method::POST, T, &own, Vec::new()).await.ok();
    assert_eq!((client.count("t WHERE p='x'").await, client.count("t WHERE p='y'").await), (1, 0));
    project.shutdown().await;
}

#[tokio::test]
async fn a_download_is_found_under_its_own_source_only() {
    let dir = tempfile::tempdir().expect("a directory");
    let (project, client) = serve(dir.path()).await;
    client.sql("CREATE TABLE t (a BIGINT) PARTITIONED BY (p STRING);").await.expect("made");
    client.sql("CREATE TABLE u (a BIGINT);").await.expect("made");
    client.sql("ALTER TABLE t ADD PARTITION (p='x') PARTITION (p='y');").await.expect("added");
    let instance = client.submit("SELECT COUNT(*) FROM u;", "").await;
    let other = client.submit("SELECT COUNT(*) FROM u;", "").await;
    let (instance, other) =
        (format!("/projects/demo/instances/{instance}"), format!("/projects/demo/instances/{other}"));
    let sources: [(&str, &[(&str, &str)]); 5] = [
        (T, &[("partition", "p=x")]),
        (T, &[("partition", "p=y")]),
        (U, &[]),
        (instance.as_str(), &[]),
        (other.as_str(), &[]),
    ];
    for (own, source) in sources.iter().enumerate() {
        let open = [source.1, &[("downloads", "")]].concat();
        let made = client.call(Method::POST, source.0, &open, Vec::new()).await.ok().json();
        let id = made["DownloadID"].as_str().expect("an id");
        for (i, (path, partition)) in sources.iter().enumerate() {
            let params = [*partition, &[("downloadid", id), ("data", ""), ("rowrange", "(0,0)")]].concat();
            let answer = client.call(Method::GET, path, &params, Vec::new()).await;
            if i == own {
                answer.ok();
            } else {
                assert_eq!(answer.refusal().1, "NoSuchDownload", "made for {source:?}, asked at {path} {partition:?}");
            }
        }
    }
    let id = client.call(Method::POST, U, &[("downloads", "")], Vec::new()).await.ok().json();
    client.sql("DROP TABLE u;").await.expect("dropped");
    client.sql("CREATE TABLE u (a BIGINT);").await.expect("made again");
    let params = [("downloadid", id["DownloadID"].as_str().expect("an id")), ("data", ""), ("rowrange", "(0,0)")];
    let answer = client.call(Method::GET, U, &params, Vec::new()).await;
    assert_eq!(answer.refusal().1, "NoSuchDownload", "the table of that session is gone");
    project.shutdown().await;
}
