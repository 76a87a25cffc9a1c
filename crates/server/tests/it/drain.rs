//! When it is told to stop, a process reports NOT_SERVING, ends streams with a reason, and lets calls in flight finish.

use std::time::Duration;

use crate::support::{get, serve, watch};
use mms_proto::{ApiError, ErrorReason};
use mms_server::{BoundServer, CancellationToken, Critical, FrameConfig, FrameError, Services};
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

const BOUND: Duration = Duration::from_secs(10);

#[tokio::test]
async fn calls_in_flight_finish_and_streams_end_with_a_reason() {
    let running = serve(FrameConfig::default()).await;
    let mut client = running.client();
    let mut stream = client.watch_transfer(watch("forever")).await.unwrap().into_inner();
    stream.message().await.unwrap();
    let mut health = HealthClient::new(mms_server::Client::new(&running.config(), None).unwrap());
    let mut seen = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(seen.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    let mut held = client.clone();
    let waiting = tokio::spawn(async move { held.get_transfer(get("wait")).await });
    running.chosen.entered.notified().await;

    running.shutdown.cancel();
    assert_eq!(seen.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    let status = stream.message().await.unwrap_err();
    assert_eq!((status.code(), ApiError::from_status(&status).reason), (Code::Unavailable, ErrorReason::Unavailable));
    let late = running.client().get_transfer(get("fine")).await.unwrap_err();
    assert!(ApiError::from_status(&late).is_transient(), "{late:?}");
    assert!(!running.served.is_finished(), "a call is still in flight");
    running.chosen.gate.notify_one();
    waiting.await.unwrap().unwrap();
    tokio::time::timeout(BOUND, running.served).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn the_grace_time_has_an_end() {
    let running = serve(FrameConfig { shutdown_grace_seconds: 1, ..FrameConfig::default() }).await;
    let mut client = running.client();
    let waiting = tokio::spawn(async move { client.get_transfer(get("wait")).await });
    running.chosen.entered.notified().await;
    running.shutdown.cancel();
    tokio::time::timeout(BOUND, running.served).await.unwrap().unwrap().unwrap();
    waiting.abort();
}

#[tokio::test]
async fn a_critical_task_that_ends_stops_the_process() {
    for panics in [false, true] {
        let server = BoundServer::bind("transfer", FrameConfig::default()).await.unwrap();
        let serving = server.serve((), CancellationToken::new(), |context| async move {
            context.spawn("side", Critical::No, async { Err("nobody minds".into()) });
            context.spawn("heart", Critical::Yes, async move {
                assert!(!panics, "stopped beating");
                Err("stopped beating".into())
            });
            Ok(Services::new())
        });
        let error = tokio::time::timeout(BOUND, serving).await.unwrap().unwrap_err();
        assert!(matches!(&error, FrameError::Stopped { reason, .. } if reason.contains("task heart")), "{error}");
    }
}

#[tokio::test]
async fn a_task_that_ends_by_another_s_failure_does_not_hide_the_cause() {
    let server = BoundServer::bind("transfer", FrameConfig::default()).await.unwrap();
    let serving = server.serve((), CancellationToken::new(), |context| async move {
        let shutdown = context.shutdown.clone();
        context.spawn("reader", Critical::Yes, async { Ok(()) });
        context.spawn("store", Critical::Yes, async move {
            shutdown.cancelled().await;
            Err("the disk is gone".into())
        });
        Ok(Services::new())
    });
    let error = tokio::time::timeout(BOUND, serving).await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "transfer stopped: task reader: it ended; task store: the disk is gone");
}

#[tokio::test]
async fn a_service_that_does_not_start_says_why() {
    let server = BoundServer::bind("transfer", FrameConfig::default()).await.unwrap();
    let started = server.serve((), CancellationToken::new(), |_| async { Err("the store is newer than this".into()) });
    assert_eq!(started.await.unwrap_err().to_string(), "transfer did not start: the store is newer than this");
}

#[tokio::test]
async fn what_a_failed_start_began_is_ended() {
    let server = BoundServer::bind("transfer", FrameConfig::default()).await.unwrap();
    let ended = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let ends = ended.clone();
    let serving = server.serve((), CancellationToken::new(), |context| async move {
        let (shutdown, drained) = (context.shutdown.clone(), context.drained.clone());
        context.spawn("store", Critical::Yes, async move {
            shutdown.cancelled().await;
            drained.cancelled().await;
            ends.store(true, std::sync::atomic::Ordering::SeqCst);
            Ok(())
        });
        Err("no channel".into())
    });
    let error = tokio::time::timeout(BOUND, serving).await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "transfer did not start: no channel");
    assert!(ended.load(std::sync::atomic::Ordering::SeqCst), "its background task still runs");
}

#[tokio::test]
async fn stores_close_after_the_last_call() {
    use mms_proto::transfer::v1::transfer_service_server::TransferServiceServer;
    use std::sync::atomic::{AtomicBool, Ordering};

    let server = BoundServer::bind("transfer", FrameConfig::default()).await.unwrap();
    let (config, shutdown) = (format!("http://{}", server.local_addr()), CancellationToken::new());
    let chosen = crate::support::Chosen::default();
    let closed = std::sync::Arc::new(AtomicBool::new(false));
    let (service, closing) = (chosen.clone(), closed.clone());
    let served = tokio::spawn(server.serve((), shutdown.clone(), |context| async move {
        let drained = context.drained.clone();
        context.spawn("store", Critical::No, async move {
            drained.cancelled().await;
            closing.store(true, Ordering::SeqCst);
            Ok(())
        });
        Ok(Services::new().add(TransferServiceServer::new(service)))
    }));
    let client = mms_server::Client::new(&mms_server::ClientConfig::to(config), None).unwrap();
    let mut client = mms_proto::transfer::v1::transfer_service_client::TransferServiceClient::new(client);
    let mut held = client.clone();
    let waiting = tokio::spawn(async move { held.get_transfer(get("wait")).await });
    chosen.entered.notified().await;
    shutdown.cancel();
    // That the call is refused shows that draining has begun.
    client.get_transfer(get("fine")).await.unwrap_err();
    assert!(!closed.load(Ordering::SeqCst), "a call is still in flight");
    chosen.gate.notify_one();
    waiting.await.unwrap().unwrap();
    tokio::time::timeout(BOUND, served).await.unwrap().unwrap().unwrap();
    assert!(closed.load(Ordering::SeqCst));
}
