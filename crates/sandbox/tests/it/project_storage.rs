//! The Storage API: a commit publishes only the attempts that it names, sessions survive a restart, and a body that is
//! not a complete stream of the table's schema is rejected.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampMicrosecondArray, TimestampNanosecondArray};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Client, serve};

const TABLE: &str = "/api/storage/v1/projects/demo/schemas/default/tables/t";
/// 9999-12-31 23:59:59.999999 and 0001-01-01, in microseconds since the epoch.
const FAR: [i64; 2] = [253_402_300_799_999_999, -62_135_596_800_000_000];

fn stream(times: ArrayRef) -> Vec<u8> {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..times.len() as i64));
    let batch = RecordBatch::try_from_iter([("a", ids), ("at", times)]).expect("one length");
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).expect("begun");
    writer.write(&batch).expect("written");
    writer.into_inner().expect("ended")
}

fn micros(times: &[i64]) -> Vec<u8> {
    stream(Arc::new(TimestampMicrosecondArray::from(times.to_vec())))
}

async fn create(client: &Client, partition: &str, unit: &str) -> Answer {
    let body = json!({"PartitionSpec": partition, "Overwrite": true, "ArrowOptions": {"TimestampUnit": unit, "DatetimeUnit": "milli"}});
    let path = format!("{TABLE}/sessions");
    client.call(Method::POST, &path, &[("session_type", "batch_write")], body.to_string().into_bytes()).await
}

async fn session(client: &Client) -> String {
    let made = create(client, "", "micro").await.ok();
    assert_eq!(made.status, 201);
    made.json()["SessionId"].as_str().expect("an id").to_owned()
}

async fn put(client: &Client, id: &str, block: &str, attempt: &str, body: Vec<u8>) -> Answer {
    let path = format!("{TABLE}/sessions/{id}/data");
    client.call(Method::POST, &path, &[("attempt_number", attempt), ("block_number", block)], body).await
}

async fn message(client: &Client, id: &str, block: &str, attempt: &str, times: &[i64]) -> Value {
    put(client, id, block, attempt, micros(times)).await.ok().json()["CommitMessage"].clone()
}

async fn commit(client: &Client, id: &str, messages: &[&Value]) -> Answer {
    let body = json!({ "CommitMessages": messages }).to_string().into_bytes();
    client.call(Method::POST, &format!("{TABLE}/commit"), &[("session_id", id)], body).await
}

async fn status(client: &Client, id: &str) -> Answer {
    let path = format!("{TABLE}/sessions/{id}");
    client.call(Method::GET, &path, &[("session_type", "batch_write")], Vec::new()).await
}

/// The timestamps of the table, in microseconds since the epoch.
async fn times(client: &Client) -> Vec<i64> {
    let body = json!({"ArrowOptions": {"TimestampUnit": "micro"}}).to_string().into_bytes();
    let kind = [("session_type", "batch_read")];
    let made = client.call(Method::POST, &format!("{TABLE}/sessions"), &kind, body).await.ok().json();
    let id = made["SessionId"].as_str().expect("an id");
    let mut found = Vec::new();
    for split in 0..made["SplitsCount"].as_u64().expect("a number") {
        let split = split.to_string();
        let params = [("session_id", id), ("split_index", split.as_str())];
        let body = client.call(Method::GET, &format!("{TABLE}/data"), &params, Vec::new()).await.ok().body;
        for batch in StreamReader::try_new(&body[..], None).expect("a stream") {
            let batch = batch.expect("whole");
            let column = batch.column(1).as_any().downcast_ref::<TimestampMicrosecondArray>().expect("its unit");
            found.extend(column.values());
        }
    }
    assert_eq!(made["RecordCount"], found.len());
    found
}

#[tokio::test]
async fn a_commit_publishes_the_tries_that_it_names() {
    let dir = tempfile::tempdir().expect("a directory");
    let (project, client) = serve(dir.path()).await;
    client.sql("CREATE TABLE t (a BIGINT, at TIMESTAMP);").await.expect("made");
    let id = session(&client).await;
    let zombie = message(&client, &id, "0", "0", &[1, 2, 3]).await;
    let good = message(&client, &id, "0", "1", &FAR).await;
    let second = message(&client, &id, "1", "0", &[7]).await;
    let other = session(&client).await;
    let foreign = message(&client, &other, "0", "0", &[9]).await;
    for refused in [&[][..], &[&good, &foreign], &[&zombie, &good], &[&json!("nonsense")]] {
        assert_eq!(commit(&client, &id, refused).await.refusal(), (400, "InvalidArgument".to_owned()));
    }
    assert!(times(&client).await.is_empty());
    assert_eq!(status(&client, &id).await.ok().json()["SessionStatus"], "NORMAL");
    for _ in 0..2 {
        let done = commit(&client, &id, &[&second, &good]).await.ok();
        assert_eq!((done.status.as_u16(), &done.json()["SessionStatus"]), (201, &json!("COMMITTED")));
        assert_eq!(times(&client).await, [FAR[0], FAR[1], 7]);
    }
    let files = std::fs::read_dir(dir.path().join("data/default/t/files")).expect("listed").count();
    assert_eq!(files, 3, "what was published, and the block of the other session: the zombie's is gone");
    // The next session replaces them all.
    commit(&client, &other, &[&foreign]).await.ok();
    assert_eq!(times(&client).await, [9]);
    assert_eq!(put(&client, &id, "2", "0", micros(&[1])).await.refusal().1, "StatusConflict");
    project.shutdown().await;
}

#[tokio::test]
async fn a_session_outlives_a_restart_and_belongs_to_its_own_api() {
    let dir = tempfile::tempdir().expect("a directory");
    let (project, client) = serve(dir.path()).await;
    client.sql("CREATE TABLE t (a BIGINT, at TIMESTAMP);").await.expect("made");
    let id = session(&client).await;
    let good = message(&client, &id, "0", "3", &FAR).await;
    message(&client, &id, "0", "4", &[1]).await;
    project.shutdown().await;

    let (project, client) = serve(dir.path()).await;
    let tunnel = "/projects/demo/tables/t";
    let (_, code) = client.call(Method::GET, tunnel, &[("uploadid", id.as_str())], Vec::new()).await.refusal();
    assert_eq!(code, "NoSuchUpload");
    let upload = client.open(tunnel, &[]).await;
    assert_eq!(status(&client, &upload).await.refusal(), (404, "NoSuchSession".to_owned()));
    commit(&client, &id, &[&good]).await.ok();
    assert_eq!(times(&client).await, FAR);
    project.shutdown().await;

    let (project, client) = serve(dir.path()).await;
    assert_eq!(status(&client, &id).await.ok().json()["SessionStatus"], "COMMITTED");
    assert_eq!(times(&client).await, FAR);
    project.shutdown().await;
}

#[tokio::test]
async fn what_is_no_whole_stream_of_the_table_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let (project, client) = serve(dir.path()).await;
    client.sql("CREATE TABLE t (a BIGINT, at TIMESTAMP);").await.expect("made");
    let id = session(&client).await;
    let nanos = stream(Arc::new(TimestampNanosecondArray::from(vec![1])));
    let whole = micros(&FAR);
    let cut = whole[..whole.len() - 8].to_vec();
    let beyond = micros(&[FAR[0] + 1]);
    for (body, code) in [(nanos, "MalformedDataStream"), (cut, "IncompleteBody"), (beyond, "MalformedDataStream")] {
        assert_eq!(put(&client, &id, "0", "0", body).await.refusal().1, code);
    }
    assert_eq!(put(&client, &id, "20000", "0", whole.clone()).await.refusal().1, "InvalidBlockID");
    assert_eq!(create(&client, "p=1", "micro").await.refusal().0, 400);
    assert_eq!(create(&client, "", "micros").await.refusal().0, 400);
    assert_eq!(put(&client, "nobody", "0", "0", whole).await.refusal().1, "NoSuchSession");
    project.shutdown().await;
}
