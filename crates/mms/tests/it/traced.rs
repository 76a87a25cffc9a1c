//! One migration is one trace, from the command through each service that it calls, as an OTLP collector receives it
//! over https. Each span has the name of the service that made it.

use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::json;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status};

use crate::support::{run_printed, sandbox, source, start, table_of};

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

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_is_one_trace_through_all_services() {
    let collector = Collector::default();
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("https://{}", incoming.local_addr().unwrap());
    let shown = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let tls = ServerTlsConfig::new().identity(Identity::from_pem(shown.cert.pem(), shown.signing_key.serialize_pem()));
    let served = Server::builder().tls_config(tls).unwrap().add_service(TraceServiceServer::new(collector.clone()));
    tokio::spawn(served.serve_with_incoming(incoming));

    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("collector.pem");
    std::fs::write(&ca, shown.cert.pem()).unwrap();
    let ca = ca.to_str().unwrap();
    let root = dir.path().join("delta-root");
    table_of(&root, "one", "integer");
    let ends = sandbox(&dir.path().join("project"), &root, None);
    let data = dir.path().join("data");
    let data = data.to_str().unwrap();
    let up = ["up", "--json", "--port-base", "0", "--allow-local-files", "--data-dir", data];
    let suite = start(&[&up[..], &["--otlp-endpoint", &url, "--otlp-ca-file", ca]].concat());
    let file = dir.path().join("source.yaml");
    std::fs::write(&file, source("odds", &ends, &root, &json!({})).to_string()).unwrap();
    // A CA that the system trusts needs no flag.
    let file = file.to_str().unwrap();
    let migrate = format!("SSL_CERT_FILE={ca} mms migrate -f {file} --otlp-endpoint {url} --data-dir {data}");
    assert!(run_printed(&migrate).status.success());
    // The remaining spans are sent at the end.
    assert_eq!(suite.stop().0, Some(0));

    let spans = collector.0.lock().unwrap().clone();
    let names: Vec<_> = spans.iter().map(|(whose, span)| (whose.as_str(), span.name.as_str())).collect();
    let root = spans.iter().find(|(whose, span)| whose == "mms-command" && span.name == "mms migrate");
    let (_, root) = root.unwrap_or_else(|| panic!("{names:?}"));
    assert!(root.parent_span_id.is_empty(), "it begins the trace: {root:?}");
    for (service, method) in [
        ("mms-registry", "mms.registry.v1.DataSourceService/CheckDataSource"),
        ("mms-catalog", "mms.catalog.v1.ScanService/CreateScan"),
        ("mms-scheduler", "mms.scheduler.v1.JobService/CreateJob"),
    ] {
        for (whose, kind) in [("mms-command", SpanKind::Client), (service, SpanKind::Server)] {
            let found = spans.iter().find(|(_, span)| span.name == method && span.kind == kind as i32);
            let (named, found) = found.unwrap_or_else(|| panic!("{method} {kind:?} in {names:?}"));
            assert_eq!(found.trace_id, root.trace_id, "{method} {kind:?}");
            assert_eq!(named, whose, "{method} {kind:?}, all in two processes");
        }
    }
    // A call from one service to another, made while the first answers, is a span of the first.
    let asked = |whose: &str, method: &str| {
        let of = |(named, span): &(String, Span)| {
            named == whose && span.kind == SpanKind::Client as i32 && span.name == method
        };
        spans.iter().any(of)
    };
    assert!(asked("mms-scheduler", "mms.registry.v1.SessionService/AcquireUse"), "{names:?}");
}
