//! The metrics page: what it shows of calls, also of those that found no place; and that its port serves one page per
//! connection and nothing else.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mms_proto::transfer::v1::transfer_service_client::TransferServiceClient;
use mms_proto::transfer::v1::transfer_service_server::TransferServiceServer;
use mms_server::config::LimitsConfig;
use mms_server::{BoundServer, CancellationToken, Client, ClientConfig, FrameConfig, MetricsConfig, Services, sized};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code;

use crate::support::{Chosen, get, watch};

struct Served {
    page: SocketAddr,
    client: TransferServiceClient<Client>,
    url: String,
    chosen: Chosen,
    shutdown: CancellationToken,
    served: tokio::task::JoinHandle<()>,
}

async fn serve(limits: LimitsConfig) -> Served {
    let metrics = MetricsConfig { listen: Some("127.0.0.1:0".parse().unwrap()) };
    let frame = FrameConfig { limits, metrics, ..FrameConfig::default() };
    let server = BoundServer::bind("transfer", frame).await.unwrap();
    let (page, url) = (server.metrics_addr().unwrap(), format!("http://{}", server.local_addr()));
    let (shutdown, chosen) = (CancellationToken::new(), Chosen::default());
    let service = chosen.clone();
    let serving = server.serve((), shutdown.clone(), |_| async move {
        Ok(Services::new().add(sized!(TransferServiceServer::new(service), 16 << 20)))
    });
    let served = tokio::spawn(async move { serving.await.unwrap() });
    let client = TransferServiceClient::new(Client::new(&ClientConfig::to(url.clone()), None).unwrap());
    Served { page, client, url, chosen, shutdown, served }
}

async fn ask(page: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(page).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    // A client that sent more than the page reads is cut off, so an error is expected.
    drop(stream.read_to_end(&mut answer).await);
    String::from_utf8(answer).unwrap()
}

async fn scrape(page: SocketAddr) -> String {
    let answer = ask(page, b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4"), "{answer}");
    answer
}

/// Scrapes until the page has the line: a call is counted only after its answer was sent.
async fn until(page: SocketAddr, line: &str) -> String {
    let limit = Instant::now() + Duration::from_secs(30);
    loop {
        let text = scrape(page).await;
        if text.lines().any(|found| found == line) {
            return text;
        }
        assert!(Instant::now() < limit, "{line} is not in\n{text}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

const METHOD: &str = r#"grpc_method="GetTransfer",grpc_service="mms.transfer.v1.TransferService""#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_are_counted_by_method_and_status_with_their_time_and_while_they_last() {
    let mut served = serve(LimitsConfig::default()).await;
    served.client.get_transfer(get("x")).await.unwrap();
    served.client.get_transfer(get("bare")).await.unwrap_err();
    let counted =
        |code: &str, count: u32| format!(r#"mms_rpc_server_calls_total{{grpc_code="{code}",{METHOD}}} {count}"#);
    until(served.page, &counted("OK", 1)).await;
    let text = until(served.page, &counted("UNKNOWN", 1)).await;
    assert!(text.contains(&format!("mms_rpc_server_duration_seconds_count{{{METHOD}}} 2\n")), "{text}");
    assert!(text.contains(&format!("mms_rpc_server_in_flight{{{METHOD}}} 0\n")), "{text}");

    let mut client = served.client.clone();
    let waiting = tokio::spawn(async move { client.get_transfer(get("wait")).await });
    served.chosen.entered.notified().await;
    until(served.page, &format!("mms_rpc_server_in_flight{{{METHOD}}} 1")).await;
    // A call whose caller goes away is counted too.
    waiting.abort();
    until(served.page, &counted("CANCELLED", 1)).await;
    until(served.page, &format!("mms_rpc_server_in_flight{{{METHOD}}} 0")).await;

    // Calls of methods that do not exist make no series of their own.
    let channel = Client::new(&ClientConfig::to(served.url.clone()), None).unwrap();
    for name in ["A", "B"] {
        let mut client = tonic::client::Grpc::new(channel.clone());
        client.ready().await.unwrap();
        let path = format!("/strange.{name}/Method{name}").parse().unwrap();
        let codec = tonic_prost::ProstCodec::<(), ()>::default();
        client.unary(tonic::Request::new(()), path, codec).await.unwrap_err();
    }
    let other = r#"mms_rpc_server_duration_seconds_count{grpc_method="other",grpc_service="other"} 2"#;
    let text = until(served.page, other).await;
    assert!(!text.contains("strange"), "{text}");
    served.shutdown.cancel();
    served.served.await.unwrap();
    assert!(TcpStream::connect(served.page).await.is_err(), "the page goes with the process");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_finds_no_place_is_counted() {
    let mut served =
        serve(LimitsConfig { concurrent_streams: 1, concurrent_calls: 1, ..LimitsConfig::default() }).await;
    let refused =
        |place: &str, count: u32| format!(r#"mms_rpc_server_refused_total{{class="people",place="{place}"}} {count}"#);
    until(served.page, &refused("stream", 0)).await;
    let mut held = served.client.watch_transfer(watch("x")).await.unwrap().into_inner();
    held.message().await.unwrap();
    let error = served.client.watch_transfer(watch("x")).await.unwrap_err();
    assert_eq!(error.code(), Code::ResourceExhausted);
    let text = until(served.page, &refused("stream", 1)).await;
    assert!(text.lines().any(|line| line == refused("call", 0)), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_port_gives_one_page_and_nothing_else() {
    let served = serve(LimitsConfig::default()).await;
    for (request, status) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], "404 Not Found"),
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi", "405 Method Not Allowed"),
        (b"HEAD /metrics HTTP/1.1\r\n\r\n", "405 Method Not Allowed"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "400 Bad Request"),
        (b"\0\xff\r\n\r\n", "400 Bad Request"),
    ] {
        let answer = ask(served.page, request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{answer}");
        assert!(!answer.contains("mms_"), "{answer}");
    }
    // Only the first part of a head that never ends is read.
    let long = [b"GET /metrics HTTP/1.1\r\nX: ".to_vec(), vec![b'x'; 1 << 20]].concat();
    let mut stream = TcpStream::connect(served.page).await.unwrap();
    drop(stream.write_all(&long).await);
    let mut answer = String::new();
    drop(stream.read_to_string(&mut answer).await);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");

    // More silent clients than the page has places: they are cut off in time, and the page answers again.
    let mut silent = Vec::new();
    for _ in 0..8 {
        silent.push(TcpStream::connect(served.page).await.unwrap());
    }
    let began = Instant::now();
    let text = scrape(served.page).await;
    assert!(text.contains("process_cpu_seconds_total"), "{text}");
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    for mut stream in silent {
        assert_eq!(stream.read(&mut [0; 8]).await.unwrap_or(0), 0);
    }
}
