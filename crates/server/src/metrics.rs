//! The metrics of a service: a page in Prometheus' text format, and OTLP beside the traces. Each service has its own,
//! also where several share a process.
//!
//! Metrics decide nothing, are not kept across a restart, and name no table, source or caller. A part that counts holds
//! a [`Counter`]; other values are read by a function whenever the metrics are collected ([`Metrics::follow`]), which
//! must answer from memory. [`names`] declares all metrics.

mod calls;
pub mod names;
mod page;
mod process;
mod stored;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use mms_store::Counted;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{AsyncInstrument, Histogram, Meter, MeterProvider};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use prometheus::{Encoder, Registry, TextEncoder};

use crate::telemetry::{self, Collector};

pub(crate) use calls::{Calls, InFlight};
pub use names::{Kind, Label, Metric};
pub(crate) use page::serve;
pub(crate) use stored::Stored;

/// The labels of one series of a metric, with their values.
pub type Labels<'a> = &'a [(Label, &'static str)];

/// Receives the value and labels of each series of a metric.
pub type Tell<'a> = dyn FnMut(f64, Labels<'_>) + 'a;

type Reader = Box<dyn Fn(&mut Tell<'_>) + Send + Sync>;
type Readers = Arc<Mutex<Vec<Reader>>>;

/// Why metrics cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// The exporter of the page could not be set up.
    #[error("metrics: {0}")]
    Page(#[from] opentelemetry_sdk::error::OTelSdkError),
    /// The exporter to the collector could not be set up.
    #[error("telemetry.otlp_endpoint, for metrics: {0}")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    /// The page could not be written as text.
    #[error("metrics: {0}")]
    Text(#[from] prometheus::Error),
}

/// The metrics of one service. Clones share them.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    provider: SdkMeterProvider,
    meter: Meter,
    registry: Registry,
    followed: Mutex<BTreeMap<Metric, Readers>>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// A number that only grows. Clones count together.
#[derive(Debug, Clone, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    /// Adds to the count.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    fn value(&self) -> f64 {
        real(self.0.load(Ordering::Relaxed))
    }
}

/// A count as a value: exact up to 2^53, as in Prometheus.
#[allow(clippy::cast_precision_loss, reason = "values are floats wherever they go")]
pub fn real(count: u64) -> f64 {
    count as f64
}

fn attributes(labels: Labels<'_>) -> Vec<KeyValue> {
    labels.iter().map(|(label, value)| KeyValue::new(label.name(), *value)).collect()
}

impl Metrics {
    /// The metrics of a service, with a registry for the page if there is to be one, and an exporter if there is a
    /// collector; then it must be called within a tokio runtime.
    pub(crate) fn new(service: &'static str, page: bool, collector: Option<&Collector>) -> Result<Self, MetricsError> {
        let version = env!("CARGO_PKG_VERSION");
        let provider = SdkMeterProvider::builder().with_resource(telemetry::resource(service));
        let (mut provider, registry) = (provider, Registry::new());
        if page {
            let exporter = opentelemetry_prometheus::exporter()
                .with_registry(registry.clone())
                // Our names include units and suffixes, and are the same everywhere.
                .without_units()
                .without_counter_suffixes()
                .without_target_info()
                .scope_info_enabled(false);
            provider = provider.with_reader(exporter.build()?);
        }
        if let Some(collector) = collector {
            provider = provider.with_periodic_exporter(collector.metrics()?);
        }
        let provider = provider.build();
        let meter = provider.meter("mms");
        let metrics = Self(Arc::new(Inner { provider, meter, registry, followed: Mutex::default() }));
        metrics.follow(Metric::Build, move |tell| tell(1.0, &[(Label::Service, service), (Label::Version, version)]));
        process::follow(&metrics);
        Ok(metrics)
    }

    /// A counter for one series; 0 until something is added.
    pub fn counter(&self, metric: Metric, labels: Labels<'_>) -> Counter {
        let counter = Counter::default();
        let (read, labels) = (counter.clone(), labels.to_vec());
        self.follow(metric, move |tell| tell(read.value(), &labels));
        counter
    }

    /// Has `read` called for the values of a counter or gauge whenever the metrics are collected. It may take a lock,
    /// but must not wait for a disk or a peer.
    pub fn follow(&self, metric: Metric, read: impl Fn(&mut Tell<'_>) + Send + Sync + 'static) {
        let mut followed = self.0.followed.lock().unwrap_or_else(PoisonError::into_inner);
        let readers = followed.entry(metric).or_insert_with(|| self.observe(metric));
        readers.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(read));
    }

    /// Follows a table whose records are counted by class: one series per class, with the labels given for it.
    pub fn follow_classes(&self, metric: Metric, counted: Counted, classes: Vec<(u32, Vec<(Label, &'static str)>)>) {
        self.follow(metric, move |tell| {
            let census = counted.now();
            for (class, labels) in &classes {
                tell(real(census.get(class).copied().unwrap_or(0)), labels);
            }
        });
    }

    fn observe(&self, metric: Metric) -> Readers {
        let readers = Readers::default();
        let own = Arc::clone(&readers);
        let ask = move |observer: &dyn AsyncInstrument<f64>| {
            for read in own.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                read(&mut |value, labels| observer.observe(value, &attributes(labels)));
            }
        };
        let (name, help, unit, meter) = (metric.name(), metric.help(), metric.unit().code(), &self.0.meter);
        // The callback stays registered with the meter; the handle is not needed for it.
        match metric.kind() {
            Kind::Counter => {
                let built = meter.f64_observable_counter(name).with_description(help).with_unit(unit);
                let _handle = built.with_callback(ask).build();
            }
            Kind::Gauge => {
                let built = meter.f64_observable_gauge(name).with_description(help).with_unit(unit);
                let _handle = built.with_callback(ask).build();
            }
            Kind::Histogram => debug_assert!(false, "{name} is a histogram: it is recorded, not asked for"),
        }
        readers
    }

    fn histogram(&self, metric: Metric, bounds: Vec<f64>) -> Histogram<f64> {
        let built = self.0.meter.f64_histogram(metric.name()).with_description(metric.help());
        built.with_unit(metric.unit().code()).with_boundaries(bounds).build()
    }

    /// The text of the page, with the present values.
    pub(crate) fn text(&self) -> Result<Vec<u8>, MetricsError> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.0.registry.gather(), &mut text)?;
        Ok(text)
    }

    /// Sends what was not sent yet, and drops all functions that were given to follow: what they hold may hold these
    /// metrics in turn. Blocks.
    pub(crate) fn close(&self) {
        if let Err(error) = self.0.provider.shutdown() {
            tracing::warn!(error = %error, "some metrics were not sent");
        }
        for readers in self.0.followed.lock().unwrap_or_else(PoisonError::into_inner).values() {
            readers.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_of_one_process_count_apart_and_what_is_followed_is_let_go() {
        let (one, other) =
            (Metrics::new("scheduler", true, None).unwrap(), Metrics::new("catalog", true, None).unwrap());
        let counter = one.counter(Metric::TransferBlocks, &[(Label::Outcome, "arrived")]);
        one.counter(Metric::TransferBlocks, &[(Label::Outcome, "lost")]);
        counter.add(3);
        let text = |metrics: &Metrics| String::from_utf8(metrics.text().unwrap()).unwrap();
        let page = text(&one);
        assert!(page.contains("\nmms_transfer_blocks_total{outcome=\"arrived\"} 3\n"), "{page}");
        assert!(page.contains("\nmms_transfer_blocks_total{outcome=\"lost\"} 0\n"), "{page}");
        assert!(page.contains("# TYPE mms_transfer_blocks_total counter\n"), "{page}");
        assert!(!text(&other).contains("mms_transfer_blocks_total"));
        let held = Arc::new(());
        let kept = Arc::clone(&held);
        one.follow(Metric::TransferSlots, move |tell| tell(Arc::strong_count(&kept) as f64, &[]));
        one.close();
        assert_eq!(Arc::strong_count(&held), 1);
    }
}
