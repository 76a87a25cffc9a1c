//! One migration is one trace, from the command through each service that it calls, as an OTLP collector gets it.

use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::json;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use crate::support::{Client, sandbox, source, start, table_of};

#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Span>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let scopes = request.into_inner().resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
        self.0.lock().unwrap().extend(scopes.flat_map(|scope| scope.spans));
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_is_one_trace_through_all_services() {
    let collector = Collector::default();
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}", incoming.local_addr().unwrap());
    let served = Server::builder().add_service(TraceServiceServer::new(collector.clone()));
    tokio::spawn(served.serve_with_incoming(incoming));

    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("delta-root");
    table_of(&root, "one", "integer");
    let ends = sandbox(&dir.path().join("project"), &root, None);
    let data = dir.path().join("data");
    let data = data.to_str().unwrap();
    let up = ["up", "--json", "--port-base", "0", "--allow-local-files", "--data-dir", data, "--otlp-endpoint", &url];
    let suite = start(&up);
    let file = dir.path().join("source.yaml");
    std::fs::write(&file, source("odds", &ends, &root, &json!({})).to_string()).unwrap();
    let migrate = ["migrate", "-f", file.to_str().unwrap(), "--otlp-endpoint", &url];
    assert!(Client(data).run(&migrate).status.success());
    // What is left is sent at the end.
    assert_eq!(suite.stop().0, Some(0));

    let spans = collector.0.lock().unwrap().clone();
    let names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    let root = spans.iter().find(|span| span.name == "mms migrate").unwrap_or_else(|| panic!("{names:?}"));
    assert!(root.parent_span_id.is_empty(), "it begins the trace: {root:?}");
    for (service, method) in [
        ("registry", "mms.registry.v1.DataSourceService/CheckDataSource"),
        ("catalog", "mms.catalog.v1.ScanService/CreateScan"),
        ("scheduler", "mms.scheduler.v1.JobService/CreateJob"),
    ] {
        for kind in [SpanKind::Client, SpanKind::Server] {
            let found = spans.iter().find(|span| span.name == method && span.kind == kind as i32);
            let found = found.unwrap_or_else(|| panic!("{method} {kind:?} in {names:?}"));
            assert_eq!(found.trace_id, root.trace_id, "{method} {kind:?}");
            let whose = found.attributes.iter().find(|attribute| attribute.key == "service");
            assert_eq!(whose.is_some(), kind == SpanKind::Server, "{found:?}");
            let whose = whose.map(|attribute| format!("{:?}", attribute.value)).unwrap_or_default();
            assert!(whose.is_empty() || whose.contains(service), "it has its service's own name: {whose}");
        }
    }
}
