//! The OTLP collector that a process sends to: one connection's settings for traces and metrics. It must never be asked whether it
//! is there: a suite without its collector works as well.

use opentelemetry_otlp::tonic_types::transport::{Certificate, ClientTlsConfig};
use opentelemetry_otlp::{ExporterBuildError, MetricExporter, SpanExporter, WithExportConfig, WithTonicConfig};

use super::TelemetryError;
use crate::config::TelemetryConfig;

/// Where it is, and whose certificates are believed.
#[derive(Debug, Clone)]
pub struct Collector {
    endpoint: String,
    /// Of an https URL.
    tls: Option<ClientTlsConfig>,
}

impl Collector {
    /// The one of the configuration, if there is one. Reads the authority's file.
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

    /// Sends traces. Must run inside a tokio runtime.
    pub fn spans(&self) -> Result<SpanExporter, ExporterBuildError> {
        let builder = SpanExporter::builder().with_tonic().with_endpoint(&self.endpoint);
        match &self.tls {
            Some(tls) => builder.with_tls_config(tls.clone()).build(),
            None => builder.build(),
        }
    }

    /// Sends metrics. Must run inside a tokio runtime.
    pub fn metrics(&self) -> Result<MetricExporter, ExporterBuildError> {
        let builder = MetricExporter::builder().with_tonic().with_endpoint(&self.endpoint);
        match &self.tls {
            Some(tls) => builder.with_tls_config(tls.clone()).build(),
            None => builder.build(),
        }
    }
}
