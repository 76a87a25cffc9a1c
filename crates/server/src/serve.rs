//! Turns a configuration into a serving process: bind, assemble, serve, drain. Several services can run in one process.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mms_proto::Role;
use mms_proto::audit::v1::audit_service_server::AuditServiceServer;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic::transport::Server;

use crate::audit::Audit;
use crate::client::{Channels, ClientError};
use crate::config::{FrameConfig, LimitsConfig};
use crate::health::Health;
use crate::layer::{self, Shared};
use crate::metrics::{self, Metrics, MetricsError};
use crate::reload::Reload;
use crate::rights::Rights;
use crate::supervise::{Critical, Supervisor, chain};
use crate::tls::Certificates;
use crate::tokens::{Sources, SuiteToken, TokensError, read_token};
use crate::{BoxError, Client, ClientConfig, Faults, listen, reflect, telemetry};

/// The least time that background tasks get to close their resources, even if calls used up the grace time.
const CLOSE_AT_LEAST: Duration = Duration::from_secs(5);

/// Metadata above this size is rejected by the transport. The frame's own limit is far below, so that a call above that
/// gets a status. The HTTP/2 library answers a larger one with HTTP 431 and resets the stream, and ends the connection
/// beyond four times this size. It offers no other answer, and a higher bound would only make it decode more per
/// stream.
const TRANSPORT_METADATA_BYTES: u32 = 256 << 10;

/// Why a process did not start, or did not run until it was told to stop.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// A value of the configuration is wrong.
    #[error(transparent)]
    Config(#[from] Faults),
    /// A tokens file was rejected.
    #[error(transparent)]
    Tokens(#[from] TokensError),
    /// A certificate or key could not be read.
    #[error("{}: {source}", .file.display())]
    File {
        /// The file as configured.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A certificate or key is not valid, or the two are not a pair.
    #[error("server.tls: {text}")]
    Tls {
        /// What is wrong, with the names of the files.
        text: String,
    },
    /// The address could not be bound.
    #[error("cannot listen on {listen}: {source}; is another process there?")]
    Bind {
        /// The address as configured.
        listen: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// Metrics could not be set up.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// The service could not be assembled.
    #[error("{service} did not start: {}", chain(.source.as_ref()))]
    Start {
        /// The name of the service.
        service: &'static str,
        /// The error of the service's `start`.
        source: BoxError,
    },
    /// Reflection or transport could not be set up.
    #[error("cannot serve: {0}")]
    Serve(String),
    /// A critical background task ended early.
    #[error("{service} stopped: {reason}")]
    Stopped {
        /// The name of the service.
        service: &'static str,
        /// Which task ended, and why.
        reason: String,
    },
}

/// What the frame gives a service to assemble itself with.
#[derive(Debug, Clone)]
pub struct Context<C> {
    /// The service's own section.
    pub config: C,
    /// The frame's section.
    pub frame: Arc<FrameConfig>,
    /// The address that the process listens on, with the real port if 0 is configured.
    pub local_addr: SocketAddr,
    /// The token of the suite's own services, for calls to them; `None` if none is configured.
    pub service_token: Option<SuiteToken>,
    /// Cancelled when the process is told to stop. Calls may still be in flight.
    pub shutdown: CancellationToken,
    /// Cancelled when no call is in flight any more: then stores may be closed.
    pub drained: CancellationToken,
    /// Runs the service's background tasks.
    pub supervisor: Supervisor,
    /// Reports the health of parts that can fail alone.
    pub health: Health,
    channels: Channels,
    service: &'static str,
    /// The metrics of the service.
    pub metrics: Metrics,
    /// Who may call what, by the tokens as they are now.
    pub rights: Arc<Rights>,
}

impl<C> Context<C> {
    /// The folder of the service's durable state.
    pub fn data_dir(&self) -> &Path {
        &self.frame.data_dir
    }

    /// The address to tell others; `None` if the process listens on all addresses, because nobody can connect to
    /// 0.0.0.0.
    pub fn endpoint(&self) -> Option<String> {
        (!self.local_addr.ip().is_unspecified()).then(|| self.local_addr.to_string())
    }

    /// A channel to another service of the suite. The expiry of the certificate that it presents is watched.
    ///
    /// # Errors
    /// The configuration of the channel is wrong, or its files cannot be read.
    pub fn channel(&self, config: &ClientConfig) -> Result<Client, ClientError> {
        let client = Client::new(config, self.service_token.as_ref())?.used_by(self.service);
        self.channels.watch(&client);
        Ok(client)
    }

    /// The largest message, for [`sized!`](crate::sized).
    pub fn max_message_bytes(&self) -> usize {
        self.frame.limits.max_message_bytes
    }

    /// Starts a background task; it should return when `shutdown` is cancelled.
    pub fn spawn<F>(&self, name: &'static str, critical: Critical, task: F)
    where
        F: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        self.supervisor.spawn(name, critical, task);
    }
}

/// The gRPC services that a process mounts.
#[derive(Debug, Clone, Default)]
pub struct Services {
    routes: Routes,
    names: Vec<&'static str>,
    waiting: Vec<&'static str>,
}

impl Services {
    /// No services yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Mounts a generated server; give it the frame's message size with [`sized!`](crate::sized).
    #[must_use]
    #[expect(clippy::should_implement_trait, reason = "services are added to a list, not summed up")]
    pub fn add<S>(mut self, service: S) -> Self
    where
        S: tower::Service<http::Request<tonic::body::Body>, Error = std::convert::Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Response: axum::response::IntoResponse,
        S::Future: Send + 'static,
    {
        self.names.push(S::NAME);
        self.routes = self.routes.add_service(service);
        self
    }

    /// Declares that calls of a plain method (`/package.Service/Method`) mostly wait. They take places of their own
    /// (`limits.concurrent_waits`), so that waiting calls leave room for those that work.
    #[must_use]
    pub fn waiting(mut self, path: &'static str) -> Self {
        self.waiting.push(path);
        self
    }
}

/// A process that has bound its address but does not serve yet: callers wait until it does.
#[derive(Debug)]
pub struct BoundServer {
    service: &'static str,
    frame: Arc<FrameConfig>,
    listener: TcpListener,
    page: Option<TcpListener>,
    local_addr: SocketAddr,
    rights: Arc<Rights>,
    service_token: Option<SuiteToken>,
    certificates: Option<Arc<Certificates>>,
}

impl BoundServer {
    /// Checks the configuration, reads tokens and certificates, and only then binds the address.
    pub async fn bind(service: &'static str, frame: FrameConfig) -> Result<Self, FrameError> {
        let mut faults = Faults::default();
        frame.check(&mut faults);
        if !faults.is_empty() {
            return Err(faults.into());
        }
        let service_token = frame.service_token_file.as_deref().map(read_token).transpose()?;
        let service_token = service_token.map(|token| SuiteToken::new(token.expose()));
        // Without a tokens file, everybody who reaches the port is trusted: check() allows that on loopback only.
        let anonymous = frame.tokens_file.is_none().then_some(Role::Admin);
        let sources = Sources { entries: frame.tokens_file.clone(), service: frame.service_token_file.clone() };
        let rights = Arc::new(Rights::new(sources, anonymous)?.with_clients(frame.tls.clients_of(service)));
        let certificates = Certificates::read(&frame.tls)?.map(Arc::new);
        let (listener, local_addr) = take(frame.listen).await?;
        let page = match frame.metrics.listen {
            Some(address) => Some(take(address).await?.0),
            None => None,
        };
        Ok(Self { service, frame: Arc::new(frame), listener, page, local_addr, rights, service_token, certificates })
    }

    /// The address that the process listens on.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The address of the metrics page, if one is configured.
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.page.as_ref().and_then(|page| page.local_addr().ok())
    }

    /// Assembles the service with `start`, and serves until `shutdown` is cancelled. Then it drains: health reports
    /// NOT_SERVING, new calls are refused, streams end with UNAVAILABLE, calls in flight and background tasks get the
    /// grace time. In every case background tasks are told to stop and waited for.
    pub async fn serve<C, F, Fut>(mut self, config: C, shutdown: CancellationToken, start: F) -> Result<(), FrameError>
    where
        F: FnOnce(Context<C>) -> Fut,
        Fut: Future<Output = Result<Services, BoxError>>,
    {
        let service = self.service;
        let supervisor = Supervisor::new(shutdown.clone());
        let drained = CancellationToken::new();
        let (reporter, health_service) = tonic_health::server::health_reporter();
        let (health, channels) = (Health::new(reporter), Channels::default());
        let metrics_at = self.metrics_addr();
        let metrics = Metrics::new(service, metrics_at.is_some(), telemetry::collector())?;
        if let Some(page) = self.page.take() {
            tracing::info!(service, "metrics at http://{}/metrics", metrics_at.unwrap_or(self.local_addr));
            supervisor.spawn("metrics", Critical::No, metrics::serve(page, metrics.clone(), drained.clone()));
        }
        let context = Context {
            config,
            frame: self.frame.clone(),
            local_addr: self.local_addr,
            service_token: self.service_token.clone(),
            shutdown: shutdown.clone(),
            drained: drained.clone(),
            supervisor: supervisor.clone(),
            health: health.clone(),
            channels: channels.clone(),
            service,
            metrics: metrics.clone(),
            rights: Arc::clone(&self.rights),
        };
        let (certificates, suite) = (self.certificates.clone(), self.service_token.clone());
        let reload = Reload::new(&self.frame, certificates, Arc::clone(&self.rights), suite, channels);
        supervisor.spawn("reload", Critical::No, reload.run(health.clone(), shutdown.clone()));
        let served = match start(context).await {
            Ok(services) => {
                let services = Services { routes: services.routes.add_service(health_service), ..services };
                Box::pin(self.serve_calls(services, &health, &metrics, &shutdown)).await
            }
            Err(source) => Err(FrameError::Start { service, source }),
        };
        shutdown.cancel();
        drained.cancel();
        let least = Instant::now() + CLOSE_AT_LEAST;
        let until = served.as_ref().map_or(least, |grace_ends| least.max(*grace_ends));
        if tokio::time::timeout_at(until, supervisor.finished()).await.is_err() {
            tracing::warn!(service, "grace time is over: background tasks are cut off");
        }
        // The exporter sends what is left on a thread of its own, which needs this runtime.
        drop(tokio::task::spawn_blocking(move || metrics.close()).await);
        served?;
        tracing::info!(service, "stopped");
        match supervisor.failure() {
            Some(reason) => Err(FrameError::Stopped { service, reason }),
            None => Ok(()),
        }
    }

    /// Serves until `shutdown`, and then until calls in flight have finished or their grace time is over. Returns when
    /// the grace time ends.
    async fn serve_calls(
        self,
        services: Services,
        health: &Health,
        metrics: &Metrics,
        shutdown: &CancellationToken,
    ) -> Result<Instant, FrameError> {
        let (service, grace) = (self.service, self.frame.shutdown_grace());
        if let Some(path) = services.waiting.iter().find(|path| mms_proto::descriptor::method(path).is_none()) {
            return Err(FrameError::Serve(format!("{path} is marked as waiting, but no contract has it")));
        }
        let services = services.add(crate::sized!(AuditServiceServer::new(Audit), self.frame.limits.max_message_bytes));
        for name in services.names.iter().copied() {
            health.set(name, true).await;
        }
        let routes =
            reflect::add(services.routes, &services.names).map_err(|error| FrameError::Serve(chain(&error)))?;
        let drain = CancellationToken::new();
        let shared = Shared::new(service, self.rights, &self.frame.limits, services.waiting, metrics, drain.clone());
        let routes = Routes::from(layer::wrap(routes, shared));
        let incoming = listen::incoming(self.listener, self.certificates, &self.frame.limits);
        tracing::info!(service, listen = %self.local_addr, "serving");

        let (begun, mut drain_begun) = tokio::sync::oneshot::channel();
        let stop = async {
            shutdown.cancelled().await;
            for name in services.names.iter().copied().chain([""]) {
                health.set(name, false).await;
            }
            tracing::info!(service, "draining");
            drain.cancel();
            begun.send(Instant::now()).ok();
        };
        let cut = async {
            drain.cancelled().await;
            tokio::time::sleep(grace).await;
        };
        let mut transport = transport(&self.frame.limits);
        tokio::select! {
            served = transport.add_routes(routes).serve_with_incoming_shutdown(incoming, stop) => {
                served.map_err(|error| FrameError::Serve(chain(&error)))?;
            }
            () = cut => tracing::warn!(service, "grace time is over: calls in flight are cut off"),
        }
        Ok(drain_begun.try_recv().map_or_else(|_| Instant::now(), |begun| begun + grace))
    }
}

async fn take(address: SocketAddr) -> Result<(TcpListener, SocketAddr), FrameError> {
    let bind = |source| FrameError::Bind { listen: address, source };
    let listener = TcpListener::bind(address).await.map_err(bind)?;
    let taken = listener.local_addr().map_err(bind)?;
    Ok((listener, taken))
}

/// The HTTP/2 settings of every process.
fn transport(limits: &LimitsConfig) -> Server {
    Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .http2_keepalive_timeout(Some(Duration::from_secs(20)))
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .max_concurrent_streams(limits.streams_per_connection)
        .http2_max_header_list_size(TRANSPORT_METADATA_BYTES)
}
