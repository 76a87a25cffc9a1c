//! A submission runs once under its guid, however often it is sent and even after a restart.

use crate::support::serve;

#[tokio::test]
async fn a_guid_seen_before_answers_with_its_first_instance() {
    let dir = tempfile::tempdir().expect("a directory");
    let (project, client) = serve(dir.path()).await;
    let first = client.submit("CREATE TABLE t (a BIGINT);", "guid-1").await;
    client.outcome(&first).await.expect("made");
    client.sql("DROP TABLE t;").await.expect("dropped");
    assert_eq!(client.submit("CREATE TABLE t (a BIGINT);", "guid-1").await, first);
    client.sql("SELECT COUNT(*) FROM t;").await.expect_err("the statement did not run again");
    project.shutdown().await;

    let (project, client) = serve(dir.path()).await;
    assert_eq!(client.submit("CREATE TABLE t (a BIGINT);", "guid-1").await, first, "a restart does not forget it");
    client.outcome(&first).await.expect("it ended well, and says so");
    client.sql("SELECT COUNT(*) FROM t;").await.expect_err("the statement did not run again");
    let failed = client.submit("SELECT COUNT(*) FROM t;", "guid-2").await;
    client.sql("CREATE TABLE t (a BIGINT);").await.expect("made");
    assert_eq!(client.submit("SELECT COUNT(*) FROM t;", "guid-2").await, failed);
    client.outcome(&failed).await.expect_err("a failure stays one");
    let other = client.submit("SELECT COUNT(*) FROM t;", "guid-3").await;
    client.outcome(&other).await.expect("another guid is another submission");
    assert_ne!(client.submit("SELECT COUNT(*) FROM t;", "").await, client.submit("SELECT COUNT(*) FROM t;", "").await);
    project.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_guid_sent_many_times_at_once_is_one_instance() {
    let dir = tempfile::tempdir().expect("a directory");
    let (project, client) = serve(dir.path()).await;
    let (client, mut sent) = (std::sync::Arc::new(client), tokio::task::JoinSet::new());
    for _ in 0..16 {
        let client = std::sync::Arc::clone(&client);
        sent.spawn(async move { client.submit("CREATE TABLE t (a BIGINT);", "guid").await });
    }
    let ids: std::collections::BTreeSet<String> = sent.join_all().await.into_iter().collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    client.outcome(ids.first().expect("an id")).await.expect("made, by the one that ran");
    project.shutdown().await;
}

#[tokio::test]
async fn a_statement_that_was_running_at_the_end_of_the_process_is_not_run_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let (project, client) = serve(dir.path()).await;
    let id = client.submit("CREATE TABLE t (a BIGINT);", "guid").await;
    client.sql("DROP TABLE t;").await.expect("dropped");
    project.shutdown().await;
    // The directory as a kill leaves it: the instance has begun, and its end did not reach the disk.
    let path = dir.path().join(format!("instances/{id}.json"));
    let text = std::fs::read_to_string(&path).expect("kept");
    let mut kept: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    (kept["outcome"], kept["ended"]) = ("Running".into(), serde_json::Value::Null);
    std::fs::write(&path, kept.to_string()).expect("written");

    let (project, client) = serve(dir.path()).await;
    assert_eq!(client.submit("CREATE TABLE t (a BIGINT);", "guid").await, id);
    assert!(client.outcome(&id).await.expect_err("its outcome is not known").starts_with("ODPS-0010000"));
    client.sql("SELECT COUNT(*) FROM t;").await.expect_err("the statement did not run again");
    project.shutdown().await;
}
