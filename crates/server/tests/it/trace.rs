//! One trace through several processes at the default log level, as an OTLP collector receives it: front calls middle,
//! middle calls back. Middle has no collector and back logs errors only; neither may break the trace.
#![allow(clippy::print_stdout, reason = "the child tells its address on stdout")]

use std::env;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mms_proto::transfer::v1::transfer_service_client::TransferServiceClient;
use mms_proto::transfer::v1::transfer_service_server::{TransferService, TransferServiceServer};
use mms_proto::transfer::v1::{
    DrainWorkerRequest, DrainWorkerResponse, GetTransferRequest, GetTransferResponse, ListTransfersRequest,
    ListTransfersResponse, WatchTransferRequest, WatchTransferResponse,
};
use mms_server::stream::Answers;
use mms_server::{BoundServer, CancellationToken, Client, ClientConfig, FrameConfig, Services, TelemetryConfig};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use tonic::transport::Endpoint;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

const NAME: &str = "MMS_TRACE_CHILD";
const COLLECTOR: &str = "MMS_TRACE_COLLECTOR";
const NEXT: &str = "MMS_TRACE_NEXT";
const FILTER: &str = "MMS_TRACE_FILTER";

/// Calls the next process, if there is one, before it answers.
#[derive(Clone)]
struct Relay(Option<TransferServiceClient<Client>>);

impl Relay {
    async fn ask(&self) -> Result<(), Status> {
        match self.0.clone() {
            Some(mut next) => {
                next.get_transfer(GetTransferRequest { name: "workers/w/transfers/t".into() }).await.map(drop)
            }
            None => Ok(()),
        }
    }
}

#[tonic::async_trait]
impl TransferService for Relay {
    async fn get_transfer(&self, _: Request<GetTransferRequest>) -> Result<Response<GetTransferResponse>, Status> {
        self.ask().await?;
        Ok(Response::new(GetTransferResponse::default()))
    }

    type WatchTransferStream = Answers<WatchTransferResponse>;

    /// Calls the next process from the task that produces the stream.
    async fn watch_transfer(
        &self,
        _: Request<WatchTransferRequest>,
    ) -> Result<Response<Self::WatchTransferStream>, Status> {
        let relay = self.clone();
        Ok(Response::new(mms_server::stream(1, |send| async move {
            let answer = relay.ask().await.map(|()| WatchTransferResponse::default());
            send.send(answer).await.unwrap();
        })))
    }

    async fn list_transfers(
        &self,
        _: Request<ListTransfersRequest>,
    ) -> Result<Response<ListTransfersResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn drain_worker(&self, _: Request<DrainWorkerRequest>) -> Result<Response<DrainWorkerResponse>, Status> {
        Err(Status::unimplemented(""))
    }
}

/// One of the processes; does nothing unless the environment names which one it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Ok(name) = env::var(NAME) else { return };
    let name = ["front", "middle", "back"].into_iter().find(|known| *known == name).unwrap();
    let mut config = TelemetryConfig { otlp_endpoint: env::var(COLLECTOR).ok(), ..TelemetryConfig::default() };
    if let Ok(filter) = env::var(FILTER) {
        config.filter = filter;
    }
    let telemetry = mms_server::telemetry::init(&config, name, &[]).unwrap();
    let next = env::var(NEXT).ok().map(|next| Client::new(&ClientConfig::to(next), None).unwrap());
    let relay = Relay(next.map(TransferServiceClient::new));
    let (server, stop) = (BoundServer::bind(name, FrameConfig::default()).await.unwrap(), CancellationToken::new());
    println!("\nlistening on {}", server.local_addr());
    let stopping = stop.clone();
    std::thread::spawn(move || {
        // The parent closes stdin to stop this process.
        std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
        stopping.cancel();
    });
    server.serve((), stop, |_| async { Ok(Services::new().add(TransferServiceServer::new(relay))) }).await.unwrap();
    tokio::task::spawn_blocking(move || drop(telemetry)).await.unwrap();
}

fn start(name: &str, collector: Option<SocketAddr>, next: Option<&str>, filter: Option<&str>) -> (Child, String) {
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args(["--exact", "trace::child", "--nocapture"])
        .env(NAME, name)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    command.envs(collector.map(|collector| (COLLECTOR, format!("http://{collector}"))));
    command.envs(next.map(|next| (NEXT, next))).envs(filter.map(|filter| (FILTER, filter)));
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let addr = lines.find_map(|line| line.strip_prefix("listening on ").map(str::to_owned)).unwrap();
    std::thread::spawn(move || lines.for_each(drop));
    (child, format!("http://{addr}"))
}

#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<(String, Span)>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut kept = self.0.lock().unwrap();
        for sent in request.into_inner().resource_spans {
            let attributes = sent.resource.unwrap_or_default().attributes;
            let name = attributes.into_iter().find(|attribute| attribute.key == "service.name");
            let Some(Value::StringValue(name)) = name.and_then(|name| name.value?.value) else { panic!("no name") };
            let spans = sent.scope_spans.into_iter().flat_map(|scope| scope.spans);
            kept.extend(spans.map(|span| (name.clone(), span)));
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn traced<T>(message: T, trace: u128) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(Duration::from_secs(30));
    request.metadata_mut().insert("traceparent", format!("00-{trace:032x}-00000000000000ff-01").parse().unwrap());
    request
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_trace_through_three_processes_reaches_the_collector() {
    let collector = Collector::default();
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let at = incoming.local_addr().unwrap();
    let service = TraceServiceServer::new(collector.clone());
    tokio::spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming));

    let (back, url) = start("back", Some(at), None, Some("error"));
    let (middle, url) = start("middle", None, Some(&url), None);
    let (front, url) = start("front", Some(at), Some(&url), None);
    // A bare channel adds nothing, so the trace headers are only those that the test sends.
    let channel = Endpoint::from_shared(url).unwrap().connect_lazy();
    let mut client = TransferServiceClient::new(channel);
    let (plain, streamed) = (0x7ace_0001, 0x7ace_0002);
    client.get_transfer(traced(GetTransferRequest { name: "workers/w/transfers/t".into() }, plain)).await.unwrap();
    let watch = WatchTransferRequest { name: "workers/w/transfers/t".into(), ..Default::default() };
    let mut stream = client.watch_transfer(traced(watch, streamed)).await.unwrap().into_inner();
    while stream.message().await.unwrap().is_some() {}
    drop((stream, client));
    for mut process in [front, middle, back] {
        drop(process.stdin.take());
        assert!(process.wait().unwrap().success());
    }

    let spans = collector.0.lock().unwrap();
    for trace in [plain, streamed] {
        let ours = |name: &str, kind: SpanKind| {
            let found = spans.iter().filter(|(service, span)| {
                service == name && span.kind == kind as i32 && span.trace_id == u128::to_be_bytes(trace)
            });
            let found: Vec<&Span> = found.map(|(_, span)| span).collect();
            assert_eq!(found.len(), 1, "{name} {kind:?} in trace {trace:x} of {spans:#?}");
            found[0]
        };
        let handled = ours("mms-front", SpanKind::Server);
        assert_eq!(handled.parent_span_id, u64::to_be_bytes(0xff));
        let method = if trace == plain { "GetTransfer" } else { "WatchTransfer" };
        assert_eq!(handled.name, format!("mms.transfer.v1.TransferService/{method}"));
        let sent = ours("mms-front", SpanKind::Client);
        assert_eq!(sent.parent_span_id, handled.span_id);
        // Its parent is a span of middle, which nobody collected.
        let far = ours("mms-back", SpanKind::Server);
        assert!(far.parent_span_id != sent.span_id && !far.parent_span_id.is_empty());
        assert_eq!(far.name, "mms.transfer.v1.TransferService/GetTransfer");
    }
    assert!(!spans.iter().any(|(service, _)| service == "mms-middle"));
}
