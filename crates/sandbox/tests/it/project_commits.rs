//! Commits are atomic and repeatable, readers keep their snapshot, and a kill loses nothing that was acknowledged.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::support::{Client, ONE, config, records, serve};
use mms_sandbox::project::Project;
use reqwest::Method;

const T: &str = "/projects/demo/tables/t";
const CHILD: &str = "MMS_TEST_SANDBOX_DIR";

async fn files(dir: &std::path::Path) -> usize {
    std::fs::read_dir(dir.join("data/default/t/files")).expect("listed").count()
}

#[tokio::test]
async fn overwrite_replaces_append_adds_and_a_commit_can_be_repeated() {
    let dir = tempfile::tempdir().expect("a directory");
    let (project, client) = serve(dir.path()).await;
    client.sql("CREATE TABLE t (a BIGINT);").await.expect("made");
    for (overwrite, blocks, want) in [("true", 3, 3), ("false", 2, 5), ("true", 1, 1), ("true", 0, 0), ("false", 2, 2)]
    {
        let id = client.open(T, &[("overwrite", overwrite)]).await;
        for block in 0..blocks {
            client.put(T, &id, &block.to_string(), ONE).await.ok();
            // A second upload of the block replaces the first.
            client.put(T, &id, &block.to_string(), ONE).await.ok();
        }
        client.commit(T, &id).await.ok();
        let again = client.commit(T, &id).await.ok().json();
        assert_eq!(again["Status"], "closed");
        assert_eq!(client.count("t").await, want);
    }
    assert_eq!(files(dir.path()).await, 2, "replaced files are gone");
    project.shutdown().await;
}

#[tokio::test]
async fn a_download_keeps_its_snapshot() {
    let dir = tempfile::tempdir().expect("a directory");
    let (project, client) = serve(dir.path()).await;
    client.sql("CREATE TABLE t (a BIGINT);").await.expect("made");
    let id = client.open(T, &[("overwrite", "true")]).await;
    client.put(T, &id, "0", ONE).await.ok();
    client.commit(T, &id).await.ok();
    let session = client.call(Method::POST, T, &[("downloads", "")], Vec::new()).await.ok().json();
    let download = session["DownloadID"].as_str().expect("an id");
    client.sql("TRUNCATE TABLE t;").await.expect("emptied");
    assert_eq!(client.count("t").await, 0);
    let whole = [("data", ""), ("downloadid", download), ("rowrange", "(0,1)")];
    assert_eq!(hex::encode(client.call(Method::GET, T, &whole, Vec::new()).await.ok().body), ONE);
    let beyond = [("data", ""), ("downloadid", download), ("rowrange", "(0,2)")];
    assert_eq!(client.call(Method::GET, T, &beyond, Vec::new()).await.refusal().1, "InvalidRowRange");
    project.shutdown().await;
}

/// The process that the kill test starts and kills. It serves the directory that the environment variable names, and
/// does nothing when run by hand.
#[tokio::test]
#[ignore = "run by the kill test in a process of its own"]
async fn child() {
    let Ok(dir) = std::env::var(CHILD) else { return };
    let project = Project::start(config(dir.as_ref())).await.expect("started");
    println!("\nENDPOINT {}", project.endpoint());
    std::future::pending::<()>().await;
}

fn spawn(dir: &std::path::Path) -> (Child, Client) {
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "project_commits::child", "--ignored", "--nocapture"])
        .env(CHILD, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("spawned");
    let lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
    let endpoint = lines
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("ENDPOINT ").map(str::to_owned))
        .expect("an endpoint");
    (child, Client::new(&endpoint))
}

/// Writes the cells in one overwrite session, one block for each, until the server is killed. Returns true if the
/// commit was acknowledged.
async fn overwrite(client: &Client, cells: &[i64]) -> bool {
    let send = |method: Method, params: Vec<(String, String)>, body: Vec<u8>| async move {
        let params: Vec<(&str, &str)> = params.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        client.try_call(method, T, &params, body).await
    };
    let pair = |n: &str, v: &str| (n.to_owned(), v.to_owned());
    let Some(made) = send(Method::POST, vec![pair("uploads", ""), pair("overwrite", "true")], Vec::new()).await else {
        return false;
    };
    let id = made.ok().json()["UploadID"].as_str().expect("an id").to_owned();
    for (block, cell) in cells.iter().enumerate() {
        let params = vec![pair("uploadid", &id), pair("blockid", &block.to_string())];
        let Some(put) = send(Method::PUT, params, records(&[*cell])).await else { return false };
        put.ok();
    }
    send(Method::POST, vec![pair("uploadid", &id)], Vec::new()).await.is_some_and(|answer| answer.ok().status == 200)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_moment_loses_nothing_acknowledged_and_shows_nothing_half() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut child, client) = spawn(dir.path());
    client.sql("CREATE TABLE t (a BIGINT);").await.expect("made");
    let open = client.open(T, &[]).await;
    let block = [("uploadid", open.as_str()), ("blockid", "7")];
    client.call(Method::PUT, T, &block, records(&[-1])).await.ok();
    child.kill().expect("killed");
    child.wait().expect("ended");
    // An acknowledged block survives, and its session can be continued.
    let (mut child, client) = spawn(dir.path());
    let session = client.call(Method::GET, T, &[("uploadid", &open)], Vec::new()).await.ok().json();
    assert_eq!(session["UploadedBlockList"][0]["BlockID"], 7);
    client.commit(T, &open).await.ok();
    child.kill().expect("killed");
    child.wait().expect("ended");

    let mut allowed = vec![vec![-1]];
    for round in 0..8_i64 {
        let (mut child, client) = spawn(dir.path());
        let before = client.cells(T).await;
        assert!(allowed.contains(&before), "round {round}: {before:?}, allowed {allowed:?}");
        let cells: Vec<i64> = (0..round + 2).map(|block| round * 1000 + block).collect();
        let killer = tokio::task::spawn_blocking(move || {
            // A different moment each round, from the first request to after the commit.
            std::thread::park_timeout(std::time::Duration::from_millis(4 + round.unsigned_abs() * 9));
            child.kill().expect("killed");
            child.wait().expect("ended");
        });
        let acknowledged = overwrite(&client, &cells).await;
        killer.await.expect("killed");
        allowed = if acknowledged { vec![cells] } else { vec![before, cells] };
    }
    let (mut child, client) = spawn(dir.path());
    let last = client.cells(T).await;
    assert!(allowed.contains(&last), "{last:?}, allowed {allowed:?}");
    child.kill().expect("killed");
    child.wait().expect("ended");
}

/// Recreates the directory as a kill between the commit point and the session's log leaves it, a moment that no kill
/// from outside hits.
#[tokio::test]
async fn a_commit_whose_acknowledgement_was_cut_off_is_known_as_done() {
    let dir = tempfile::tempdir().expect("a directory");
    let (project, client) = serve(dir.path()).await;
    client.sql("CREATE TABLE t (a BIGINT);").await.expect("made");
    let id = client.open(T, &[]).await;
    client.call(Method::PUT, T, &[("uploadid", &id), ("blockid", "0")], records(&[5, -6])).await.ok();
    client.commit(T, &id).await.ok();
    project.shutdown().await;
    let log = dir.path().join("sessions").join(&id).join("log");
    let text = std::fs::read_to_string(&log).expect("a log");
    let cut = text.strip_suffix("\"Closed\"\n").expect("its last line is the commit");
    std::fs::write(&log, cut).expect("cut");

    let (project, client) = serve(dir.path()).await;
    assert_eq!(client.cells(T).await, [5, -6]);
    let session = client.call(Method::GET, T, &[("uploadid", &id)], Vec::new()).await.ok().json();
    assert_eq!(session["Status"], "closed");
    client.commit(T, &id).await.ok();
    assert_eq!(client.cells(T).await, [5, -6], "committed again, it counts once");
    assert_eq!(std::fs::read_to_string(&log).expect("a log"), text, "and it says so now");
    project.shutdown().await;
}

/// A project that is dropped without a shutdown releases its directory, even though clients keep their connections.
#[tokio::test]
async fn a_dropped_project_can_be_served_again_at_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let (project, client) = serve(dir.path()).await;
    client.sql("CREATE TABLE t (a BIGINT);").await.expect("made");
    drop(project);
    let (project, fresh) = serve(dir.path()).await;
    assert_eq!(fresh.count("t").await, 0);
    assert!(client.try_call(Method::GET, "/projects/demo", &[], Vec::new()).await.is_none(), "the old one is silent");
    project.shutdown().await;
}
