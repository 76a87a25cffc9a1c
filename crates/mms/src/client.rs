//! Channels of the client commands to a running suite, and the options that say where it is.

use std::path::PathBuf;

use clap::Args;
use mms_proto::catalog::v1::catalog_service_client::CatalogServiceClient;
use mms_proto::catalog::v1::scan_service_client::ScanServiceClient;
use mms_proto::registry::v1::data_source_service_client::DataSourceServiceClient;
use mms_proto::scheduler::v1::job_service_client::JobServiceClient;
use mms_proto::scheduler::v1::timer_service_client::TimerServiceClient;
use mms_proto::scheduler::v1::worker_service_client::WorkerServiceClient;
use mms_server::client::ClientError;
use mms_server::{Client, ClientConfig, sized};

use crate::command::GLOBAL;
use crate::suite::Endpoints;

/// Deadline of a call. It is long because starting a source connects to the source and the target.
const DEADLINE_SECONDS: u64 = 300;
/// Deadline of a health check, which a service answers from memory.
const HEALTH_SECONDS: u64 = 5;
/// The largest message, as in the services' default.
const MAX_MESSAGE: usize = 16 << 20;

/// The default port of the registry of a suite on this machine.
const DEFAULT_PORT: u16 = 7401;

/// Where the suite is, and with which identity it is called.
#[derive(Debug, Clone, Args)]
pub struct Remote {
    /// Port of the registry on this machine; catalog and scheduler follow.
    #[arg(long, global = true, value_name = "PORT", default_value_t = DEFAULT_PORT, env = "MMS_PORT_BASE", help_heading = GLOBAL)]
    port_base: u16,
    /// Data folder of a suite on this machine, from which its ports are read.
    #[arg(long, global = true, value_name = "DIR", help_heading = GLOBAL)]
    data_dir: Option<PathBuf>,
    /// URL of the registry, if it is not on this machine.
    #[arg(long, global = true, value_name = "URL", env = "MMS_REGISTRY_URL", help_heading = GLOBAL)]
    registry: Option<String>,
    /// URL of the catalog, if it is not on this machine.
    #[arg(long, global = true, value_name = "URL", env = "MMS_CATALOG_URL", help_heading = GLOBAL)]
    catalog: Option<String>,
    /// URL of the scheduler, if it is not on this machine.
    #[arg(long, global = true, value_name = "URL", env = "MMS_SCHEDULER_URL", help_heading = GLOBAL)]
    scheduler: Option<String>,
    /// File with your token, mode 0600. On loopback none is needed unless the suite has a tokens file.
    #[arg(long, global = true, value_name = "FILE", env = "MMS_TOKEN_FILE", help_heading = GLOBAL)]
    token_file: Option<PathBuf>,
    /// CA that signed the services' certificates, PEM; for https URLs.
    #[arg(long, global = true, value_name = "FILE", env = "MMS_CA_FILE", help_heading = GLOBAL)]
    ca_file: Option<PathBuf>,
    /// Your client certificate, PEM, if the services require one.
    #[arg(long, global = true, value_name = "FILE", env = "MMS_CERT_FILE", help_heading = GLOBAL)]
    cert_file: Option<PathBuf>,
    /// Private key of your client certificate, PEM.
    #[arg(long, global = true, value_name = "FILE", env = "MMS_KEY_FILE", help_heading = GLOBAL)]
    key_file: Option<PathBuf>,
}

impl Default for Remote {
    fn default() -> Self {
        Self {
            port_base: DEFAULT_PORT,
            data_dir: None,
            registry: None,
            catalog: None,
            scheduler: None,
            token_file: None,
            ca_file: None,
            cert_file: None,
            key_file: None,
        }
    }
}

/// Clients of the services that people use.
#[derive(Debug, Clone)]
pub struct Clients {
    pub timers: TimerServiceClient<Client>,
    pub sources: DataSourceServiceClient<Client>,
    pub scans: ScanServiceClient<Client>,
    /// Schemas and tables.
    pub catalog: CatalogServiceClient<Client>,
    /// Jobs and tasks.
    pub jobs: JobServiceClient<Client>,
    pub workers: WorkerServiceClient<Client>,
}

impl Remote {
    /// An `mms` command that reaches the same suite, as it would be typed.
    pub fn command(&self, words: &str) -> String {
        let mut command = format!("mms {words}");
        let mut flag = |name: &str, value: String, variable: &str| {
            // A value from the environment is there for the next command too.
            if variable.is_empty() || std::env::var(variable).as_ref() != Ok(&value) {
                command.push_str(&format!(" --{name} {}", quoted(&value)));
            }
        };
        if let Some(dir) = &self.data_dir {
            flag("data-dir", dir.display().to_string(), "");
        } else if self.port_base != DEFAULT_PORT {
            flag("port-base", self.port_base.to_string(), "MMS_PORT_BASE");
        }
        for (name, url, variable) in [
            ("registry", &self.registry, "MMS_REGISTRY_URL"),
            ("catalog", &self.catalog, "MMS_CATALOG_URL"),
            ("scheduler", &self.scheduler, "MMS_SCHEDULER_URL"),
        ] {
            if let Some(url) = url {
                flag(name, url.clone(), variable);
            }
        }
        for (name, file, variable) in [
            ("token-file", &self.token_file, "MMS_TOKEN_FILE"),
            ("ca-file", &self.ca_file, "MMS_CA_FILE"),
            ("cert-file", &self.cert_file, "MMS_CERT_FILE"),
            ("key-file", &self.key_file, "MMS_KEY_FILE"),
        ] {
            if let Some(file) = file {
                flag(name, file.display().to_string(), variable);
            }
        }
        command
    }

    /// Clients of this suite. Channels connect when first used.
    pub fn connect(&self) -> anyhow::Result<Clients> {
        Clients::to(&self.endpoints()?, |url| self.config(url))
    }

    /// Channels for health checks, with the name of each service: of these URLs, else of the URLs in the options, else
    /// of a suite on this machine.
    pub fn health_channels(&self, urls: &[String]) -> anyhow::Result<Vec<(&'static str, Client)>> {
        let at = self.endpoints()?;
        let given = [("registry", &self.registry), ("catalog", &self.catalog), ("scheduler", &self.scheduler)];
        let mut all: Vec<(&str, String)> = urls.iter().map(|url| ("service", url.clone())).collect();
        if all.is_empty() {
            all = given.into_iter().filter_map(|(service, url)| Some((service, url.clone()?))).collect();
        }
        if all.is_empty() {
            all.extend([("registry", at.registry), ("catalog", at.catalog)]);
            all.extend([("scheduler", at.scheduler), ("transfer", at.transfer)]);
        }
        provide();
        let channel =
            |url: &str| Client::new(&ClientConfig { deadline_seconds: HEALTH_SECONDS, ..self.config(url) }, None);
        Ok(all.into_iter().map(|(service, url)| Ok((service, channel(&url)?))).collect::<Result<_, ClientError>>()?)
    }

    fn config(&self, url: &str) -> ClientConfig {
        // Some services may be on this machine without TLS, while others have it.
        let of_tls = |file: &Option<PathBuf>| file.clone().filter(|_| url.starts_with("https:"));
        ClientConfig {
            ca_file: of_tls(&self.ca_file),
            cert_file: of_tls(&self.cert_file),
            key_file: of_tls(&self.key_file),
            token_file: self.token_file.clone(),
            ..ClientConfig::to(url)
        }
    }

    fn endpoints(&self) -> anyhow::Result<Endpoints> {
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
        Ok(at)
    }
}

impl Clients {
    pub fn of(at: &Endpoints) -> anyhow::Result<Self> {
        Self::to(at, |url| ClientConfig::to(url))
    }

    fn to(at: &Endpoints, config: impl Fn(&str) -> ClientConfig) -> anyhow::Result<Self> {
        provide();
        let channel = |url: &str| {
            let config = ClientConfig { deadline_seconds: DEADLINE_SECONDS, ..config(url) };
            Client::new(&config, None)
        };
        let (catalog, scheduler) = (channel(&at.catalog)?, channel(&at.scheduler)?);
        Ok(Self {
            timers: sized!(TimerServiceClient::new(scheduler.clone()), MAX_MESSAGE),
            sources: sized!(DataSourceServiceClient::new(channel(&at.registry)?), MAX_MESSAGE),
            scans: sized!(ScanServiceClient::new(catalog.clone()), MAX_MESSAGE),
            catalog: sized!(CatalogServiceClient::new(catalog), MAX_MESSAGE),
            jobs: sized!(JobServiceClient::new(scheduler.clone()), MAX_MESSAGE),
            workers: sized!(WorkerServiceClient::new(scheduler), MAX_MESSAGE),
        })
    }
}

/// Installs the process's one TLS provider, unless that was done already.
fn provide() {
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
}

/// Quotes a word for a POSIX shell, if needed.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        remote: Remote,
    }

    #[test]
    fn a_printed_command_reaches_the_same_suite() {
        let line = Line::parse_from(["mms", "--data-dir", "my data", "--token-file", "/t"]);
        assert_eq!(line.remote.command("job list"), "mms job list --data-dir 'my data' --token-file /t");
        assert_eq!(Line::parse_from(["mms"]).remote.command("job list"), "mms job list");
    }
}
