//! Whatever goes wrong in a call, its caller gets a code and a reason, and the process continues.

use std::time::Duration;

use crate::support::{get, serve, serve_waiting, watch};
use mms_proto::transfer::v1::{DrainWorkerRequest, GetTransferRequest, ListTransfersRequest, WatchTransferResponse};
use mms_proto::{ApiError, ErrorReason};
use mms_server::config::LimitsConfig;
use mms_server::{BoundServer, CancellationToken, FrameConfig, Services};
use tonic::{Code, Request, Status, Streaming};

fn read(status: &Status) -> (Code, ErrorReason) {
    let error = ApiError::from_status(status);
    (error.code, error.reason)
}

/// The failure that a stream ends with. Earlier messages do not count: those not sent yet may be lost with a failure.
async fn failure(stream: &mut Streaming<WatchTransferResponse>) -> Status {
    loop {
        match stream.message().await {
            Ok(message) => assert!(message.is_some(), "the stream ended well"),
            Err(status) => return status,
        }
    }
}

#[tokio::test]
async fn a_panic_is_internal_and_harms_nobody_else() {
    let running = serve(FrameConfig::default()).await;
    let mut client = running.client();
    let mut request = Request::new(get("panic"));
    request.metadata_mut().insert("x-request-id", "find-me-7".parse().unwrap());
    let status = client.get_transfer(request).await.unwrap_err();
    assert_eq!(read(&status), (Code::Internal, ErrorReason::Internal));
    assert!(status.message().contains("find-me-7") && !status.message().contains("purpose"), "{status}");
    client.get_transfer(get("fine")).await.unwrap();

    let mut stream = client.watch_transfer(watch("panic")).await.unwrap().into_inner();
    assert_eq!(read(&failure(&mut stream).await), (Code::Internal, ErrorReason::Internal));
    client.get_transfer(get("fine")).await.unwrap();
}

#[tokio::test]
async fn a_task_that_produces_a_stream_belongs_to_its_call_and_never_ends_well_by_a_panic() {
    let running = serve(FrameConfig::default()).await;
    let mut client = running.client();
    let context = mms_server::CallContext { request_id: "outer-2".into(), deadline: None };
    let asked = async { client.watch_transfer(watch("produced")).await };
    let mut stream = context.scope(asked).await.unwrap().into_inner();
    stream.message().await.unwrap().unwrap();
    assert_eq!(stream.message().await.unwrap().unwrap().transfer.unwrap().task, "outer-2");
    assert!(stream.message().await.unwrap().is_none(), "the producer returned: the stream ends well");

    let mut stream = client.watch_transfer(watch("producer-panics")).await.unwrap().into_inner();
    let status = failure(&mut stream).await;
    assert_eq!(read(&status), (Code::Internal, ErrorReason::Internal));
    assert!(!status.message().contains("purpose"), "{status}");
    client.get_transfer(get("fine")).await.unwrap();
}

#[tokio::test]
async fn a_text_for_the_log_does_not_leave() {
    let running = serve(FrameConfig::default()).await;
    let mut client = running.client();
    let status = client.get_transfer(get("bare")).await.unwrap_err();
    assert_eq!(read(&status), (Code::Internal, ErrorReason::Internal));
    assert!(!status.message().contains("for the log"), "{status}");
    let mut stream = client.watch_transfer(watch("bare")).await.unwrap().into_inner();
    let status = failure(&mut stream).await;
    assert_eq!(read(&status), (Code::Internal, ErrorReason::Internal));
    assert!(!status.message().contains("for the log"), "{status}");
}

#[tokio::test]
async fn deadlines_are_honoured_capped_and_given() {
    let limits = LimitsConfig { default_deadline_seconds: 7, max_deadline_seconds: 9, ..LimitsConfig::default() };
    let running = serve(FrameConfig { limits, ..FrameConfig::default() }).await;
    let mut client = running.client();
    let mut request = Request::new(get("never"));
    request.set_timeout(Duration::from_millis(300));
    let status = client.get_transfer(request).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(read(&status).1, ErrorReason::Deadline);

    let mut request = Request::new(get("fine"));
    request.set_timeout(Duration::from_secs(3600));
    let transfer = client.get_transfer(request).await.unwrap().into_inner().transfer.unwrap();
    assert!((8000..=9000).contains(&transfer.bytes_total), "capped at 9 s: {} ms left", transfer.bytes_total);

    // A bare channel sends no deadline at all.
    let bare = tonic::transport::Endpoint::from_shared(running.config().endpoint).unwrap().connect_lazy();
    let mut bare = mms_proto::transfer::v1::transfer_service_client::TransferServiceClient::new(bare);
    let transfer = bare.get_transfer(get("fine")).await.unwrap().into_inner().transfer.unwrap();
    assert!((6000..=7000).contains(&transfer.bytes_total), "7 s by default: {} ms left", transfer.bytes_total);

    let mut request = Request::new(watch("forever"));
    request.set_timeout(Duration::from_millis(300));
    let mut stream = client.watch_transfer(request).await.unwrap().into_inner();
    stream.message().await.unwrap();
    assert_eq!(read(&stream.message().await.unwrap_err()), (Code::DeadlineExceeded, ErrorReason::Deadline));
}

#[tokio::test]
async fn the_transport_s_own_failures_have_a_reason() {
    let limits = LimitsConfig { max_message_bytes: 64 << 10, ..LimitsConfig::default() };
    let running = serve(FrameConfig { limits, ..FrameConfig::default() }).await;
    let mut client = running.client();
    let large = GetTransferRequest { name: "x".repeat(100 << 10) };
    let status = client.get_transfer(large).await.unwrap_err();
    assert_eq!(read(&status), (Code::ResourceExhausted, ErrorReason::TooLarge));

    let status = client.get_transfer(GetTransferRequest { name: "workers/-".into() }).await.unwrap_err();
    let error = ApiError::from_status(&status);
    assert_eq!((error.reason, error.violations[0].field.as_str()), (ErrorReason::InvalidField, "name"));

    let status = client.list_transfers(ListTransfersRequest::default()).await.unwrap_err();
    assert_eq!(read(&status), (Code::Unimplemented, ErrorReason::NotYet));

    let channel = mms_server::Client::new(&running.config(), None).unwrap();
    let mut elsewhere = mms_proto::registry::v1::data_source_service_client::DataSourceServiceClient::new(channel);
    let status = elsewhere.get_data_source(mms_proto::registry::v1::GetDataSourceRequest::default()).await.unwrap_err();
    assert_eq!(read(&status), (Code::Unimplemented, ErrorReason::Malformed));
}

#[tokio::test]
async fn messages_above_the_default_of_the_transport_pass() {
    let running = serve(FrameConfig::default()).await;
    let mut client = mms_server::sized!(running.client(), 16 << 20);
    let transfer = client.get_transfer(get("big")).await.unwrap().into_inner().transfer.unwrap();
    assert_eq!(transfer.error.len(), 6 << 20);
}

#[tokio::test]
async fn a_process_at_its_limit_says_so_and_still_says_it_lives() {
    let limits = LimitsConfig { concurrent_calls: 1, concurrent_streams: 1, ..LimitsConfig::default() };
    let running = serve(FrameConfig { limits, ..FrameConfig::default() }).await;
    let mut client = running.client();
    let mut held = client.clone();
    let waiting = tokio::spawn(async move { held.get_transfer(get("wait")).await });
    running.chosen.entered.notified().await;
    let status = client.get_transfer(get("fine")).await.unwrap_err();
    assert_eq!(read(&status), (Code::ResourceExhausted, ErrorReason::TooManyCalls));
    assert!(ApiError::from_status(&status).retry_after.is_some() && ApiError::from_status(&status).is_transient());

    let mut health =
        tonic_health::pb::health_client::HealthClient::new(mms_server::Client::new(&running.config(), None).unwrap());
    health.check(tonic_health::pb::HealthCheckRequest::default()).await.unwrap();
    running.chosen.gate.notify_one();
    waiting.await.unwrap().unwrap();
    client.get_transfer(get("fine")).await.unwrap();

    let mut stream = client.watch_transfer(watch("forever")).await.unwrap().into_inner();
    stream.message().await.unwrap();
    let status = client.watch_transfer(watch("forever")).await.unwrap_err();
    assert_eq!(read(&status), (Code::ResourceExhausted, ErrorReason::TooManyCalls));
}

#[tokio::test]
async fn calls_that_wait_leave_room_for_those_that_work() {
    let limits = LimitsConfig { concurrent_calls: 1, concurrent_waits: 1, ..LimitsConfig::default() };
    let frame = FrameConfig { limits, ..FrameConfig::default() };
    let running = serve_waiting(frame, "/mms.transfer.v1.TransferService/DrainWorker").await;
    let mut client = running.client();
    let mut held = client.clone();
    let drain = || DrainWorkerRequest { name: "workers/wait".into(), ..DrainWorkerRequest::default() };
    let waiting = tokio::spawn(async move { held.drain_worker(drain()).await });
    running.chosen.entered.notified().await;
    client.get_transfer(get("fine")).await.unwrap();
    let status = client.drain_worker(drain()).await.unwrap_err();
    assert_eq!(read(&status), (Code::ResourceExhausted, ErrorReason::TooManyCalls));
    running.chosen.gate.notify_one();
    waiting.await.unwrap().unwrap();

    let server = BoundServer::bind("transfer", FrameConfig::default()).await.unwrap();
    let served = server.serve((), CancellationToken::new(), |_| async { Ok(Services::new().waiting("/mms/Missing")) });
    assert!(served.await.unwrap_err().to_string().contains("/mms/Missing"));
}

#[tokio::test]
async fn what_is_left_of_a_deadline_goes_along() {
    let running = serve(FrameConfig::default()).await;
    let deadline = Some(tokio::time::Instant::now() + Duration::from_secs(5));
    let context = mms_server::CallContext { request_id: "outer-3".into(), deadline };
    let left = |transfer: mms_proto::transfer::v1::Transfer| transfer.bytes_total;
    let asked = async { running.client().get_transfer(get("fine")).await };
    let answer = context.clone().scope(asked).await.unwrap().into_inner();
    let given = left(answer.transfer.unwrap());
    assert!((1000..5000).contains(&given), "5 s were left, not the 60 s of the channel: {given} ms");
    // A stream has no deadline of its own, but the deadline of the call on whose behalf it was opened ends it too.
    let asked = async { running.client().watch_transfer(watch("produced")).await };
    let mut stream = context.scope(asked).await.unwrap().into_inner();
    stream.message().await.unwrap().unwrap();
    let given = left(stream.message().await.unwrap().unwrap().transfer.unwrap());
    assert!((1..5000).contains(&given), "{given} ms");
}

#[tokio::test]
async fn request_ids_come_back_and_go_on() {
    let running = serve(FrameConfig::default()).await;
    let mut client = running.client();
    let answer = client.get_transfer(get("fine")).await.unwrap();
    let given = answer.metadata().get("x-request-id").unwrap().to_str().unwrap().to_owned();
    assert_eq!(answer.into_inner().transfer.unwrap().task, given);
    let context = mms_server::CallContext { request_id: "outer-1".into(), deadline: None };
    let answer = context.scope(async { running.client().get_transfer(get("fine")).await }).await.unwrap();
    assert_eq!(answer.into_inner().transfer.unwrap().task, "outer-1");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_worth_a_retry() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    drop(listener);
    let client = mms_server::Client::new(&mms_server::ClientConfig::to(format!("http://{addr}")), None).unwrap();
    let mut client = mms_proto::transfer::v1::transfer_service_client::TransferServiceClient::new(client);
    let status = client.get_transfer(get("fine")).await.unwrap_err();
    assert!(ApiError::from_status(&status).is_transient(), "{status:?}");
}

#[test]
fn a_connection_that_breaks_under_a_call_is_worth_a_retry() {
    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (theirs, ours) = (runtime(), runtime());
    let running = theirs.block_on(serve(FrameConfig::default()));
    let mut client = ours.block_on(async { running.client() });
    let waiting = ours.spawn(async move { client.get_transfer(get("wait")).await });
    ours.block_on(running.chosen.entered.notified());
    // As if the process were killed: its sockets close, and nobody answers.
    theirs.shutdown_background();
    let status = ours.block_on(waiting).unwrap().unwrap_err();
    assert!(ApiError::from_status(&status).is_transient(), "{status:?}");
}
