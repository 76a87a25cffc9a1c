//! Logs to stderr, as text or JSON, and traces to an OTLP collector. Installed once per process; the collector then
//! also receives the metrics of the process's services ([`crate::metrics`]).
//!
//! Logs and traces have separate filters, so a trace is complete at every log level.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::OnceLock;

use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchSpanProcessor, SdkTracerProvider};
use tracing::{Level, Metadata};
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::config::{LogFormat, TelemetryConfig};

mod by_service;
mod collector;

use by_service::ByService;
pub(crate) use collector::Collector;

/// Why telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The log filter does not parse.
    #[error("telemetry.filter: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// The file with the collector's authority cannot be read.
    #[error("telemetry.otlp_ca_file: cannot read {}: {source}", file.display())]
    Authority {
        /// The file as configured.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The exporter to the collector could not be built.
    #[error("telemetry.otlp_endpoint: {0}")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    /// A subscriber is already installed in this process.
    #[error("telemetry was set up twice in this process: {0}")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
}

/// Keeps the export of traces running; when dropped, sends what is left.
#[derive(Debug)]
#[must_use = "dropping it ends the export of traces"]
pub struct Telemetry(SdkTracerProvider);

/// Replaces the secrets that this process uses in a text.
pub type Mask = fn(&str) -> String;

static MASK: OnceLock<Mask> = OnceLock::new();
static COLLECTOR: OnceLock<Collector> = OnceLock::new();

/// The OTLP collector of this process, if one is configured.
pub(crate) fn collector() -> Option<&'static Collector> {
    COLLECTOR.get()
}

/// The identity of a service, or of the command, in a collector.
pub(crate) fn resource(service: &str) -> Resource {
    Resource::builder()
        .with_service_name(format!("mms-{service}"))
        .with_attribute(opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build()
}

/// Passes every log line through `mask` from now on: libraries log what remote systems answer, and those repeat what
/// they were sent. Only the first mask counts.
pub fn mask_lines(mask: Mask) {
    MASK.get_or_init(|| mask);
}

/// Standard error, with the secrets of this process masked in every line.
struct Lines;

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        io::stderr().write_all(&masked(MASK.get().copied(), line))?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Masks a whole line, as the formatter writes it. The newline is kept, in case the mask shortens the text.
fn masked(mask: Option<Mask>, line: &[u8]) -> Cow<'_, [u8]> {
    match (mask, std::str::from_utf8(line)) {
        (Some(mask), Ok(text)) => Cow::Owned(format!("{}\n", mask(text.trim_end_matches('\n'))).into_bytes()),
        _ => Cow::Borrowed(line),
    }
}

/// Installs logs and traces for the whole process, named `process`, and for the other services that run in it. With an
/// OTLP endpoint it must be called within a tokio runtime.
pub fn init(
    config: &TelemetryConfig,
    process: &'static str,
    services: &[&'static str],
) -> Result<Telemetry, TelemetryError> {
    // The provider is needed without an endpoint too: it continues the trace of a caller in the calls of this process.
    let mut provider = SdkTracerProvider::builder().with_resource(resource(process));
    if let Some(collector) = Collector::of(config)? {
        let sender = || Ok::<_, TelemetryError>(BatchSpanProcessor::builder(collector.spans()?).build());
        let others = services.iter().map(|service| Ok((*service, sender()?))).collect::<Result<_, TelemetryError>>()?;
        provider = provider.with_span_processor(ByService::new(sender()?, others));
        COLLECTOR.get_or_init(|| collector);
    }
    let provider = provider.build();
    let traces = tracing_opentelemetry::layer().with_tracer(provider.tracer("mms")).with_filter(filter_fn(is_traced));
    let lines = tracing_subscriber::fmt::layer().with_writer(|| Lines);
    let lines = match config.format {
        LogFormat::Human => {
            let terminal = io::IsTerminal::is_terminal(&io::stderr());
            lines.with_ansi(is_coloured(terminal, std::env::var_os("NO_COLOR").as_deref())).boxed()
        }
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed(),
    };
    let filter = EnvFilter::try_new(&config.filter)?;
    let most = filter.max_level_hint();
    tracing_subscriber::registry().with(traces).with(lines.with_filter(filter)).try_init()?;
    // Traces use nothing that libraries log with `log`. Without this limit each of their lines, at every level, would
    // be made and judged.
    log::set_max_level(most.map_or(log::LevelFilter::Trace, log_level));
    std::panic::set_hook(Box::new(|panic| {
        let at = panic.location().map(ToString::to_string).unwrap_or_default();
        let text = panic.payload_as_str().unwrap_or("no text");
        tracing::error!(at, text, "panic");
    }));
    Ok(Telemetry(provider))
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Err(error) = self.0.shutdown() {
            tracing::warn!(error = %error, "some traces were not sent");
        }
    }
}

/// Coloured on a terminal, unless NO_COLOR forbids it (no-color.org: any value except an empty one).
fn is_coloured(terminal: bool, no_color: Option<&OsStr>) -> bool {
    terminal && no_color.is_none_or(OsStr::is_empty)
}

fn log_level(level: LevelFilter) -> log::LevelFilter {
    match level {
        LevelFilter::OFF => log::LevelFilter::Off,
        LevelFilter::ERROR => log::LevelFilter::Error,
        LevelFilter::WARN => log::LevelFilter::Warn,
        LevelFilter::INFO => log::LevelFilter::Info,
        LevelFilter::DEBUG => log::LevelFilter::Debug,
        _ => log::LevelFilter::Trace,
    }
}

/// All spans of ours, and their events from level INFO up.
fn is_traced(metadata: &Metadata<'_>) -> bool {
    metadata.target().starts_with("mms") && (metadata.is_span() || *metadata.level() <= Level::INFO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_terminals_whose_owner_wants_them() {
        let no_color = |value: &'static str| Some(OsStr::new(value));
        assert!(is_coloured(true, None) && is_coloured(true, no_color("")));
        assert!(!is_coloured(true, no_color("1")) && !is_coloured(false, None));
    }

    #[test]
    fn libraries_only_warn_unless_a_filter_says_otherwise() {
        let filter = crate::config::usual_filter("info");
        let filter: tracing_subscriber::filter::Targets = filter.parse().unwrap();
        assert!(filter.would_enable("mms_scheduler::job", &Level::INFO));
        assert!(!filter.would_enable("h2::codec", &Level::INFO) && filter.would_enable("h2::codec", &Level::WARN));
        assert!(!filter.would_enable("delta_kernel::log", &Level::ERROR));
    }

    #[test]
    fn a_line_is_masked_and_stays_a_line() {
        let mask: Mask = |text| text.replace("secret", "***").chars().take(12).collect();
        assert_eq!(&*masked(Some(mask), b"a secret it is\n"), b"a *** it is\n");
        assert_eq!(&*masked(Some(mask), b"a secret that is cut\n"), b"a *** that i\n");
        assert_eq!(&*masked(None, b"a secret\n"), b"a secret\n");
    }
}
