//! Exports spans under the name of the service that made them, also where several services share a process: a collector
//! tells services apart by the resource, and a provider has only one. The span of a call names the service that answers
//! it; the spans within belong to the same service.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use opentelemetry::trace::{Span as _, SpanId, TraceContextExt};
use opentelemetry::{Context, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};

/// The attribute of a call's span that names the service.
const SERVICE: &str = "service";
/// Most open spans whose service is remembered; further ones are exported under the name of the process.
const OPEN_MAX: usize = 65_536;

/// Passes each span to the processor of its service.
#[derive(Debug)]
pub struct ByService<P> {
    /// The processor for spans that belong to no service.
    process: P,
    services: Vec<(&'static str, P)>,
    /// The open spans of services, with the index of their service.
    open: Mutex<HashMap<SpanId, usize>>,
}

impl<P: SpanProcessor> ByService<P> {
    /// One processor for the process itself, and one for each service in it.
    pub fn new(process: P, services: Vec<(&'static str, P)>) -> Self {
        Self { process, services, open: Mutex::default() }
    }

    fn named(&self, span: &SpanData) -> Option<usize> {
        let named = span.attributes.iter().find(|attribute| attribute.key.as_str() == SERVICE)?;
        let Value::String(named) = &named.value else { return None };
        self.services.iter().position(|(service, _)| *service == named.as_str())
    }

    fn all(&self) -> impl Iterator<Item = &P> {
        std::iter::once(&self.process).chain(self.services.iter().map(|(_, processor)| processor))
    }
}

impl<P: SpanProcessor> SpanProcessor for ByService<P> {
    fn on_start(&self, span: &mut Span, cx: &Context) {
        let id = span.span_context().span_id();
        let named = span.exported_data().and_then(|data| self.named(&data));
        let place = {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            let place = named.or_else(|| open.get(&cx.span().span_context().span_id()).copied());
            if let Some(place) = place
                && open.len() < OPEN_MAX
            {
                open.insert(id, place);
            }
            place
        };
        place
            .and_then(|place| self.services.get(place))
            .map_or(&self.process, |(_, processor)| processor)
            .on_start(span, cx);
    }

    fn on_end(&self, span: SpanData) {
        let known = self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&span.span_context.span_id());
        let place = known.or_else(|| self.named(&span));
        place.and_then(|place| self.services.get(place)).map_or(&self.process, |(_, processor)| processor).on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.all().map(SpanProcessor::force_flush).fold(Ok(()), OTelSdkResult::and)
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.all().map(|processor| processor.shutdown_with_timeout(timeout)).fold(Ok(()), OTelSdkResult::and)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.process.set_resource(resource);
        for (service, processor) in &mut self.services {
            processor.set_resource(&super::resource(service));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use opentelemetry::KeyValue;
    use opentelemetry::trace::{Tracer, TracerProvider};
    use opentelemetry_sdk::trace::SdkTracerProvider;

    use super::*;

    /// Keeps the names of the spans that ended.
    #[derive(Debug, Clone, Default)]
    struct Kept(Arc<Mutex<Vec<String>>>);

    impl SpanProcessor for Kept {
        fn on_start(&self, _: &mut Span, _: &Context) {}

        fn on_end(&self, span: SpanData) {
            self.0.lock().unwrap().push(span.name.into_owned());
        }

        fn force_flush(&self) -> OTelSdkResult {
            Ok(())
        }

        fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
            Ok(())
        }
    }

    #[test]
    fn what_is_made_inside_of_a_call_is_of_the_service_that_answers_it() {
        let kept: [Kept; 3] = Default::default();
        let [process, registry, catalog] = kept.clone();
        let by_service = ByService::new(process, vec![("registry", registry), ("catalog", catalog)]);
        let provider = SdkTracerProvider::builder().with_span_processor(by_service).build();
        let tracer = provider.tracer("mms");
        let answered = |name: &'static str, service: &'static str, within: &Context| {
            let span = tracer.span_builder(name).with_attributes([KeyValue::new(SERVICE, service)]);
            within.with_span(span.start_with_context(&tracer, within))
        };

        let none = Context::new();
        let command = none.with_span(tracer.start_with_context("migrate", &none));
        let scan = answered("CreateScan", "catalog", &command);
        let asks = scan.with_span(tracer.start_with_context("asks", &scan));
        let session = answered("OpenSession", "registry", &asks);
        let unknown = answered("Odd", "another", &none);
        for context in [session, asks, scan, unknown, command] {
            context.span().end();
        }
        assert_eq!(*kept[0].0.lock().unwrap(), ["Odd", "migrate"]);
        assert_eq!(*kept[1].0.lock().unwrap(), ["OpenSession"]);
        assert_eq!(*kept[2].0.lock().unwrap(), ["asks", "CreateScan"]);
    }
}
