//! Hostile callers: bodies that never arrive, places taken, connections held open, metadata without end. What they can
//! take is bounded, they get a status that says so, and no other caller notices.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use http::Request;
use mms_proto::transfer::v1::transfer_service_client::TransferServiceClient;
use mms_proto::{ApiError, ErrorReason};
use mms_server::config::LimitsConfig;
use mms_server::{Client, FrameConfig, SuiteToken};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpSocket, TcpStream};
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::support::{get, private, serve};

const PATIENCE: Duration = Duration::from_secs(30);
const GET: &str = "/mms.transfer.v1.TransferService/GetTransfer";
const REFLECT: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

fn limits(change: impl FnOnce(&mut LimitsConfig)) -> FrameConfig {
    let mut frame = FrameConfig::default();
    change(&mut frame.limits);
    frame
}

/// A connection whose requests a test writes itself.
async fn raw(addr: SocketAddr) -> SendRequest<Bytes> {
    let (send, connection) = h2::client::handshake(TcpStream::connect(addr).await.unwrap()).await.unwrap();
    tokio::spawn(connection);
    send
}

fn post(addr: SocketAddr, path: &str) -> http::request::Builder {
    Request::post(format!("http://{addr}{path}")).header("content-type", "application/grpc").header("te", "trailers")
}

/// The failure in the headers of an answer that has no body.
async fn status(answer: h2::client::ResponseFuture) -> ApiError {
    status_of(&tokio::time::timeout(PATIENCE, answer).await.expect("no answer").unwrap())
}

fn status_of(answer: &http::Response<h2::RecvStream>) -> ApiError {
    assert_eq!(answer.status(), 200, "no gRPC answer");
    ApiError::from_status(&tonic::Status::from_header_map(answer.headers()).expect("a status"))
}

#[tokio::test]
async fn bodies_that_never_come_take_no_place_and_are_given_up() {
    let running = serve(limits(|limits| (limits.concurrent_calls, limits.body_seconds) = (2, 1))).await;
    let mut send = raw(running.addr).await;
    let mut open = Vec::new();
    for _ in 0..50 {
        send = send.ready().await.unwrap();
        let (answer, body) = send.send_request(post(running.addr, GET).body(()).unwrap(), false).unwrap();
        open.push((answer, body));
    }
    // These are more requests than places, but none has arrived, so none has taken a place.
    running.client().get_transfer(get("fine")).await.unwrap();
    for (answer, _body) in open {
        let error = status(answer).await;
        assert_eq!((error.code, error.reason), (Code::DeadlineExceeded, ErrorReason::Deadline), "{error}");
    }
}

#[tokio::test]
async fn a_body_longer_than_the_limit_is_refused_by_its_first_bytes() {
    let running = serve(limits(|limits| limits.max_message_bytes = 64 << 10)).await;
    let mut send = raw(running.addr).await.ready().await.unwrap();
    let (answer, mut body) = send.send_request(post(running.addr, GET).body(()).unwrap(), false).unwrap();
    body.send_data(Bytes::from_static(&[0, 0x7F, 0xFF, 0xFF, 0xFF]), false).unwrap();
    let error = status(answer).await;
    assert_eq!((error.code, error.reason), (Code::ResourceExhausted, ErrorReason::TooLarge), "{error}");
}

#[tokio::test]
async fn people_cannot_take_the_places_of_services_nor_of_health() {
    let folder = tempfile::tempdir().unwrap();
    let file = private(folder.path(), "token", "the-token-of-the-suite");
    let frame = FrameConfig { service_token_file: Some(file), ..limits(|limits| limits.concurrent_calls = 1) };
    let running = serve(frame).await;
    let mut busy = running.client();
    let held = tokio::spawn(async move { busy.get_transfer(get("wait")).await });
    running.chosen.entered.notified().await;
    let refused = running.client().get_transfer(get("fine")).await.unwrap_err();
    assert_eq!(ApiError::from_status(&refused).reason, ErrorReason::TooManyCalls);
    let suite = SuiteToken::new("the-token-of-the-suite");
    let mut service = TransferServiceClient::new(Client::new(&running.config(), Some(&suite)).unwrap());
    service.get_transfer(get("fine")).await.unwrap();
    let mut health = HealthClient::new(Client::new(&running.config(), None).unwrap());
    health.check(HealthCheckRequest::default()).await.unwrap();
    running.chosen.gate.notify_one();
    held.await.unwrap().unwrap();
}

#[tokio::test]
async fn reflection_and_health_have_bounds_of_their_own() {
    let running = serve(limits(|limits| limits.concurrent_open_calls = 3)).await;
    let mut send = raw(running.addr).await;
    let mut open = Vec::new();
    for _ in 0..3 {
        send = send.ready().await.unwrap();
        let (answer, body) = send.send_request(post(running.addr, REFLECT).body(()).unwrap(), false).unwrap();
        // Its headers arrive at once, so it has its place.
        open.push((answer.await.unwrap(), body));
    }
    let (answer, _body) = send.send_request(post(running.addr, REFLECT).body(()).unwrap(), false).unwrap();
    assert_eq!(status(answer).await.reason, ErrorReason::TooManyCalls);
    let mut health = HealthClient::new(Client::new(&running.config(), None).unwrap());
    health.check(HealthCheckRequest::default()).await.unwrap();
    running.client().get_transfer(get("fine")).await.unwrap();
}

#[tokio::test]
async fn metadata_beyond_the_limit_gets_a_status() {
    let running = serve(FrameConfig::default()).await;
    let mut send = raw(running.addr).await;
    let mut ask = async |bytes: usize| {
        send = send.clone().ready().await.unwrap();
        let request = post(running.addr, GET).header("x-much", "y".repeat(bytes)).body(()).unwrap();
        let (answer, _body) = send.send_request(request, true).unwrap();
        tokio::time::timeout(PATIENCE, answer).await.expect("no answer").unwrap()
    };
    for bytes in [17_000, 60_000, 250_000] {
        let error = status_of(&ask(bytes).await);
        assert_eq!((error.code, error.reason), (Code::ResourceExhausted, ErrorReason::TooLarge), "{error}");
    }
    // What the transport rejects, it answers itself; the connection stays open.
    assert_eq!(ask(270_000).await.status(), 431);
    assert_eq!(status_of(&ask(17_000).await).reason, ErrorReason::TooLarge);
}

/// Decoding and validating a large request takes long, so it must happen where no other call waits for it.
#[test]
fn a_large_request_holds_up_no_other_call() {
    // One worker thread: whoever blocks it, blocks every call.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let running = serve(FrameConfig::default()).await;
        let mut send = raw(running.addr).await.ready().await.unwrap();
        let (answer, mut body) = send.send_request(post(running.addr, GET).body(()).unwrap(), false).unwrap();
        // The request is made large by a field that the contract does not have.
        let mut message = get("blocks").encode_to_vec();
        encode_key(1000, WireType::LengthDelimited, &mut message);
        encode_varint(40_000, &mut message);
        message.resize(message.len() + 40_000, 0);
        let mut framed = vec![0];
        framed.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
        framed.extend(message);
        body.send_data(framed.into(), true).unwrap();
        running.chosen.entered.notified().await;
        running.client().get_transfer(get("fine")).await.unwrap();
        running.chosen.unblock();
        let (head, mut body) = answer.await.unwrap().into_parts();
        assert!(tonic::Status::from_header_map(&head.headers).is_none(), "{head:?}");
        while body.data().await.is_some() {}
        let status = tonic::Status::from_header_map(&body.trailers().await.unwrap().unwrap()).unwrap();
        assert_eq!(status.code(), Code::Ok, "{status:?}");
    });
}

#[tokio::test]
async fn one_connection_has_so_many_streams() {
    let running = serve(limits(|limits| limits.streams_per_connection = 3)).await;
    let mut send = raw(running.addr).await;
    send = send.ready().await.unwrap();
    let (answer, _body) = send.send_request(post(running.addr, GET).body(()).unwrap(), true).unwrap();
    assert_eq!(answer.await.unwrap().status(), 200);
    assert_eq!(send.current_max_send_streams(), 3, "what the transport holds every caller to");
}

/// Whether the peer closes a connection before our patience ends.
pub async fn closes(stream: &mut TcpStream) -> bool {
    tokio::time::timeout(PATIENCE, async {
        let mut bytes = [0; 1024];
        while stream.read(&mut bytes).await.is_ok_and(|read| read > 0) {}
    })
    .await
    .is_ok()
}

#[tokio::test]
async fn one_address_has_so_many_connections_and_others_have_theirs() {
    let running = serve(limits(|limits| (limits.connections_per_address, limits.handshake_seconds) = (4, 30))).await;
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(raw(running.addr).await);
    }
    assert!(closes(&mut TcpStream::connect(running.addr).await.unwrap()).await);
    let socket = TcpSocket::new_v4().unwrap();
    if socket.bind("127.0.0.2:0".parse().unwrap()).is_ok() {
        let stream = socket.connect(running.addr).await.unwrap();
        let (send, connection) = h2::client::handshake(stream).await.unwrap();
        let connection = tokio::spawn(connection);
        let (answer, _body) =
            send.ready().await.unwrap().send_request(post(running.addr, GET).body(()).unwrap(), true).unwrap();
        assert_eq!(answer.await.unwrap().status(), 200);
        connection.abort();
    }
}

#[tokio::test]
async fn a_connection_that_does_nothing_is_closed_and_one_with_a_call_is_not() {
    let running = serve(limits(|limits| (limits.handshake_seconds, limits.idle_seconds) = (1, 1))).await;
    let mut silent = TcpStream::connect(running.addr).await.unwrap();
    let mut busy = running.client();
    let call = tokio::spawn(async move { busy.get_transfer(get("wait")).await });
    running.chosen.entered.notified().await;
    assert!(closes(&mut silent).await, "it never said a word");
    let (send, connection) = h2::client::handshake(TcpStream::connect(running.addr).await.unwrap()).await.unwrap();
    tokio::time::timeout(PATIENCE, connection).await.expect("an idle connection stays open").ok();
    drop(send);
    // The call was open during all of this.
    running.chosen.gate.notify_one();
    call.await.unwrap().unwrap();
}
