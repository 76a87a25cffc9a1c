//! Runs the four services in this process on loopback: their folders, keys, token and channels to each other.
//!
//! This is the only place that links all four; they still meet only in their contracts.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use mms_server::config::LimitsConfig;
use mms_server::{
    BoundServer, CancellationToken, Client, ClientConfig, FrameConfig, FrameError, MetricsConfig, Recover,
    ServiceConfig,
};
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::private;

/// The file in the data folder with the suite's addresses.
const ENDPOINTS: &str = "endpoints.json";
/// The difference between the port of a service and that of its metrics.
const METRICS_OFFSET: u16 = 100;
/// Seconds that calls in flight may take to end, for each service. The services stop one after the other.
const GRACE_SECONDS: u64 = 10;
/// How long the services may take to answer after a start.
const START_WITHIN: Duration = Duration::from_secs(60);
/// Pause before a service that did not answer is called again.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// How the suite is run: its folder, its ports and the settings of its services.
#[derive(Debug, Clone)]
pub struct SuiteConfig {
    /// Folder of durable state, created if absent.
    pub data_dir: PathBuf,
    /// Port of the registry; the others use the next ports. 0 picks free ones.
    pub port_base: u16,
    /// Whether tables on this machine's disk may be read.
    pub allow_local_files: bool,
    /// Folders below which data sources may refer to secrets in files; empty means the registry's default.
    pub secret_file_roots: Vec<PathBuf>,
    /// Prefixes of variables that data sources may refer to as secrets; empty means the registry's default.
    pub secret_variable_prefixes: Vec<String>,
    /// Id of the key that encrypts secrets from now on; `None` means the registry's default.
    pub encryption_key_id: Option<String>,
    /// Ids of keys that are lost, whose secrets are given up.
    pub lost_encryption_keys: Vec<String>,
    /// Whether each service serves its metrics.
    pub metrics: bool,
    /// Tasks that the worker runs at once; `None` means the worker's default.
    pub slots: Option<usize>,
    /// Seconds that a lease lasts without a heartbeat; `None` means the scheduler's default.
    pub lease_seconds: Option<u64>,
    /// What to do when durable state is missing or cannot be read.
    pub recover: Recover,
}

/// The URLs of the services.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Endpoints {
    pub registry: String,
    pub catalog: String,
    pub scheduler: String,
    /// The URL of the transfer worker.
    pub transfer: String,
    /// The URL of each service's metrics, by service.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, String>,
}

impl Endpoints {
    /// Endpoints on this machine, from this port on.
    pub fn from_port(base: u16) -> Self {
        let url = |offset: u16| format!("http://127.0.0.1:{}", base.saturating_add(offset));
        let metrics = BTreeMap::new();
        Self { registry: url(0), catalog: url(1), scheduler: url(2), transfer: url(3), metrics }
    }

    /// Endpoints of the suite that runs, or ran last, on a data folder.
    pub fn read(data_dir: &Path) -> anyhow::Result<Self> {
        let file = data_dir.join(ENDPOINTS);
        let text = std::fs::read_to_string(&file)
            .with_context(|| format!("{}: did `mms up` run with this data folder?", file.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is damaged", file.display()))
    }

    fn write(&self, data_dir: &Path) -> anyhow::Result<()> {
        let (file, fresh) = (data_dir.join(ENDPOINTS), data_dir.join("endpoints.json.new"));
        std::fs::write(&fresh, serde_json::to_string(self)?)
            .and_then(|()| std::fs::rename(&fresh, &file))
            .with_context(|| format!("writing {}", file.display()))
    }
}

/// A service that runs.
struct Running {
    name: &'static str,
    stop: CancellationToken,
    task: JoinHandle<Result<(), FrameError>>,
}

pub struct Suite {
    pub endpoints: Endpoints,
    // In the order in which they are stopped: each before those that it calls.
    running: Vec<Running>,
}

impl Suite {
    /// Starts all four services and waits until they answer.
    pub async fn start(config: SuiteConfig) -> anyhow::Result<Self> {
        mms_server::harden()?;
        // The HTTP client and our own channels must use the same TLS provider, so it is installed before the first of
        // them is used.
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        std::fs::create_dir_all(&config.data_dir).with_context(|| {
            format!("making {}, for which --data-dir may name another folder", config.data_dir.display())
        })?;
        let data_dir = std::path::absolute(&config.data_dir)?;
        let token_file = data_dir.join("service.token");
        private::ensure(&token_file, private::random)?;
        let key_file = data_dir.join("encryption.key");
        let store = data_dir.join("registry/store");
        if !key_file.exists() && store.exists() {
            anyhow::bail!(
                "{} is gone, and {} holds secrets that only it opens: put it back from your backup; if it is lost, see \
                 \"The encryption key is lost\" in deploy/README.md",
                key_file.display(),
                store.display()
            );
        }
        mms_registry::ensure_key_file(&key_file)?;

        let port = |offset: u16| match config.port_base {
            0 => Ok(0),
            base => base.checked_add(offset).context("--port-base must leave room for 104 ports below 65536"),
        };
        let page = |offset: u16| {
            let port = config.metrics.then(|| port(METRICS_OFFSET + offset)).transpose()?;
            anyhow::Ok(MetricsConfig { listen: port.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port))) })
        };
        let frame = |service: &str, offset: u16| {
            anyhow::Ok(FrameConfig {
                listen: SocketAddr::from((Ipv4Addr::LOCALHOST, port(offset)?)),
                data_dir: data_dir.join(service),
                recover: config.recover,
                service_token_file: Some(token_file.clone()),
                shutdown_grace_seconds: GRACE_SECONDS,
                limits: LimitsConfig::default(),
                metrics: page(offset)?,
                ..FrameConfig::default()
            })
        };
        let registry = BoundServer::bind("registry", frame("registry", 0)?).await?;
        let catalog = BoundServer::bind("catalog", frame("catalog", 1)?).await?;
        let scheduler = BoundServer::bind("scheduler", frame("scheduler", 2)?).await?;
        let transfer = BoundServer::bind("transfer", frame("transfer", 3)?).await?;
        let url = |server: &BoundServer| format!("http://{}", server.local_addr());
        let endpoints = Endpoints {
            registry: url(&registry),
            catalog: url(&catalog),
            scheduler: url(&scheduler),
            transfer: url(&transfer),
            metrics: [
                ("registry", &registry),
                ("catalog", &catalog),
                ("scheduler", &scheduler),
                ("transfer", &transfer),
            ]
            .into_iter()
            .filter_map(|(name, server)| Some((name, server.metrics_addr()?)))
            .map(|(name, at)| (name.to_owned(), format!("http://{at}/metrics")))
            .collect(),
        };

        let to = |url: &str| ClientConfig::to(url);
        let lease = config.lease_seconds.unwrap_or(mms_scheduler::Config::default().lease_seconds);
        let given = mms_registry::Config::default();
        let roots = config.secret_file_roots.iter().map(std::path::absolute).collect::<Result<Vec<_>, _>>()?;
        let of_registry = mms_registry::Config {
            encryption_key_file: Some(key_file),
            encryption_key_id: config.encryption_key_id.unwrap_or(given.encryption_key_id),
            lost_encryption_keys: config.lost_encryption_keys,
            allow_local_files: config.allow_local_files,
            // The sandbox is on loopback, and this machine belongs to the person who runs the suite.
            allow_loopback: true,
            secret_file_roots: or(roots, given.secret_file_roots),
            secret_variable_prefixes: or(config.secret_variable_prefixes, given.secret_variable_prefixes),
            ..mms_registry::Config::default()
        };
        let of_catalog = mms_catalog::Config {
            registry: to(&endpoints.registry),
            allow_loopback: true,
            ..mms_catalog::Config::default()
        };
        let of_scheduler = mms_scheduler::Config {
            registry: to(&endpoints.registry),
            catalog: to(&endpoints.catalog),
            lease_seconds: lease,
        };
        let of_transfer = mms_transfer::Config {
            registry: to(&endpoints.registry),
            scheduler: to(&endpoints.scheduler),
            allow_local_files: config.allow_local_files,
            // The sandbox is on loopback, and this machine belongs to the person who runs the suite.
            allow_loopback: true,
            slots: config.slots.unwrap_or(mms_transfer::Config::default().slots),
            ..mms_transfer::Config::default()
        };
        judge(&of_registry, &of_scheduler, &of_transfer)?;
        let running = vec![
            run("transfer", transfer, of_transfer, mms_transfer::start),
            run("scheduler", scheduler, of_scheduler, mms_scheduler::start),
            run("catalog", catalog, of_catalog, mms_catalog::start),
            run("registry", registry, of_registry, mms_registry::start),
        ];
        let mut suite = Self { endpoints, running };
        let answers = tokio::time::timeout(START_WITHIN, suite.all_answer());
        let started = tokio::select! {
            answers = answers => answers.context("the services did not answer in time").flatten(),
            error = suite.failed() => Err(error),
        };
        // The addresses are written only when the suite answers, and so owns the folder's stores. Only the first error
        // is reported: that the other services then ended is no news.
        if let Err(error) = started.and_then(|()| suite.endpoints.write(&data_dir)) {
            drop(suite.stop().await);
            return Err(error);
        }
        Ok(suite)
    }

    /// Waits until all services answer. A service that does not answer is called again: if it has ended,
    /// [`failed`](Self::failed) reports why, which its closed port would not.
    fn all_answer(&self) -> impl Future<Output = anyhow::Result<()>> + use<> {
        let Endpoints { registry, catalog, scheduler, transfer, .. } = self.endpoints.clone();
        async move {
            for url in [registry, catalog, scheduler, transfer] {
                let mut health = HealthClient::new(Client::new(&ClientConfig::to(url), None)?);
                while !matches!(
                    health.check(HealthCheckRequest::default()).await,
                    Ok(answer) if answer.get_ref().status() == ServingStatus::Serving
                ) {
                    tokio::time::sleep(ASK_AGAIN).await;
                }
            }
            Ok(())
        }
    }

    /// Waits until a service ends by itself, which is always a failure.
    pub async fn failed(&mut self) -> anyhow::Error {
        let ended = self.running.iter_mut().map(|running| {
            let name = running.name;
            Box::pin(async move { (name, (&mut running.task).await) })
        });
        let ((name, result), at, _) = futures::future::select_all(ended).await;
        self.running.remove(at);
        let error = match result {
            Ok(Ok(())) => anyhow::anyhow!("it ended although nobody stopped it"),
            Ok(Err(error)) => error.into(),
            Err(error) => error.into(),
        };
        error.context(format!("the {name} failed"))
    }

    /// Drains the services, each before those that it calls, so that it can still report what it leaves.
    pub async fn stop(self) -> anyhow::Result<()> {
        let mut first = Ok(());
        for Running { name, stop, task } in self.running {
            stop.cancel();
            let ended = task.await.map_err(anyhow::Error::from).and_then(|served| Ok(served?));
            let ended = ended.with_context(|| format!("stopping the {name}"));
            if first.is_ok() {
                first = ended;
            }
        }
        first
    }
}

fn or<T>(chosen: Vec<T>, default: Vec<T>) -> Vec<T> {
    if chosen.is_empty() { default } else { chosen }
}

fn judge(
    registry: &mms_registry::Config,
    scheduler: &mms_scheduler::Config,
    transfer: &mms_transfer::Config,
) -> anyhow::Result<()> {
    let mut faults = mms_server::Faults::default();
    let frame = FrameConfig::default();
    registry.check(&frame, &mut faults);
    scheduler.check(&frame, &mut faults);
    transfer.check(&frame, &mut faults);
    if faults.is_empty() { Ok(()) } else { Err(faults.into()) }
}

fn run<C, F, Fut>(name: &'static str, server: BoundServer, config: C, start: F) -> Running
where
    C: Send + 'static,
    F: FnOnce(mms_server::Context<C>) -> Fut + Send + 'static,
    Fut: Future<Output = Result<mms_server::Services, mms_server::BoxError>> + Send + 'static,
{
    let stop = CancellationToken::new();
    let task = tokio::spawn(Box::pin(server.serve(config, stop.clone(), start)));
    Running { name, stop, task }
}
