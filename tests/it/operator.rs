//! Runs the commands of `deploy/README.md` as they are written there, in their order: start, renewal of certificates, a
//! backup put back, a damaged store restored, a lost key replaced. The test uses no container engine: what `docker
//! compose` would do is done with processes, and the files belong to the user of the test. The page has no commands for
//! a full disk, which `recover` tests.

use std::path::Path;
use std::process::Command;

use anyhow::Context;
use mms_proto::registry::v1::network_connection_service_client::NetworkConnectionServiceClient;
use mms_proto::registry::v1::{CreateNetworkConnectionRequest, GetNetworkConnectionRequest, NetworkConnection};
use mms_server::{Client, ClientConfig};
use mms_tests::compose::Compose;
use mms_tests::page::{commands, section};
use mms_tests::peers;
use mms_tests::process::program;
use mms_tests::suite::SERVICES;

const PAGE: &str = "deploy/README.md";

struct Operator {
    folder: tempfile::TempDir,
    compose: Compose,
    /// The flags of a call, as the page gives them.
    flags: String,
}

impl Operator {
    fn new() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let deploy = folder.path().join("deploy");
        std::fs::create_dir(&deploy)?;
        std::fs::copy(peers::root().join("deploy/make-secrets"), deploy.join("make-secrets"))?;
        let compose = Compose::new(&deploy.join("secrets"), folder.path())?;
        Ok(Self { folder, compose, flags: String::new() })
    }

    /// Does what a line of the page says; returns what it printed.
    async fn run(&mut self, line: &str) -> anyhow::Result<String> {
        let words: Vec<&str> = line.split("  #").next().unwrap_or_default().split_whitespace().collect();
        match words.as_slice() {
            ["docker", "compose", "-f", "deploy/compose.yaml", words @ ..] => {
                self.docker(words).await.with_context(|| format!("{line}\n{}", self.compose.logs()))
            }
            ["sudo", "chown", "-R", "10001", folders] if folders.starts_with("deploy/secrets/{") => Ok(String::new()),
            _ => {
                let said = self.shell(line)?;
                self.ports_of_the_command()?;
                Ok(said)
            }
        }
    }

    async fn docker(&mut self, words: &[&str]) -> anyhow::Result<String> {
        match words {
            ["up", "--build"] => {
                SERVICES.into_iter().try_for_each(|service| self.compose.begin(service, &[]))?;
                for service in SERVICES {
                    self.compose.serves(service).await?;
                }
            }
            ["start", service] => self.start(service).await?,
            // A service whose settings have changed is created anew.
            ["up", "-d", service] => {
                self.compose.stop(service)?;
                self.start(service).await?;
            }
            ["stop", service] => self.compose.stop(service)?,
            ["kill", "-s", signal, service] => self.compose.process(service)?.signal(signal)?,
            ["run", "--rm", service, words @ ..] => {
                self.compose.begin(service, words)?;
                self.compose.serves(service).await?;
                // As Ctrl-C does.
                let process = self.compose.process(service)?;
                process.signal("INT")?;
                let status = process.wait()?;
                anyhow::ensure!(status.success(), "it ended with {status}");
                let said = process.whole_log();
                self.compose.forget(service)?;
                return Ok(said);
            }
            _ => anyhow::bail!("the page has a command of docker compose that this test does not know: {words:?}"),
        }
        Ok(String::new())
    }

    async fn start(&mut self, service: &str) -> anyhow::Result<()> {
        self.compose.begin(service, &[])?;
        self.compose.serves(service).await
    }

    fn shell(&mut self, line: &str) -> anyhow::Result<String> {
        if self.flags.is_empty()
            && let Some((flags, _)) = line.strip_prefix("grpcurl ").and_then(|rest| rest.split_once("localhost:"))
        {
            flags.clone_into(&mut self.flags);
        }
        let mut line = line.replace("grpcurl …", &format!("grpcurl {}", self.flags));
        for (at, service) in SERVICES.iter().enumerate() {
            line = line
                .replace(&format!("localhost:{}", 7401 + at), &format!("localhost:{}", self.compose.ports[service]));
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let ours = program("mms")?.parent().context("a folder")?.to_owned();
        let path = std::env::join_paths(
            [peers::root().join(".peers/bin"), ours].into_iter().chain(std::env::split_paths(&path)),
        )?;
        let mut command = Command::new("bash");
        command.args(["-euo", "pipefail", "-c", &line]).current_dir(self.folder.path()).env("PATH", path);
        Ok(String::from_utf8(peers::run(&mut command)?.stdout)?)
    }

    /// Replaces the ports in the command's environment by those of this test.
    fn ports_of_the_command(&self) -> anyhow::Result<()> {
        let file = self.folder.path().join("deploy/secrets/administrator/env");
        let Ok(mut text) = std::fs::read_to_string(&file) else { return Ok(()) };
        for (at, service) in SERVICES.iter().enumerate() {
            let here = format!("https://localhost:{}", self.compose.ports[service]);
            text = text.replace(&format!("https://localhost:{}", 7401 + at), &here);
        }
        Ok(std::fs::write(file, text)?)
    }

    /// Starts a service that must refuse to start; returns what it printed.
    fn refused(&self, service: &str) -> anyhow::Result<String> {
        let output = self.compose.command(service, &[])?.output()?;
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        anyhow::ensure!(output.status.code() == Some(1), "{service} ended with {}: {said}", output.status);
        Ok(said)
    }

    fn networks(&self) -> anyhow::Result<NetworkConnectionServiceClient<Client>> {
        let own = self.folder.path().join("deploy/secrets/administrator");
        let config = ClientConfig {
            endpoint: format!("https://localhost:{}", self.compose.ports["registry"]),
            ca_file: Some(own.join("ca.crt")),
            cert_file: Some(own.join("administrator.crt")),
            key_file: Some(own.join("administrator.key")),
            token_file: Some(own.join("token")),
            ..ClientConfig::default()
        };
        Ok(NetworkConnectionServiceClient::new(Client::new(&config, None)?))
    }

    /// Checks that the network connection with a secret is unchanged.
    async fn is_kept(&self) -> anyhow::Result<()> {
        let get = GetNetworkConnectionRequest { name: "networkConnections/kept".into() };
        let found = self.networks()?.get_network_connection(get).await?.into_inner().network_connection;
        anyhow::ensure!(found.is_some_and(|network| network.proxy_url == "http://proxy.example:3128"), "it is another");
        Ok(())
    }
}

/// Replaces a folder by a copy of it, as when a backup is put back.
fn put_back(volume: &Path) -> anyhow::Result<()> {
    let aside = volume.with_extension("aside");
    std::fs::rename(volume, &aside)?;
    peers::run(Command::new("cp").arg("-a").arg(&aside).arg(volume))?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_command_of_the_page_does_what_it_says() -> anyhow::Result<()> {
    if peers::find("grpcurl", "bin/grpcurl").is_none() {
        return Ok(());
    }
    let mut operator = Operator::new()?;
    let mut said = String::new();
    for line in commands(PAGE, "Running mms")? {
        said += &operator.run(&line).await?;
    }
    assert!(said.contains("mms.registry.v1.DataSourceService"), "the administrator is let in: {said}");
    assert_eq!(said.matches(" SERVING ").count(), 3, "the command too: {said}");
    let network = NetworkConnection {
        display_name: "kept".into(),
        proxy_url: "http://proxy.example:3128".into(),
        proxy_authorization: "me:a-password-of-the-proxy".into(),
        ..NetworkConnection::default()
    };
    let request = CreateNetworkConnectionRequest {
        network_connection_id: "kept".into(),
        network_connection: Some(network),
        ..CreateNetworkConnectionRequest::default()
    };
    operator.networks()?.create_network_connection(request).await?;

    said.clear();
    for line in commands(PAGE, "Certificates, keys and tokens are renewed")? {
        said += &operator.run(&line).await?;
    }
    assert!(said.contains("renewed in") && said.contains("\"SERVING\""), "{said}");
    let read_again = |line: &str| line.contains("certificates and tokens were read again").then_some(());
    operator.compose.process("registry")?.says(read_again).await?;
    operator.is_kept().await?;

    for line in commands(PAGE, "Backups")? {
        operator.run(&line).await?;
        if line.contains(" stop scheduler") {
            put_back(&operator.compose.volume("scheduler"))?;
            let refused = operator.refused("scheduler")?;
            assert!(refused.contains("--recover accept-copy"), "{refused}");
        }
    }

    for line in commands(PAGE, "When a service does not start because its store is damaged")? {
        let said = operator.run(&line).await?;
        if line.contains(" stop registry") {
            let db = operator.compose.volume("registry").join("store/sled/db");
            std::fs::write(&db, vec![0x5A; usize::try_from(std::fs::metadata(&db)?.len())?])?;
            let refused = operator.refused("registry")?;
            assert!(refused.contains("--recover newest-export"), "{refused}");
        } else if line.contains("--recover") {
            assert!(said.contains("newest export") || said.contains("restored"), "{said}");
        }
    }
    operator.is_kept().await?;

    // The lines of the environment that the page tells the operator to write.
    let head = "The encryption key is lost";
    let lines = section(PAGE, head)?;
    let lines = lines.lines().filter_map(|line| line.strip_prefix("#   ")?.split_once(": "));
    let lines: Vec<(String, String)> =
        lines.map(|(key, value)| (key.to_owned(), value.trim_matches(['"', '\'']).to_owned())).collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    std::fs::remove_file(operator.folder.path().join("deploy/secrets/registry/encryption.key"))?;
    for line in commands(PAGE, head)? {
        if line.contains(" up -d registry") {
            operator.compose.stop("registry")?;
            let refused = operator.refused("registry")?;
            assert!(refused.contains("\"main\" is not the one"), "{refused}");
            lines.iter().for_each(|(key, value)| operator.compose.set(key, value));
        }
        operator.run(&line).await?;
    }
    let said = operator.compose.process("registry")?.log();
    assert!(said.contains("networkConnections/kept"), "it is not said whose secrets are gone: {said}");
    operator.is_kept().await?;
    SERVICES.into_iter().rev().try_for_each(|service| operator.compose.stop(service))
}
