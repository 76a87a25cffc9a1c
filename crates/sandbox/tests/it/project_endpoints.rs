//! The two endpoints, which the service has on two hosts: metadata and SQL below `/api`, sessions and rows without that
//! prefix.

use crate::support::serve;
use reqwest::Method;

#[tokio::test]
async fn each_endpoint_serves_its_own_calls_only() {
    let dir = tempfile::tempdir().expect("a directory");
    let (project, mut client) = serve(dir.path()).await;
    client.sql("CREATE SCHEMA s;").await.expect("made");
    client.sql("CREATE TABLE s.t (a BIGINT);").await.expect("made");
    let instance = format!("/projects/demo/instances/{}", client.submit("SELECT COUNT(*) FROM s.t;", "").await);
    let calls = [
        (Method::GET, "/projects/demo", vec![]),
        (Method::GET, "/projects/demo/tables", vec![("curr_schema", "s")]),
        (Method::GET, "/projects/demo/tables/t", vec![("curr_schema", "s"), ("extended", "")]),
        (Method::GET, instance.as_str(), vec![("taskstatus", "")]),
        (Method::GET, "/tenants", vec![]),
        (Method::POST, "/projects/demo/schemas/s/tables/t", vec![("uploads", "")]),
        (Method::POST, "/projects/demo/schemas/s/tables/t", vec![("downloads", "")]),
        (Method::POST, instance.as_str(), vec![("downloads", "")]),
    ];
    for (method, path, params) in &calls {
        client.call(method.clone(), path, params, Vec::new()).await.ok();
    }
    std::mem::swap(&mut client.endpoint, &mut client.tunnel);
    for (method, path, params) in &calls {
        let answer = client.call(method.clone(), path, params, Vec::new()).await;
        let (status, _) = answer.refusal();
        assert!(status == 404 || status == 405, "{method} {path} {params:?}: {status}");
        // Each endpoint rejects in the form that its clients parse.
        let at_service = params.iter().any(|(name, _)| matches!(*name, "uploads" | "downloads"));
        let form = if at_service { "<?xml" } else { "{" };
        assert!(answer.text().starts_with(form), "{}", answer.text());
    }
    std::mem::swap(&mut client.endpoint, &mut client.tunnel);
    // The schema is a parameter at the service endpoint and part of the path at the tunnel endpoint; at the wrong
    // endpoint the path names another schema, or nothing.
    let upload = [("uploads", ""), ("curr_schema", "s")];
    assert_eq!(client.call(Method::POST, "/projects/demo/tables/t", &upload, vec![]).await.refusal().1, "NoSuchTable");
    let table = "/projects/demo/schemas/s/tables/t";
    assert_eq!(client.call(Method::GET, table, &[], vec![]).await.refusal().0, 404);
    let unknown = [("curr_schema", "s"), ("shards", "")];
    let answer = client.call(Method::GET, "/projects/demo/tables/t", &unknown, vec![]).await;
    assert_eq!(answer.refusal().1, "InvalidArgument", "a question that is not understood is not answered");
    project.shutdown().await;
}

#[tokio::test]
async fn a_table_says_where_it_is_and_what_its_partitions_are_called() {
    let dir = tempfile::tempdir().expect("a directory");
    let (project, client) = serve(dir.path()).await;
    client.sql("CREATE SCHEMA s;").await.expect("made");
    client.sql("CREATE TABLE s.t (a BIGINT) PARTITIONED BY (p STRING, n BIGINT);").await.expect("made");
    client.sql("ALTER TABLE s.t ADD PARTITION (p='a+&b', n='1');").await.expect("made");
    let path = "/projects/demo/tables/t";
    let table = client.call(Method::GET, path, &[("curr_schema", "s")], vec![]).await.ok().text();
    assert!(table.contains("<Project>demo</Project><SchemaName>s</SchemaName>"), "{table}");
    let asked = [("curr_schema", "s"), ("name", ""), ("partitions", "")];
    let names = client.call(Method::GET, path, &asked, vec![]).await.ok().text();
    assert!(names.contains("<Partition><Name>p=a+&amp;b/n=1</Name></Partition>"), "{names}");
    let without = client.call(Method::GET, path, &asked[..2], vec![]).await;
    assert_eq!(without.refusal().1, "InvalidArgument", "of a table there is no such question");
    project.shutdown().await;
}
