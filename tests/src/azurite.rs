//! Microsoft's emulator of Azure's blob storage, served over HTTPS under the name of a production host, and a login
//! endpoint that issues the tokens it accepts. Signatures are made here as Azure's documentation says, not by code of
//! ours.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use futures::{StreamExt, TryStreamExt, stream};
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use mms_http::{HttpClient, Method, NetworkConnection, Url};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::login::Login;
use crate::peers;
use crate::process::Process;

/// The storage account that has the tables.
pub const ACCOUNT: &str = "lakeaccount";
/// The container of the tables.
pub const CONTAINER: &str = "lake";
const STORE: &str = "lakeaccount.blob.core.windows.net";
/// The login endpoint of the public cloud.
pub const LOGIN: &str = "login.microsoftonline.com";
/// The version that signatures are made for; later ones sign more fields.
const VERSION: &str = "2019-12-12";
/// Uploads at once.
const UPLOADS: usize = 8;

/// A running emulator.
pub struct Azurite {
    /// The emulator's process.
    pub process: Process,
    /// The login endpoint.
    pub login: Login,
    address: SocketAddr,
    key: Vec<u8>,
    authority: String,
    client: HttpClient,
}

/// Start and end of a signature's validity, in seconds from now.
#[derive(Debug, Clone, Copy)]
pub struct Span(pub i64, pub i64);

impl Span {
    /// Valid from a minute ago, for an hour.
    pub const HOUR: Self = Self(-60, 3600);

    fn texts(self) -> anyhow::Result<[String; 2]> {
        let now = Timestamp::now().as_second();
        Ok([Timestamp::from_second(now + self.0)?, Timestamp::from_second(now + self.1)?].map(|at| at.to_string()))
    }
}

impl Azurite {
    /// Starts the emulator with an empty container. `None`, with the line that the runner counts, if it is not
    /// installed.
    ///
    /// # Errors
    /// The emulator does not start.
    pub async fn start(folder: &Path) -> anyhow::Result<Option<Self>> {
        let Some(program) = peers::find("azurite", "azurite/node_modules/.bin/azurite-blob") else { return Ok(None) };
        mms_http::install_crypto_provider();
        let made = rcgen::generate_simple_self_signed([STORE.to_owned(), LOGIN.to_owned()])?;
        let (certificate, own_key) = (folder.join("azurite.crt"), folder.join("azurite.key"));
        std::fs::write(&certificate, made.cert.pem())?;
        std::fs::write(&own_key, made.signing_key.serialize_pem())?;
        let key: Vec<u8> = (0..32).map(|_| fastrand::u8(..)).collect();
        let mut command = Command::new("node");
        command.arg(program).env("AZURITE_ACCOUNTS", format!("{ACCOUNT}:{}", STANDARD.encode(&key)));
        command.args(["--blobHost", "127.0.0.1", "--blobPort", "0", "--location"]).arg(folder.join("azurite"));
        command.args(["--skipApiVersionCheck", "--disableTelemetry", "--oauth", "basic", "--cert"]).arg(&certificate);
        command.arg("--key").arg(&own_key);
        let mut process = Process::start("azurite", &mut command, folder)?;
        let listens = |line: &str| line.split_once("successfully listens on https://")?.1.trim().parse().ok();
        let address: SocketAddr = process.says(listens).await?;
        let authority = made.cert.pem();
        let overrides = [(STORE.to_owned(), address)].into_iter().collect();
        let client = HttpClient::new(&NetworkConnection {
            extra_ca_pem: Some(authority.clone()),
            host_overrides: overrides,
            ..NetworkConnection::default()
        })?;
        let login = Login::start(made.cert.der().clone(), made.signing_key.serialize_der()).await?;
        let emulator = Self { process, login, address, key, authority, client };
        emulator.put(&format!("{CONTAINER}?restype=container"), Vec::new(), &[]).await?;
        Ok(Some(emulator))
    }

    /// The network connection that leads production host names to the emulator, as proto JSON.
    pub fn network(&self) -> Value {
        json!({
            "host_overrides": { "*.blob.core.windows.net": self.address.to_string(), LOGIN: self.login.address.to_string() },
            "ca_certificates_pem": self.authority,
        })
    }

    /// The account's key in base64, for a test that signs on behalf of others.
    #[must_use]
    pub fn key(&self) -> String {
        STANDARD.encode(&self.key)
    }

    fn sign(&self, fields: &[&str]) -> anyhow::Result<String> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key)?;
        mac.update(fields.join("\n").as_bytes());
        Ok(STANDARD.encode(mac.finalize().into_bytes()))
    }

    /// A shared access signature of the account, with these permissions on everything in it.
    ///
    /// # Errors
    /// The clock is wrong.
    pub fn account_sas(&self, permissions: &str, span: Span) -> anyhow::Result<String> {
        let [begins, ends] = span.texts()?;
        let fields = [ACCOUNT, permissions, "b", "sco", &begins, &ends, "", "https", VERSION, ""];
        let parts =
            [("ss", "b"), ("srt", "sco"), ("sp", permissions), ("spr", "https"), ("st", &begins), ("se", &ends)];
        Ok(query(&parts, &self.sign(&fields)?))
    }

    /// A shared access signature of a container, with these permissions on its content.
    ///
    /// # Errors
    /// The clock is wrong.
    pub fn container_sas(&self, container: &str, permissions: &str, span: Span) -> anyhow::Result<String> {
        let [begins, ends] = span.texts()?;
        let resource = format!("/blob/{ACCOUNT}/{container}");
        let mut fields = vec![permissions, &begins, &ends, &resource, "", "", "https", VERSION, "c", ""];
        // Response headers, none of which is overridden.
        fields.extend([""; 5]);
        let parts = [("sr", "c"), ("sp", permissions), ("spr", "https"), ("st", &begins), ("se", &ends)];
        Ok(query(&parts, &self.sign(&fields)?))
    }

    async fn put(&self, path: &str, body: Vec<u8>, headers: &[(&str, &str)]) -> anyhow::Result<()> {
        let sas = self.account_sas("rwdlac", Span::HOUR)?;
        let join = if path.contains('?') { '&' } else { '?' };
        let url = Url::parse(&format!("https://{STORE}/{path}{join}{sas}"))?;
        let request = headers
            .iter()
            .fold(self.client.request(Method::PUT, url), |request, (name, value)| request.header(name, value));
        let length = body.len().to_string();
        let answer =
            request.header("x-ms-version", VERSION).header("content-length", &length).body(body).send().await?;
        let status = answer.status();
        let text = answer.text(4096).await?;
        anyhow::ensure!(status.is_success(), "PUT {path}: {status} {text}");
        Ok(())
    }

    /// Uploads a file into the container.
    ///
    /// # Errors
    /// The emulator rejects the file.
    pub async fn upload(&self, name: &str, content: Vec<u8>) -> anyhow::Result<()> {
        let mut url = Url::parse("https://x/")?;
        url.path_segments_mut()
            .map_err(|()| anyhow::anyhow!("no path"))?
            .clear()
            .push(CONTAINER)
            .extend(name.split('/'));
        self.put(url.path().trim_start_matches('/'), content, &[("x-ms-blob-type", "BlockBlob")]).await
    }

    /// Uploads all tables of a folder `<schema>/<table>`, and creates a folder for the workspace that has only their
    /// logs and says that the tables are here.
    ///
    /// # Errors
    /// A file cannot be read, or the emulator rejects it.
    pub async fn lake(&self, delta_root: &Path, workspace: &Path) -> anyhow::Result<()> {
        let mut files = BTreeMap::new();
        walk(delta_root, delta_root, &mut files)?;
        let uploads = stream::iter(
            files
                .iter()
                .map(|(name, path)| async move { self.upload(&format!("tables/{name}"), std::fs::read(path)?).await }),
        );
        uploads.buffer_unordered(UPLOADS).try_collect::<()>().await?;
        for (name, path) in &files {
            let Some((table, _)) = name.split_once("/_delta_log/") else { continue };
            let copy = workspace.join(name);
            std::fs::create_dir_all(copy.parent().context("a log lies in a folder")?)?;
            std::fs::copy(path, copy)?;
            let object = json!({ "storage_location": location(&format!("tables/{table}"))? });
            std::fs::write(workspace.join(table).join("_object.json"), object.to_string())?;
        }
        Ok(())
    }
}

/// The location of a folder of the container, as Databricks writes it.
///
/// # Errors
/// None for a plain name.
pub fn location(folder: &str) -> anyhow::Result<String> {
    let mut url = Url::parse(&format!("abfss://{CONTAINER}@{ACCOUNT}.dfs.core.windows.net/"))?;
    url.path_segments_mut().map_err(|()| anyhow::anyhow!("no path"))?.clear().extend(folder.split('/'));
    Ok(url.into())
}

fn query(parts: &[(&str, &str)], signature: &str) -> String {
    let pairs = parts.iter().copied().chain([("sv", VERSION), ("sig", signature)]);
    pairs.map(|(name, value)| format!("{name}={}", encoded(value))).collect::<Vec<_>>().join("&")
}

fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// Collects all files below a folder, with their paths in it.
fn walk(root: &Path, folder: &Path, found: &mut BTreeMap<String, PathBuf>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            walk(root, &path, found)?;
        } else {
            let name = path.strip_prefix(root)?.to_str().context("a name is UTF-8")?.to_owned();
            found.insert(name, path);
        }
    }
    Ok(())
}

/// A token that the emulator accepts: it checks times, audience and issuer, but no signature.
///
/// # Errors
/// The clock is wrong.
pub(crate) fn token(lasts: Duration) -> anyhow::Result<String> {
    let (now, lasts) = (Timestamp::now().as_second(), i64::try_from(lasts.as_secs())?);
    let claims = json!({
        "aud": "https://storage.azure.com", "iss": "https://sts.windows.net/tenant/", "nbf": now - 60, "iat": now - 60,
        "exp": now + lasts, "oid": uuid::Uuid::new_v4().to_string(),
    });
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    Ok(format!("{}.{}.", part(json!({ "alg": "none", "typ": "JWT" })), part(claims)))
}
