//! Runs `deploy/compose.yaml` on this machine: its containers as processes, with the commands, settings and mounts of
//! the file. Does what `docker compose` would do, as far as an operator sees it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use serde_json::Value;

use crate::peers::{root, run};
use crate::process::{Process, program};
use crate::sandbox::free_port;
use crate::suite::SERVICES;

/// The compose file, and the processes of its services.
pub struct Compose {
    file: Value,
    /// The folder that is mounted from beside the file, with a folder for each service.
    secrets: PathBuf,
    /// The folder of volumes and logs.
    folder: PathBuf,
    /// The port of each service on this machine.
    pub ports: BTreeMap<&'static str, u16>,
    /// Further environment variables for all services.
    settings: Vec<(String, String)>,
    running: BTreeMap<String, Process>,
}

/// Reads the compose file of the project.
///
/// # Errors
/// The file is missing or not YAML.
pub fn file() -> anyhow::Result<Value> {
    let text = std::fs::read_to_string(root().join("deploy/compose.yaml"))?;
    Ok(serde_saphyr::from_str(&text)?)
}

impl Compose {
    /// Reads the file; nothing is started yet.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn new(secrets: &Path, folder: &Path) -> anyhow::Result<Self> {
        let ports = SERVICES.into_iter().map(|service| Ok((service, free_port()?))).collect::<anyhow::Result<_>>()?;
        let (secrets, folder) = (secrets.to_owned(), folder.to_owned());
        Ok(Self { file: file()?, secrets, folder, ports, settings: Vec::new(), running: BTreeMap::new() })
    }

    /// Starts all services with settings that allow sources and targets on this machine, and waits until they serve.
    ///
    /// # Errors
    /// A service does not start.
    pub async fn up(folder: &Path) -> anyhow::Result<Self> {
        let secrets = folder.join("secrets");
        run(Command::new(root().join("deploy/make-secrets")).arg(&secrets))?;
        let mut compose = Self::new(&secrets, folder)?;
        for service in SERVICES {
            let upper = service.to_uppercase();
            let allowed: &[&str] = match service {
                "scheduler" => &[],
                "catalog" => &["ALLOW_LOOPBACK"],
                _ => &["ALLOW_LOOPBACK", "ALLOW_LOCAL_FILES"],
            };
            for allowed in allowed {
                compose.set(&format!("MMS_{upper}__{upper}__{allowed}"), "true");
            }
            compose.begin(service, &[])?;
        }
        for service in SERVICES {
            compose.serves(service).await?;
        }
        Ok(compose)
    }

    /// The arguments for a client in another language: the addresses of registry, catalog and scheduler, and the folder
    /// of the administrator's certificate and token.
    #[must_use]
    pub fn client_arguments(&self) -> [String; 4] {
        let address = |service| format!("localhost:{}", self.ports[service]);
        let own = self.secrets.join("administrator").display().to_string();
        [address("registry"), address("catalog"), address("scheduler"), own]
    }

    /// Adds an environment variable for the services.
    pub fn set(&mut self, key: &str, value: &str) {
        self.settings.push((key.to_owned(), value.to_owned()));
    }

    /// The folder of a service's volume.
    #[must_use]
    pub fn volume(&self, service: &str) -> PathBuf {
        self.folder.join("data").join(service)
    }

    /// Replaces the addresses and paths of the containers by those of this machine.
    fn here(&self, text: &str, service: &str) -> String {
        let mut text = text
            .replace("/etc/mms", &self.secrets.join(service).display().to_string())
            .replace("/var/lib/mms", &self.folder.join("data").display().to_string());
        for (at, name) in SERVICES.iter().enumerate() {
            let port = self.ports[name];
            text = text.replace(&format!("https://{name}:{}", 7401 + at), &format!("https://localhost:{port}"));
            if *name == service {
                text = text.replace(&format!("0.0.0.0:{}", 7401 + at), &format!("127.0.0.1:{port}"));
                text = text.replace(&format!("0.0.0.0:{}", 7501 + at), "127.0.0.1:0");
            }
        }
        text
    }

    /// The command of a service's container: that of the file, or `instead` if it is not empty.
    ///
    /// # Errors
    /// The file has no such service.
    pub fn command(&self, service: &str, instead: &[&str]) -> anyhow::Result<Command> {
        let described = &self.file["services"][service];
        let words = described["command"].as_array().with_context(|| format!("the command of {service}"))?;
        let words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
        let words = if instead.is_empty() { words.as_slice() } else { instead };
        let mut command = Command::new(program(words[0])?);
        command.args(&words[1..]);
        for (key, value) in described["environment"].as_object().context("an environment")? {
            command.env(key, self.here(value.as_str().context("text")?, service));
        }
        let own = format!("MMS_{}__", service.to_uppercase());
        command.envs(self.settings.iter().filter(|(key, _)| key.starts_with(&own)).map(|(key, value)| (key, value)));
        Ok(command)
    }

    /// The command of the service's health check in the file.
    ///
    /// # Errors
    /// The file has none.
    pub fn probe(&self, service: &str) -> anyhow::Result<Command> {
        let words = self.file["services"][service]["healthcheck"]["test"].as_array().context("a healthcheck")?;
        let mut words = words.iter().filter_map(Value::as_str).skip_while(|word| *word == "CMD");
        let mut command = Command::new(program(words.next().context("a command")?)?);
        for word in words {
            let there = SERVICES.iter().position(|name| *name == service).map(|at| format!("localhost:{}", 7401 + at));
            let here = format!("localhost:{}", self.ports[service]);
            command.arg(self.here(&word.replace(&there.context("a service")?, &here), service));
        }
        Ok(command)
    }

    /// Starts a service and returns at once.
    ///
    /// # Errors
    /// There is no service of this name.
    pub fn begin(&mut self, service: &str, instead: &[&str]) -> anyhow::Result<()> {
        let process = Process::start(service, &mut self.command(service, instead)?, &self.folder)?;
        self.running.insert(service.to_owned(), process);
        Ok(())
    }

    /// The process of a service.
    ///
    /// # Errors
    /// The service does not run.
    pub fn process(&mut self, service: &str) -> anyhow::Result<&mut Process> {
        self.running.get_mut(service).with_context(|| format!("{service} does not run"))
    }

    /// Waits until a service serves.
    ///
    /// # Errors
    /// It does not in time.
    pub async fn serves(&mut self, service: &str) -> anyhow::Result<()> {
        let serving = |line: &str| line.contains("\"serving\"").then_some(());
        self.process(service)?.says(serving).await
    }

    /// Stops a service with SIGTERM, if it runs.
    ///
    /// # Errors
    /// It exits with a failure.
    pub fn stop(&mut self, service: &str) -> anyhow::Result<()> {
        let Some(mut process) = self.running.remove(service) else { return Ok(()) };
        let status = process.terminate()?;
        anyhow::ensure!(status.success(), "{service} ended with {status}: {}", process.log());
        Ok(())
    }

    /// Forgets the process of a service that has ended.
    ///
    /// # Errors
    /// No process of the service is known.
    pub fn forget(&mut self, service: &str) -> anyhow::Result<()> {
        self.running.remove(service).map(drop).with_context(|| format!("{service} does not run"))
    }

    /// The last lines of all logs.
    #[must_use]
    pub fn logs(&self) -> String {
        self.running.iter().map(|(name, process)| format!("--- {name}\n{}\n", process.log())).collect()
    }
}
