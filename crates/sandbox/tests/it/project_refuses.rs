//! Requests that the sandbox project must reject: wrong signatures, names, limits, checksums, blocks, columns.

use crate::support::{Client, ONE, config, serve};
use mms_sandbox::project::{Project, ProjectError};
use reqwest::Method;

const T: &str = "/projects/demo/tables/t";

#[tokio::test]
async fn a_wrong_signature_or_clock_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let (project, mut client) = serve(dir.path()).await;
    client.call(Method::GET, "/projects/demo", &[], Vec::new()).await.ok();
    client.key = "another".to_owned();
    let (status, code) = client.call(Method::GET, "/projects/demo", &[], Vec::new()).await.refusal();
    assert_eq!((status, code.as_str()), (401, "Unauthorized"));
    client.key = crate::support::KEY.to_owned();
    client.clock = 16 * 60;
    let (_, code) = client.call(Method::GET, "/projects/demo", &[], Vec::new()).await.refusal();
    assert_eq!(code, "RequestTimeTooSkewed");
    let unsigned = reqwest::get(format!("{}/projects/demo", project.endpoint())).await.expect("answered");
    assert_eq!(unsigned.status(), 401);
    assert!(unsigned.headers().contains_key("x-odps-request-id"));
    project.shutdown().await;
}

#[tokio::test]
async fn a_directory_keeps_its_name_and_its_one_server() {
    let dir = tempfile::tempdir().expect("a directory");
    let (project, _) = serve(dir.path()).await;
    assert!(matches!(Project::start(config(dir.path())).await, Err(ProjectError::Locked { .. })));
    project.shutdown().await;
    let mut other = config(dir.path());
    other.name = "other".to_owned();
    assert!(matches!(Project::start(other).await, Err(ProjectError::OtherProject { .. })));
    let identity = dir.path().join("project.json");
    let text = std::fs::read_to_string(&identity).expect("read");
    let newer = text.replace("\"format\":1", "\"format\":2");
    assert_ne!(newer, text);
    std::fs::write(&identity, newer).expect("written");
    let refused = Project::start(config(dir.path())).await;
    assert!(matches!(refused, Err(ProjectError::Format { found: 2, known: 1, .. })));
    let mut illegal = config(dir.path());
    illegal.name = "1-x".to_owned();
    assert!(matches!(Project::start(illegal).await, Err(ProjectError::Name(_))));
}

#[tokio::test]
async fn illegal_tables_are_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let (project, client) = serve(dir.path()).await;
    let many = |n: usize| (0..n).map(|i| format!("c{i} INT")).collect::<Vec<_>>().join(",");
    let levels = (0..7).map(|i| format!("p{i} STRING")).collect::<Vec<_>>().join(",");
    for sql in [
        "CREATE TABLE `1t` (a INT);".to_owned(),
        "CREATE TABLE `a-b` (a INT);".to_owned(),
        format!("CREATE TABLE {} (a INT);", "x".repeat(129)),
        "CREATE TABLE t (`a b` INT);".to_owned(),
        "CREATE TABLE t (a INT, A STRING);".to_owned(),
        "CREATE TABLE t (a DECIMAL(39,1));".to_owned(),
        "CREATE TABLE t (a ARRAY<JSON>);".to_owned(),
        "CREATE TABLE t (a INT) PARTITIONED BY (p DOUBLE);".to_owned(),
        "CREATE TABLE t (a INT, PRIMARY KEY (a));".to_owned(),
        format!("CREATE TABLE t ({});", many(1201)),
        format!("CREATE TABLE t (a INT) PARTITIONED BY ({levels});"),
        "CREATE TABLE nowhere.t (a INT);".to_owned(),
        "CREATE TABLE other.default.t (a INT);".to_owned(),
        "INSERT INTO t VALUES (1);".to_owned(),
        "SELECT a FROM t;".to_owned(),
    ] {
        let error = client.sql(&sql).await.expect_err(&sql);
        assert!(error.starts_with("ODPS-"), "{sql}: {error}");
    }
    client.sql(&format!("CREATE TABLE t ({});", many(1200))).await.expect("1,200 columns are legal");
    for (sql, want) in [
        (
            "CREATE TABLE T (a INT);",
            "ODPS-0130071:[1,14] Semantic analysis exception - Table or view already exists - default.t",
        ),
        ("SELECT COUNT(*)\n FROM u;", "ODPS-0130131:[2,7] Table not found - table `default`.`u`"),
        ("DROP TABLE default.u;", "ODPS-0130131:[1,12] Table not found - table `default`.`u`"),
    ] {
        assert_eq!(client.sql(sql).await.expect_err(sql), want);
    }
    project.shutdown().await;
}

async fn table(client: &Client) {
    client.sql("CREATE TABLE t (a BIGINT NOT NULL) PARTITIONED BY (p STRING, q INT);").await.expect("made");
    client.sql("ALTER TABLE t ADD PARTITION (p='x', q=1);").await.expect("added");
}

#[tokio::test]
async fn partition_specs_are_checked() {
    let dir = tempfile::tempdir().expect("a directory");
    let (project, client) = serve(dir.path()).await;
    table(&client).await;
    for (spec, want) in [
        (None, "MissingPartitionSpec"),
        (Some("p=x"), "InvalidPartitionSpec"),
        (Some("p=x,q=abc"), "InvalidPartitionSpec"),
        (Some("p=x,q='1'"), "InvalidPartitionSpec"),
        (Some("p=x=y,q=1"), "InvalidPartitionSpec"),
        (Some("p=x,r=1"), "InvalidPartitionSpec"),
        (Some("p=new,q=1"), "NoSuchPartition"),
    ] {
        let mut params = vec![("uploads", "")];
        params.extend(spec.map(|s| ("partition", s)));
        let (_, code) = client.call(Method::POST, T, &params, Vec::new()).await.refusal();
        assert_eq!(code, want, "{spec:?}");
    }
    let long = format!("ALTER TABLE t ADD PARTITION (p='{}', q=1);", "x".repeat(129));
    assert!(client.sql(&long).await.is_err());
    assert!(client.sql("ALTER TABLE t ADD PARTITION (p='x', q='01');").await.is_err(), "01 is 1, which exists");
    let new = ("partition", "p=new,q=1");
    let id = client.open(T, &[new, ("create_partition", "true")]).await;
    client.call(Method::POST, T, &[("uploadid", &id), new], Vec::new()).await.ok();
    let text = client.sql("SELECT p, COUNT(*) AS n FROM t WHERE q = 1 GROUP BY p;").await.expect("counted");
    assert_eq!(text, "\"p\",\"n\"\n", "empty partitions have no groups");
    project.shutdown().await;
}

#[tokio::test]
async fn blocks_are_checked() {
    let dir = tempfile::tempdir().expect("a directory");
    let (project, client) = serve(dir.path()).await;
    client.sql("CREATE TABLE t (a BIGINT NOT NULL);").await.expect("made");
    let id = client.open(T, &[]).await;
    let null = "80c0ff7f00f0ffff7f02f8ffff7fc7979dc304";
    let bad_crc = ONE.replace("cab8b49905", "cbb8b49905");
    for (block, body, want) in [
        ("20000", ONE, "InvalidBlockID"),
        ("-1", ONE, "InvalidBlockID"),
        ("0", &ONE[..20], "IncompleteBody"),
        ("0", "", "IncompleteBody"),
        ("0", null, "MalformedDataStream"),
        ("0", bad_crc.as_str(), "CorruptedDataStream"),
        ("0", "0a0361626380c0ff7fe8b4cba808f0ffff7f02f8ffff7f9ed7e5b702", "MalformedDataStream"),
    ] {
        assert_eq!(client.put(T, &id, block, body).await.refusal().1, want, "block {block} {body}");
    }
    assert_eq!(client.put(T, "nosuch", "0", ONE).await.refusal().1, "NoSuchUpload");
    let body = hex::decode(ONE).expect("hex");
    let params = [("uploadid", id.as_str()), ("blockid", "0")];
    let gzip = client.call_with(Method::PUT, T, &params, body, &[("Content-Encoding", "gzip")]).await;
    assert_eq!(gzip.refusal().1, "InvalidArgument");
    let session = client.call(Method::GET, T, &[("uploadid", &id)], Vec::new()).await.ok().json();
    assert_eq!(session["UploadedBlockList"], serde_json::json!([]), "nothing of a refused block is left");
    client.put(T, &id, "0", ONE).await.ok();
    client.commit(T, &id).await.ok();
    assert_eq!(client.put(T, &id, "1", ONE).await.refusal().1, "StatusConflict");
    client.sql("DROP TABLE t;").await.expect("dropped");
    client.sql("CREATE TABLE t (a BIGINT);").await.expect("made again");
    assert_eq!(client.commit(T, &id).await.refusal().0, 412, "the session belongs to the table that is gone");
    project.shutdown().await;
}
