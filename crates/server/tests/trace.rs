//! The W3C trace context crosses calls: the server's span is a child of the client's.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::{Arc, Mutex};

use mms_server::FrameConfig;
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use support::{get, serve};
use tracing::Instrument;
use tracing_subscriber::layer::SubscriberExt;

#[derive(Debug, Clone, Default)]
struct Kept(Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for Kept {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().unwrap().extend(batch);
        Ok(())
    }
}

#[tokio::test]
async fn one_trace_from_client_to_server() {
    let kept = Kept::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(kept.clone()).build();
    let subscriber =
        tracing_subscriber::registry().with(tracing_opentelemetry::layer().with_tracer(provider.tracer("test")));
    let _guard = tracing::subscriber::set_default(subscriber);

    let running = serve(FrameConfig::default()).await;
    let mut client = running.client();
    client.get_transfer(get("fine")).instrument(tracing::info_span!("outer")).await.unwrap();
    running.shutdown.cancel();
    running.served.await.unwrap().unwrap();
    drop(client);

    let spans = kept.0.lock().unwrap();
    let by_kind = |kind| spans.iter().find(|span| span.span_kind == kind).expect("a span of each kind");
    let sent = by_kind(opentelemetry::trace::SpanKind::Client);
    let handled = by_kind(opentelemetry::trace::SpanKind::Server);
    assert_eq!(handled.name, "mms.transfer.v1.TransferService/GetTransfer");
    assert_eq!(handled.span_context.trace_id(), sent.span_context.trace_id());
    assert_eq!(handled.parent_span_id, sent.span_context.span_id());
}
