//! The OTLP collector that a process sends to: one set of connection settings, for traces and metrics. It never waits
//! for the collector to be there: a suite works without it.

use opentelemetry_otlp::tonic_types::transport::{Certificate, ClientTlsConfig};
use opentelemetry_otlp::{ExporterBuildError, MetricExporter, SpanExporter, WithExportConfig, WithTonicConfig};

use super::TelemetryError;
use crate::config::TelemetryConfig;

/// The collector's URL, and the authorities that its certificate is verified with.
#[derive(Debug, Clone)]
pub struct Collector {
    endpoint: String,
    /// Set for an https URL.
    tls: Option<ClientTlsConfig>,
}

impl Collector {
    /// The configured collector, if there is one. Reads the authority's file.
    pub fn of(config: &TelemetryConfig) -> Result<Option<Self>, TelemetryError> {
        let Some(endpoint) = &config.otlp_endpoint else { return Ok(None) };
        let tls = match &config.otlp_ca_file {
            _ if !endpoint.starts_with("https:") => None,
            None => Some(ClientTlsConfig::new().with_native_roots()),
            Some(file) => {
                let pem =
                    std::fs::read(file).map_err(|source| TelemetryError::Authority { file: file.clone(), source })?;
                Some(ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)))
            }
        };
        Ok(Some(Self { endpoint: endpoint.clone(), tls }))
    }

    /// An exporter of traces. Must be called within a tokio runtime.
    pub fn spans(&self) -> Result<SpanExporter, ExporterBuildError> {
        let builder = SpanExporter::builder().with_tonic().with_endpoint(&self.endpoint);
        match &self.tls {
            Some(tls) => builder.with_tls_config(tls.clone()).build(),
            None => builder.build(),
        }
    }

    /// An exporter of metrics. Must be called within a tokio runtime.
    pub fn metrics(&self) -> Result<MetricExporter, ExporterBuildError> {
        let builder = MetricExporter::builder().with_tonic().with_endpoint(&self.endpoint);
        match &self.tls {
            Some(tls) => builder.with_tls_config(tls.clone()).build(),
            None => builder.build(),
        }
    }
}
