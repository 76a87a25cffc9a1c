//! The configuration that every process has, and how a service adds its own section.
//!
//! Layers, later ones winning: defaults, one TOML file, environment (`MMS_<SERVICE>__SECTION__KEY`), flags. Everything
//! is read and checked before a port is bound or a store opened, and all faults are reported at once.

mod faults;
mod load;
mod secret;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use mms_proto::Role;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use faults::Faults;
pub use load::{Loaded, Override, load};
pub use secret::Secret;

/// A service's own section. Nested sections are plain structs and only leaves are `Option`: so the defaults show every
/// key, and a misspelt one can be reported.
pub trait ServiceConfig: Serialize + DeserializeOwned + Default + Clone + Send + Sync + 'static {
    /// The name of the service: of its section, in its environment prefix and in its telemetry.
    const SERVICE: &'static str;
    /// Port on loopback when no address is configured; 0 for any free one.
    const DEFAULT_PORT: u16;

    /// Adds a fault for each wrong value, with its key.
    fn check(&self, _frame: &FrameConfig, _faults: &mut Faults) {}
}

/// The section `[server]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FrameConfig {
    /// Address to listen on. Anything but loopback needs TLS and a tokens file, or `insecure`.
    pub listen: SocketAddr,
    /// Folder of the service's durable state.
    pub data_dir: PathBuf,
    /// What to do when the durable state cannot be read.
    pub recover: Recover,
    /// TLS of the listener.
    pub tls: TlsConfig,
    /// File of callers' tokens, mode 0600. Unset on loopback: whoever reaches the port is ADMIN, but not SERVICE.
    pub tokens_file: Option<PathBuf>,
    /// File that holds one token, mode 0600: the one of the suite's own services. It is accepted with role SERVICE, and
    /// sent by this process to the others.
    pub service_token_file: Option<PathBuf>,
    /// Accept callers from other machines without TLS or tokens.
    pub insecure: bool,
    /// Limits of calls and connections.
    pub limits: LimitsConfig,
    /// The metrics page.
    pub metrics: MetricsConfig,
    /// Seconds that calls in flight get to finish after the process was told to stop.
    pub shutdown_grace_seconds: u64,
}

/// What to do when the durable state is missing, cannot be read, or is not the state that this service left in the
/// folder. A healthy state is opened as it is, whatever is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Recover {
    /// Do not start.
    Refuse,
    /// Restore the newest export that is complete; what was acknowledged after it is lost.
    NewestExport,
    /// Accept a copy, a restored backup, or a state without its manifest, as a new incarnation. A state that is behind
    /// an export or its manifest is still refused.
    AcceptCopy,
}

/// The section `[server.tls]`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// Certificate chain, PEM.
    pub cert_file: Option<PathBuf>,
    /// Private key of `cert_file`, PEM.
    pub key_file: Option<PathBuf>,
    /// Authority that must have signed client certificates, PEM. Unset: clients need no certificate.
    pub client_ca_file: Option<PathBuf>,
    /// Role of a client certificate, by a DNS name in it. A certificate with role SERVICE has no other role; a client
    /// whose certificate is not listed may be a person with a token, never SERVICE. Empty: the services of the suite
    /// that call this one, by the names that `deploy/make-secrets` gives them.
    pub clients: BTreeMap<String, String>,
}

impl TlsConfig {
    /// The roles by name in the certificate, as they apply to a service: the default for `service` if `clients` is
    /// empty.
    pub(crate) fn clients_of(&self, service: &str) -> BTreeMap<String, Role> {
        let callers: &[&str] = match service {
            "registry" => &["catalog", "scheduler", "transfer"],
            "catalog" => &["scheduler"],
            "scheduler" => &["transfer"],
            _ => &[],
        };
        let own = |name: &&str| ((*name).to_owned(), Role::Service);
        if self.clients.is_empty() {
            return callers.iter().map(own).collect();
        }
        let given = self.clients.iter().filter_map(|(name, role)| Some((name.clone(), role_of(role)?)));
        given.collect()
    }
}

/// The role with this name as a configuration spells it, as in `VIEWER`; `None` if there is no such role.
pub(crate) fn role_of(name: &str) -> Option<Role> {
    Role::from_str_name(&format!("ROLE_{name}")).filter(|role| *role != Role::Unspecified)
}

/// The section `[server.metrics]`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MetricsConfig {
    /// Address of the page /metrics, in Prometheus' text format over plain HTTP. Everybody who reaches it can read it:
    /// it has counts, and no names of tables, sources or callers. Unset: there is no such page.
    pub listen: Option<SocketAddr>,
}

/// The section `[server.limits]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Largest message in bytes, in and out.
    pub max_message_bytes: usize,
    /// Plain calls handled at once: of people, and as many again of the suite's services.
    pub concurrent_calls: usize,
    /// Streams open at once: of people, and as many again of the suite's services.
    pub concurrent_streams: usize,
    /// Calls at once that mostly wait, such as those of idle workers for a task: of people, and as many again of
    /// services.
    pub concurrent_waits: usize,
    /// Calls and streams at once that need no token: of health, and as many again of reflection.
    pub concurrent_open_calls: usize,
    /// Bytes of requests in memory at once, while they arrive or are handled: of people, and as many again of services.
    pub body_bytes: usize,
    /// Seconds that a request may take to arrive completely.
    pub body_seconds: u64,
    /// Largest metadata of a call in bytes: its names and values, plus 32 for each pair.
    pub max_metadata_bytes: usize,
    /// Connections at once. Never more than the limit of open files of the process, less a reserve of 256.
    pub connections: usize,
    /// Connections at once from one address.
    pub connections_per_address: usize,
    /// Calls and streams at once on one connection.
    pub streams_per_connection: u32,
    /// Seconds that the TLS handshake and the first bytes of HTTP/2 may take.
    pub handshake_seconds: u64,
    /// Seconds after which a connection without a call is closed.
    pub idle_seconds: u64,
    /// Deadline of a plain call that asks for none, in seconds. A stream that asks for none has none.
    pub default_deadline_seconds: u64,
    /// The longest deadline of a plain call in seconds, whatever it asks for.
    pub max_deadline_seconds: u64,
}

/// The section `[telemetry]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TelemetryConfig {
    /// Format of log lines.
    pub format: LogFormat,
    /// What is logged, in the syntax of tracing's `EnvFilter`. Default [`usual_filter`] of "info".
    pub filter: String,
    /// OTLP collector for traces and metrics, gRPC, as in "http://127.0.0.1:4317". Unset: nothing is exported.
    pub otlp_endpoint: Option<String>,
    /// Authority that signed the certificate of an https collector, PEM. Unset: the authorities that the system trusts.
    pub otlp_ca_file: Option<PathBuf>,
}

/// Format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text for people.
    Human,
    /// One JSON object per line.
    Json,
}

impl Default for FrameConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
            data_dir: "mms-data".into(),
            recover: Recover::Refuse,
            tls: TlsConfig::default(),
            tokens_file: None,
            service_token_file: None,
            insecure: false,
            limits: LimitsConfig::default(),
            metrics: MetricsConfig::default(),
            shutdown_grace_seconds: 20,
        }
    }
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            max_message_bytes: 16 << 20,
            concurrent_calls: 1024,
            concurrent_streams: 1024,
            concurrent_waits: 1024,
            concurrent_open_calls: 256,
            body_bytes: 256 << 20,
            body_seconds: 30,
            max_metadata_bytes: 16 << 10,
            connections: 4096,
            connections_per_address: 1024,
            streams_per_connection: 256,
            handshake_seconds: 10,
            idle_seconds: 900,
            default_deadline_seconds: 120,
            max_deadline_seconds: 900,
        }
    }
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self { format: LogFormat::Human, filter: usual_filter("info"), otlp_endpoint: None, otlp_ca_file: None }
    }
}

/// The filter that logs mms from `level` on, and only warnings of libraries. The Delta library is silenced: it logs
/// every error that it returns, with a backtrace; mms reports the same error in one line.
pub fn usual_filter(level: &str) -> String {
    let libraries = if level == "error" { "error" } else { "warn" };
    format!("{libraries},mms={level},delta_kernel=off,delta_kernel_default_engine=off")
}

impl FrameConfig {
    /// The defaults for one service: its port, and its folder below `mms-data`.
    pub fn of<C: ServiceConfig>() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), C::DEFAULT_PORT),
            data_dir: PathBuf::from("mms-data").join(C::SERVICE),
            ..Self::default()
        }
    }

    /// The time that calls in flight get to finish after the process was told to stop.
    pub fn shutdown_grace(&self) -> Duration {
        Duration::from_secs(self.shutdown_grace_seconds)
    }

    /// Whether the listener has a certificate and a key.
    pub fn has_tls(&self) -> bool {
        self.tls.cert_file.is_some() && self.tls.key_file.is_some()
    }

    /// Adds a fault for each wrong value.
    pub fn check(&self, faults: &mut Faults) {
        if self.tls.cert_file.is_some() != self.tls.key_file.is_some() {
            faults.add("server.tls", "cert_file and key_file go together: one is missing");
        }
        if self.tls.client_ca_file.is_some() && !self.has_tls() {
            faults.add("server.tls.client_ca_file", "needs cert_file and key_file");
        }
        if !self.listen.ip().is_loopback() && !self.insecure && (!self.has_tls() || self.tokens_file.is_none()) {
            let text = format!(
                "{} is not a loopback address: set server.tls.cert_file, server.tls.key_file and server.tokens_file, \
                 or pass --insecure to let anyone in",
                self.listen
            );
            faults.add("server.listen", text);
        }
        if self.metrics.listen.is_some_and(|at| at == self.listen && at.port() != 0) {
            faults.add("server.metrics.listen", "must not be server.listen: the page is not gRPC");
        }
        for (name, role) in &self.tls.clients {
            if role_of(role).is_none() {
                let text = format!("{role:?} is not one of VIEWER, OPERATOR, EDITOR, ADMIN, SERVICE");
                faults.add(&format!("server.tls.clients.{name}"), text);
            }
        }
        let limits = &self.limits;
        if !(64 << 10..=1 << 30).contains(&limits.max_message_bytes) {
            faults.add("server.limits.max_message_bytes", "must be from 65536 (64 KiB) to 1073741824 (1 GiB)");
        }
        // A tokio semaphore holds at most usize::MAX >> 3 permits; a million calls are more than any process can
        // handle.
        for (key, value) in [
            ("concurrent_calls", limits.concurrent_calls),
            ("concurrent_streams", limits.concurrent_streams),
            ("concurrent_waits", limits.concurrent_waits),
            ("concurrent_open_calls", limits.concurrent_open_calls),
            ("connections", limits.connections),
            ("connections_per_address", limits.connections_per_address),
            ("streams_per_connection", limits.streams_per_connection as usize),
        ] {
            if !(1..=1_000_000).contains(&value) {
                faults.add(&format!("server.limits.{key}"), "must be from 1 to 1000000");
            }
        }
        for (key, value) in [
            ("server.limits.default_deadline_seconds", limits.default_deadline_seconds),
            ("server.limits.max_deadline_seconds", limits.max_deadline_seconds),
            ("server.limits.body_seconds", limits.body_seconds),
            ("server.limits.handshake_seconds", limits.handshake_seconds),
            ("server.limits.idle_seconds", limits.idle_seconds),
        ] {
            if !(1..=86_400).contains(&value) {
                faults.add(key, "must be from 1 to 86400 (a day)");
            }
        }
        if limits.default_deadline_seconds > limits.max_deadline_seconds {
            faults.add("server.limits.default_deadline_seconds", "must not be above max_deadline_seconds");
        }
        if self.shutdown_grace_seconds > 3600 {
            faults.add("server.shutdown_grace_seconds", "must be at most 3600 (an hour)");
        }
    }
}

impl TelemetryConfig {
    /// Adds a fault for each wrong value.
    pub fn check(&self, faults: &mut Faults) {
        if let Err(error) = self.filter.parse::<tracing_subscriber::filter::Targets>()
            && tracing_subscriber::EnvFilter::try_new(&self.filter).is_err()
        {
            faults.add("telemetry.filter", format!("{:?} is not a filter: {error}", self.filter));
        }
        if let Some(endpoint) = &self.otlp_endpoint
            && tonic::transport::Endpoint::from_shared(endpoint.clone()).is_err()
        {
            faults.add("telemetry.otlp_endpoint", format!("{endpoint:?} is not a URL such as http://127.0.0.1:4317"));
        }
        let is_https = self.otlp_endpoint.as_deref().is_some_and(|endpoint| endpoint.starts_with("https:"));
        if self.otlp_ca_file.is_some() && !is_https {
            faults.add("telemetry.otlp_ca_file", "needs an otlp_endpoint of https://");
        }
    }
}
