//! The suite under test, as one `mms up` or as its four programs. The calls to it are in `calls.rs`.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use mms_proto::transfer::v1 as transfer;
use mms_proto::transfer::v1::transfer_service_client::TransferServiceClient;
use mms_server::{Client, ClientConfig};
use serde_json::Value;

pub use crate::calls::everything;
pub use crate::process::PATIENCE;
use crate::process::{Process, program};

/// The four services, in the order of their ports.
pub const SERVICES: [&str; 4] = ["registry", "catalog", "scheduler", "transfer"];

/// A running suite.
pub struct Suite {
    folder: PathBuf,
    /// The port of each service and further worker, as it printed it when it first started.
    ports: BTreeMap<String, u16>,
    /// The processes by name: the four services and further workers, or one `up`.
    pub processes: Vec<(String, Process)>,
    lease_seconds: u64,
    /// Further settings of the section `[transfer]`.
    transfer: Vec<(String, String)>,
    /// Further settings of all services.
    all: Vec<(String, String)>,
}

fn private(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(())
}

impl Suite {
    /// Starts the suite as `mms up`.
    ///
    /// # Errors
    /// It does not start.
    pub async fn up(folder: &Path) -> anyhow::Result<Self> {
        let mut suite = Self::new(folder, 30)?;
        let mut command = Command::new(program("mms")?);
        command.args(["up", "--json", "--allow-local-files", "--port-base", "0", "--data-dir"]).arg(folder.join("up"));
        let mut process = Process::start("up", &mut command, folder)?;
        let told: Value = process.says(|line| serde_json::from_str(line).ok()).await?;
        for service in SERVICES {
            let url = told[service].as_str().with_context(|| format!("{service} in {told}"))?;
            suite.ports.insert(service.to_owned(), port_of(url).with_context(|| url.to_owned())?);
        }
        suite.processes.push(("up".to_owned(), process));
        Ok(suite)
    }

    /// Starts the four programs, with leases of `lease_seconds`.
    ///
    /// # Errors
    /// A service does not start.
    pub async fn processes(folder: &Path, lease_seconds: u64) -> anyhow::Result<Self> {
        Self::processes_with(folder, lease_seconds, &[]).await
    }

    /// As [`Self::processes`], with settings of the workers.
    pub async fn processes_with(folder: &Path, lease_seconds: u64, transfer: &[(&str, &str)]) -> anyhow::Result<Self> {
        let mut suite = Self { transfer: owned(transfer), ..Self::new(folder, lease_seconds)? };
        suite.start_all().await?;
        Ok(suite)
    }

    /// The four programs with settings for all services, and leases of 30 seconds.
    pub async fn processes_all_with(folder: &Path, all: &[(&str, &str)]) -> anyhow::Result<Self> {
        let mut suite = Self { all: owned(all), ..Self::new(folder, 30)? };
        suite.start_all().await?;
        Ok(suite)
    }

    async fn start_all(&mut self) -> anyhow::Result<()> {
        for service in SERVICES {
            self.start(service, service).await?;
        }
        Ok(())
    }

    fn new(folder: &Path, lease_seconds: u64) -> anyhow::Result<Self> {
        fs::create_dir_all(folder)?;
        private(&folder.join("service-token"), "the-token-of-the-suite-under-test")?;
        private(&folder.join("key"), "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")?;
        Ok(Self {
            folder: folder.to_owned(),
            ports: BTreeMap::new(),
            processes: Vec::new(),
            lease_seconds,
            transfer: Vec::new(),
            all: Vec::new(),
        })
    }

    /// The URL of a service.
    #[must_use]
    pub fn endpoint(&self, service: &str) -> String {
        format!("http://127.0.0.1:{}", self.ports.get(service).copied().unwrap_or(0))
    }

    /// The file with the token of the suite's services.
    pub fn token_file(&self) -> PathBuf {
        let own = self.folder.join("service-token");
        let up = self.folder.join("up/service.token");
        if up.exists() { up } else { own }
    }

    /// Starts one program and waits until it serves. `name` tells several workers apart and names the data folder. A
    /// service that is started again listens on the same port.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start(&mut self, service: &str, name: &str) -> anyhow::Result<()> {
        let port = self.ports.get(name).copied().unwrap_or(0);
        let mut command = Command::new(program(&format!("mms-{service}"))?);
        let prefix = format!("MMS_{}__", service.to_uppercase());
        let mut set = |key: &str, value: String| {
            command.env(format!("{prefix}{key}"), value);
        };
        set("SERVER__LISTEN", format!("127.0.0.1:{port}"));
        set("SERVER__DATA_DIR", self.folder.join(name).display().to_string());
        set("SERVER__SERVICE_TOKEN_FILE", self.folder.join("service-token").display().to_string());
        for (key, value) in &self.all {
            set(key, value.clone());
        }
        match service {
            "registry" => {
                set("REGISTRY__ENCRYPTION_KEY_FILE", self.folder.join("key").display().to_string());
                set("REGISTRY__ALLOW_LOCAL_FILES", "true".to_owned());
                set("REGISTRY__ALLOW_LOOPBACK", "true".to_owned());
                set(
                    "REGISTRY__SECRET_FILE_ROOTS",
                    format!("[{:?}]", self.folder.join("secrets").display().to_string()),
                );
            }
            "catalog" => {
                set("CATALOG__REGISTRY__ENDPOINT", self.endpoint("registry"));
                set("CATALOG__ALLOW_LOOPBACK", "true".to_owned());
            }
            "scheduler" => {
                set("SCHEDULER__REGISTRY__ENDPOINT", self.endpoint("registry"));
                set("SCHEDULER__CATALOG__ENDPOINT", self.endpoint("catalog"));
                set("SCHEDULER__LEASE_SECONDS", self.lease_seconds.to_string());
            }
            _ => {
                set("TRANSFER__REGISTRY__ENDPOINT", self.endpoint("registry"));
                set("TRANSFER__SCHEDULER__ENDPOINT", self.endpoint("scheduler"));
                set("TRANSFER__ALLOW_LOCAL_FILES", "true".to_owned());
                set("TRANSFER__ALLOW_LOOPBACK", "true".to_owned());
                for (key, value) in &self.transfer {
                    set(&format!("TRANSFER__{key}"), value.clone());
                }
            }
        }
        let mut process = Process::start(name, &mut command, &self.folder)?;
        let serves = |line: &str| port_of(line.split_once("listen=").filter(|_| line.contains("serving"))?.1);
        self.ports.insert(name.to_owned(), process.says(serves).await?);
        self.processes.push((name.to_owned(), process));
        Ok(())
    }

    /// Kills a process with SIGKILL; with `forget`, deletes its data folder too.
    ///
    /// # Errors
    /// There is no process of this name, or it cannot be killed.
    pub fn kill(&mut self, name: &str, forget: bool) -> anyhow::Result<()> {
        self.take(name)?.kill()?;
        if forget {
            fs::remove_dir_all(self.folder.join(name)).or_else(|error| match error.kind() {
                std::io::ErrorKind::NotFound => Ok(()),
                _ => Err(error),
            })?;
        }
        Ok(())
    }

    /// Starts a process that was killed or stopped.
    ///
    /// # Errors
    /// It does not start again.
    pub async fn restart(&mut self, name: &str) -> anyhow::Result<()> {
        let service = SERVICES.into_iter().find(|service| name.starts_with(service)).context("a service")?;
        self.start(service, name).await
    }

    fn take(&mut self, name: &str) -> anyhow::Result<Process> {
        let at = self.processes.iter().position(|(known, _)| known == name);
        let at = at.with_context(|| format!("{name} does not run"))?;
        Ok(self.processes.swap_remove(at).1)
    }

    /// Hands a process over to a caller that ends it.
    ///
    /// # Errors
    /// There is no process of this name.
    pub fn hand_over(&mut self, name: &str) -> anyhow::Result<Process> {
        self.take(name)
    }

    /// Stops a process with SIGTERM.
    pub fn stop(&mut self, name: &str) -> anyhow::Result<()> {
        let mut process = self.take(name)?;
        let status = process.terminate()?;
        anyhow::ensure!(status.success(), "{name} ended with {status}: {}", process.log());
        Ok(())
    }

    /// The transfers that the workers do at present; a worker that does not answer is left out.
    pub async fn transfers(&self) -> Vec<(String, transfer::Transfer)> {
        let mut found = Vec::new();
        for name in self.ports.keys().filter(|name| name.starts_with("transfer")) {
            let Ok(channel) = self.channel(name) else { continue };
            let request = transfer::ListTransfersRequest {
                parent: "workers/-".to_owned(),
                ..transfer::ListTransfersRequest::default()
            };
            if let Ok(answer) = TransferServiceClient::new(channel).list_transfers(request).await {
                found.extend(answer.into_inner().transfers.into_iter().map(|transfer| (name.clone(), transfer)));
            }
        }
        found
    }

    /// The last lines of all logs.
    pub fn logs(&self) -> String {
        let logs = self.processes.iter().map(|(name, process)| format!("--- {name}\n{}", process.log()));
        logs.collect::<Vec<_>>().join("\n")
    }

    /// A channel to a service without a token, as any user of this machine has it.
    pub fn channel(&self, service: &str) -> anyhow::Result<Client> {
        Ok(Client::new(&ClientConfig::to(self.endpoint(service)), None)?)
    }
}

fn owned(settings: &[(&str, &str)]) -> Vec<(String, String)> {
    settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// The port in a text that begins with `HOST:PORT`, or in a URL.
fn port_of(text: &str) -> Option<u16> {
    let (_, port) = text.trim_start_matches("http://").split_once(':')?;
    port.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}
