//! Channels of the client commands to a running suite.

use std::path::PathBuf;

use clap::Args;
use mms_proto::catalog::v1::catalog_service_client::CatalogServiceClient;
use mms_proto::catalog::v1::scan_service_client::ScanServiceClient;
use mms_proto::registry::v1::data_source_service_client::DataSourceServiceClient;
use mms_proto::scheduler::v1::job_service_client::JobServiceClient;
use mms_proto::scheduler::v1::timer_service_client::TimerServiceClient;
use mms_server::{Client, ClientConfig, sized};

use crate::suite::Endpoints;

/// Deadline of a call: starting a source tries both far ends.
const DEADLINE_SECONDS: u64 = 300;
/// Largest message, as the services' own default.
const MAX_MESSAGE: usize = 16 << 20;

/// Where the suite is, and as whom it is called.
#[derive(Debug, Clone, Args)]
pub struct Remote {
    /// Port of the registry on this machine; catalog and scheduler follow.
    #[arg(long, global = true, value_name = "PORT", default_value_t = 7401, env = "MMS_PORT_BASE")]
    port_base: u16,
    /// Data folder of a suite on this machine, to find the ports that it took.
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// URL of the registry, where it is elsewhere.
    #[arg(long, global = true, value_name = "URL", env = "MMS_REGISTRY_URL")]
    registry: Option<String>,
    /// URL of the catalog, where it is elsewhere.
    #[arg(long, global = true, value_name = "URL", env = "MMS_CATALOG_URL")]
    catalog: Option<String>,
    /// URL of the scheduler, where it is elsewhere.
    #[arg(long, global = true, value_name = "URL", env = "MMS_SCHEDULER_URL")]
    scheduler: Option<String>,
    /// File that holds your token, mode 0600. On loopback none is needed unless the suite has a tokens file.
    #[arg(long, global = true, value_name = "FILE", env = "MMS_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// Authority that signed the services' certificates, PEM; for https URLs.
    #[arg(long, global = true, value_name = "FILE", env = "MMS_CA_FILE")]
    ca_file: Option<PathBuf>,
}

/// Clients of the services that people talk to.
#[derive(Debug, Clone)]
pub struct Clients {
    /// Timers.
    pub timers: TimerServiceClient<Client>,
    /// Data sources.
    pub sources: DataSourceServiceClient<Client>,
    /// Scans.
    pub scans: ScanServiceClient<Client>,
    /// Tables.
    pub catalog: CatalogServiceClient<Client>,
    /// Jobs and tasks.
    pub jobs: JobServiceClient<Client>,
}

impl Remote {
    /// Channels that connect when first used.
    pub fn connect(&self) -> anyhow::Result<Clients> {
        let mut at = match &self.data_dir {
            Some(dir) => Endpoints::read(dir)?,
            None => Endpoints::from_port(self.port_base),
        };
        for (url, given) in
            [(&mut at.registry, &self.registry), (&mut at.catalog, &self.catalog), (&mut at.scheduler, &self.scheduler)]
        {
            if let Some(given) = given {
                url.clone_from(given);
            }
        }
        Clients::to(&at, |url| ClientConfig {
            ca_file: self.ca_file.clone(),
            token_file: self.token_file.clone(),
            ..ClientConfig::to(url)
        })
    }
}

impl Clients {
    /// Clients of a suite in this process.
    pub fn of(at: &Endpoints) -> anyhow::Result<Self> {
        Self::to(at, |url| ClientConfig::to(url))
    }

    fn to(at: &Endpoints, config: impl Fn(&str) -> ClientConfig) -> anyhow::Result<Self> {
        // One provider for the process, whoever asks first.
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let channel = |url: &str| {
            let config = ClientConfig { deadline_seconds: DEADLINE_SECONDS, ..config(url) };
            Client::new(&config, None)
        };
        let catalog = channel(&at.catalog)?;
        Ok(Self {
            timers: sized!(TimerServiceClient::new(channel(&at.scheduler)?), MAX_MESSAGE),
            sources: sized!(DataSourceServiceClient::new(channel(&at.registry)?), MAX_MESSAGE),
            scans: sized!(ScanServiceClient::new(catalog.clone()), MAX_MESSAGE),
            catalog: sized!(CatalogServiceClient::new(catalog), MAX_MESSAGE),
            jobs: sized!(JobServiceClient::new(channel(&at.scheduler)?), MAX_MESSAGE),
        })
    }
}

/// The resource name that a word on the command line means: itself, or an id below `collection`.
pub fn named(collection: &str, word: &str) -> String {
    if word.contains('/') { word.to_owned() } else { format!("{collection}/{word}") }
}

/// The name of a data source given by name or id.
pub fn source_name(word: &str) -> String {
    named("dataSources", word)
}
