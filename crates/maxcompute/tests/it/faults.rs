//! Tests what the client does when the service refuses, fails or leaves the outcome in doubt. The service is a script: it gives
//! answers in order and records what was asked.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::array::{Array, Int64Array, RecordBatch};
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::Response;
use mms_http::retry::RetryPolicy;
use mms_http::{HttpClient, NetworkConnection};
use mms_maxcompute::name::{ProjectName, TableName};
use mms_maxcompute::session::SessionState;
use mms_maxcompute::table::TableRef;
use mms_maxcompute::tunnel::{BlockAdvice, Codec, PartitionMode, UploadSession, WriteMode};
use mms_maxcompute::{Account, MaxComputeError, Project, ProjectConfig, RefusalKind};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

#[derive(Debug)]
struct Asked {
    method: String,
    query: String,
    authorization: String,
    /// None if the request was aborted.
    body: Option<Vec<u8>>,
}

struct Script {
    project: Project,
    asked: mpsc::UnboundedReceiver<Asked>,
}

type Answer = (u16, String);

/// Gives these answers in order, then 404 to every further request.
async fn script(region: Option<&str>, answers: Vec<Answer>) -> Script {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let queue = Arc::new(Mutex::new(VecDeque::from(answers)));
    let (log, asked) = mpsc::unbounded_channel();
    let app = Router::new().fallback(move |request: Request| {
        let (queue, log) = (queue.clone(), log.clone());
        async move {
            let (head, body) = request.into_parts();
            let body = axum::body::to_bytes(body, usize::MAX).await.ok().map(|bytes| bytes.to_vec());
            let header = |name: &str| {
                head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
            };
            let (method, query) = (head.method.to_string(), head.uri.query().unwrap_or_default().to_owned());
            log.send(Asked { method, query, authorization: header("authorization"), body }).unwrap();
            let answer = queue.lock().unwrap().pop_front();
            let (status, body) = answer.unwrap_or_else(|| (404, error("NoSuchSession")));
            Response::builder().status(status).header("x-odps-request-id", "R7").body(Body::from(body)).unwrap()
        }
    });
    tokio::spawn(async move { axum::serve(listener, app).await });
    let account = Account::new("id", "secret".into());
    let project = ProjectName::new("proj").unwrap();
    let mut config = ProjectConfig::new(format!("{base}/api").parse().unwrap(), project, account);
    config.region = region.map(str::to_owned);
    config.tunnel_endpoint = Some(base.parse().unwrap());
    config.retry = RetryPolicy { first_delay: Duration::from_millis(1), ..config.retry };
    let http = HttpClient::new(&NetworkConnection::default()).unwrap();
    Script { project: Project::new(http, config).unwrap(), asked }
}

impl Script {
    fn log(&mut self) -> Vec<Asked> {
        std::iter::from_fn(|| self.asked.try_recv().ok()).collect()
    }

    async fn session(&self) -> UploadSession {
        self.project.tunnel().await.unwrap().upload_session(&table(), None, "U1")
    }
}

fn table() -> TableRef {
    TableRef { project: ProjectName::new("proj").unwrap(), schema: None, table: TableName::new("t").unwrap() }
}

fn error(code: &str) -> String {
    format!(r#"{{"Code":"{code}","Message":"said the script"}}"#)
}

fn session(status: &str) -> Answer {
    let schema = r#"{"columns":[{"name":"a","type":"bigint","nullable":true}],"partitionKeys":[]}"#;
    (200, format!(r#"{{"UploadID":"U1","Status":"{status}","Schema":{schema},"UploadedBlockList":[]}}"#))
}

fn batch(rows: i64) -> RecordBatch {
    // Values that compress badly, so that every codec sends pieces while rows are written.
    let values = (0..rows).map(|i| i.wrapping_mul(0x5851_f42d_4c95_7f2d).rotate_left(17)).collect::<Vec<_>>();
    RecordBatch::try_from_iter([("a", Arc::new(Int64Array::from(values)) as Arc<dyn Array>)]).unwrap()
}

const LIMIT: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_server_without_v4_is_met_with_v2_from_then_on() {
    let refusal = (401, "<Error><Code>AuthorizationRequired</Code><Message>Invalid or missing authorization</Message><RequestId>r</RequestId><HostId>h</HostId></Error>".to_owned());
    let project = || (200, "<Project><Name>proj</Name></Project>".to_owned());
    let mut far_end = script(Some("cn-hangzhou"), vec![refusal, project(), project()]).await;
    far_end.project.info().await.unwrap();
    far_end.project.info().await.unwrap();
    let v4: Vec<bool> = far_end.log().iter().map(|asked| asked.authorization.contains("/cn-hangzhou/odps/")).collect();
    assert_eq!(v4, [true, false, false]);
}

#[tokio::test]
async fn waiting_is_not_counted_as_failing_but_failures_are() {
    let wait = || (429, r#"{"Code":"FlowExceeded","Message":"","HoldClientMillis":1}"#.to_owned());
    let mut far_end = script(None, (0..20).map(|_| wait()).chain([session("normal")]).collect()).await;
    assert_eq!(far_end.session().await.status().await.unwrap(), SessionState::Normal);
    assert_eq!(far_end.log().len(), 21);

    let mut far_end = script(None, vec![(503, error("ServiceUnavailable")); 20]).await;
    let error = far_end.session().await.status().await.unwrap_err();
    assert_eq!(error.refusal(), Some(RefusalKind::Transient));
    assert!(error.to_string().contains("ServiceUnavailable") && error.to_string().contains("R7"), "{error}");
    assert_eq!(far_end.log().len(), 7);
}

#[tokio::test]
async fn a_commit_in_doubt_asks_before_it_repeats() {
    let fault = || (500, error("InternalServerError"));
    for (answers, methods) in [
        // Committed, and the answer says so.
        (vec![session("closed")], "POST"),
        // Committed, but the answer was lost.
        (vec![fault(), session("closed")], "POST GET"),
        // Not committed.
        (vec![fault(), session("normal"), session("closed")], "POST GET POST"),
        // The commit is still running, then done.
        (vec![session("committing"), session("closing"), session("closed")], "POST GET GET"),
        // A predecessor had committed the session.
        (vec![(409, error("StatusConflict")), session("closed")], "POST GET"),
    ] {
        let mut far_end = script(None, answers).await;
        far_end.session().await.commit(LIMIT).await.unwrap();
        let asked: Vec<String> = far_end.log().into_iter().map(|asked| asked.method).collect();
        assert_eq!(asked.join(" "), methods);
    }
}

#[tokio::test]
async fn a_commit_of_the_storage_api_in_doubt_asks_before_it_repeats() {
    let fault = || (500, error("InternalServerError"));
    let state = |status: u16, word: &str| (status, format!(r#"{{"SessionId":"S1","SessionStatus":"{word}"}}"#));
    for (answers, methods) in [
        // Committed, and the answer says so, with the state or without.
        (vec![state(201, "COMMITTED")], "POST"),
        (vec![(201, "{}".to_owned())], "POST"),
        // Accepted, and committed later.
        (vec![state(200, "COMMITTING"), state(200, "COMMITTING"), state(200, "COMMITTED")], "POST GET GET"),
        (vec![(200, "{}".to_owned()), state(200, "COMMITTED")], "POST GET"),
        // Committed, but the answer was lost.
        (vec![fault(), state(200, "COMMITTED")], "POST GET"),
        // Not committed.
        (vec![fault(), state(200, "NORMAL"), state(201, "COMMITTED")], "POST GET POST"),
    ] {
        let mut far_end = script(None, answers).await;
        let session = far_end.project.storage_api().await.unwrap().write_session(&table(), "S1");
        session.commit(&["m".to_owned()], LIMIT).await.unwrap();
        let asked: Vec<String> = far_end.log().into_iter().map(|asked| asked.method).collect();
        assert_eq!(asked.join(" "), methods);
    }
    let far_end = script(None, vec![fault(), state(200, "EXPIRED")]).await;
    let session = far_end.project.storage_api().await.unwrap().write_session(&table(), "S1");
    let lost = session.commit(&["m".to_owned()], LIMIT).await.unwrap_err();
    assert!(matches!(lost, MaxComputeError::SessionLost { state: SessionState::Expired, .. }), "{lost}");
}

#[tokio::test]
async fn a_commit_that_cannot_publish_says_so() {
    let fault = || (500, error("InternalServerError"));
    let mut far_end = script(None, vec![fault(), session("expired")]).await;
    let outcome = far_end.session().await.commit(LIMIT).await.unwrap_err();
    assert!(matches!(outcome, MaxComputeError::SessionLost { state: SessionState::Expired, .. }), "{outcome}");
    // The server no longer knows the session.
    let outcome = far_end.session().await.commit(LIMIT).await.unwrap_err();
    assert!(matches!(outcome, MaxComputeError::SessionLost { state: SessionState::Missing, .. }), "{outcome}");
    far_end.log();

    let mut far_end = script(None, vec![(403, error("NoPermission"))]).await;
    let outcome = far_end.session().await.commit(LIMIT).await.unwrap_err();
    assert_eq!(outcome.refusal(), Some(RefusalKind::Forbidden));
    assert_eq!(far_end.log().len(), 1);

    // The partition was dropped, so every further commit will be refused in the same way.
    let gone = || (404, error("NoSuchPartition"));
    let mut far_end = script(None, vec![fault(), session("normal"), gone(), session("normal")]).await;
    let outcome = far_end.session().await.commit(LIMIT).await.unwrap_err();
    assert!(outcome.target_is_gone() && !outcome.may_have_acted(), "{outcome}");
    assert_eq!(far_end.log().len(), 4);
    // An earlier commit may have succeeded before the partition was dropped.
    let far_end = script(None, vec![fault(), session("normal"), gone(), session("closed")]).await;
    far_end.session().await.commit(LIMIT).await.unwrap();

    let far_end = script(None, std::iter::once(fault()).chain((0..500).map(|_| session("committing"))).collect()).await;
    let outcome = far_end.session().await.commit(Duration::from_millis(50)).await.unwrap_err();
    assert!(matches!(outcome, MaxComputeError::OutcomeUnknown { state: SessionState::Committing, .. }), "{outcome}");
    assert!(outcome.may_have_acted());
}

#[tokio::test]
async fn a_block_tells_what_may_help() {
    for (answer, advice) in [
        ((503, error("ServiceUnavailable")), BlockAdvice::Resend),
        ((429, error("SlotExceeded")), BlockAdvice::Resend),
        ((400, error("CorruptedDataStream")), BlockAdvice::Resend),
        ((409, error("StatusConflict")), BlockAdvice::AskSession),
        ((412, error("TableModified")), BlockAdvice::NewSession),
        ((403, error("NoPermission")), BlockAdvice::GiveUp),
    ] {
        let far_end = script(None, vec![session("normal"), answer]).await;
        let mut block = far_end.session().await.open_block(3, Codec::Zstd).await.unwrap();
        block.write(&batch(10)).await.unwrap();
        let error = block.finish().await.unwrap_err();
        assert_eq!((error.block_id, error.advice), (3, advice), "{error}");
    }
    let far_end = script(None, Vec::new()).await;
    let error = far_end.session().await.open_block(20_000, Codec::None).await.err().unwrap();
    assert!(matches!(error.error, MaxComputeError::BlockId { block_id: 20_000, most: 19_999 }));
}

#[tokio::test]
async fn a_block_streams_what_its_receipt_says() {
    let ok = (200, String::new());
    let mut far_end = script(None, vec![session("normal"), ok]).await;
    let tunnel = far_end.project.tunnel().await.unwrap();
    let session = tunnel.create_upload(&table(), None, WriteMode::Overwrite, PartitionMode::MustExist).await.unwrap();
    let mut block = session.open_block(0, Codec::None).await.unwrap();
    for _ in 0..3 {
        block.write(&batch(100_000)).await.unwrap();
    }
    let receipt = block.finish().await.unwrap();
    assert_eq!(receipt.rows, 300_000);
    assert!(receipt.arrow_bytes > 2_400_000);
    let log = far_end.log();
    assert_eq!(log[0].query, "curr_project=proj&uploads&overwrite=true");
    assert_eq!(log[1].query, "curr_project=proj&uploadid=U1&blockid=0&arrow");
    let body = log[1].body.as_ref().unwrap();
    assert_eq!(body.len() as u64, receipt.wire_bytes);
    assert_eq!(body[..8], [0, 1, 0, 0, 0xff, 0xff, 0xff, 0xff], "64 KiB chunks, then the first message");
    assert_eq!(body[body.len() - 4..], receipt.crc.to_be_bytes());
}

#[tokio::test]
async fn half_a_block_is_never_ended_like_a_whole_one() {
    for codec in [Codec::None, Codec::Zstd, Codec::Lz4, Codec::Deflate] {
        let mut far_end = script(None, vec![session("normal")]).await;
        let mut block = far_end.session().await.open_block(0, codec).await.unwrap();
        block.write(&batch(200_000)).await.unwrap();
        drop(block);
        let asked = far_end.asked.recv().await.unwrap();
        assert_eq!(asked.method, "GET");
        // The request arrives once the server has read the aborted body, or never if it was aborted before the first byte.
        let put = tokio::time::timeout(LIMIT, far_end.asked.recv()).await;
        if let Ok(Some(put)) = put {
            assert_eq!(put.body, None, "{codec:?}: the server took half a block for a whole one");
        }
    }
}

#[tokio::test]
async fn a_block_without_rows_is_not_sent() {
    let mut far_end = script(None, vec![session("normal")]).await;
    let session = far_end.session().await;
    let mut block = session.open_block(0, Codec::Zstd).await.unwrap();
    block.write(&batch(0)).await.unwrap();
    let receipt = block.finish().await.unwrap();
    assert_eq!((receipt.rows, receipt.wire_bytes), (0, 0));
    assert_eq!(far_end.log().len(), 1);
    let refused = session.check_blocks(&[receipt]).await.unwrap_err();
    assert!(matches!(refused, MaxComputeError::EmptyCommit { .. }), "{refused}");
}

#[tokio::test]
async fn a_statement_is_sent_again_under_its_id_and_doubt_is_remembered() {
    let statement = mms_maxcompute::Statement::new("DROP TABLE t;", uuid::Uuid::from_u128(7), false);
    let fault = || (503, error("ServiceUnavailable"));
    let refusal = || (403, error("NoPermission"));
    let mut far_end = script(None, vec![fault(), refusal()]).await;
    let doubt = far_end.project.submit(&statement).await.unwrap_err();
    assert!(doubt.may_have_acted(), "the first may have been received: {doubt}");
    let guid = "<Guid>00000000-0000-0000-0000-000000000007</Guid>";
    let sent = far_end.log().into_iter().map(|asked| String::from_utf8(asked.body.unwrap()).unwrap());
    assert_eq!(sent.filter(|body| body.contains(guid)).count(), 2);
    let refused = script(None, vec![refusal()]).await.project.submit(&statement).await.unwrap_err();
    assert!(refused.refusal() == Some(RefusalKind::Forbidden) && !refused.may_have_acted(), "{refused}");
}
