//! The two far ends of a data source, as this process reaches them: built from a session of the registry, kept while the
//! session lives, and built anew when the registry says that the configuration has changed.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mms_http::{HttpClient, NetworkConnection};
use mms_maxcompute::account::Account;
use mms_maxcompute::name::ProjectName;
use mms_maxcompute::project::{Project, ProjectConfig};
use mms_proto::registry::v1 as registry;
use mms_storage::{LocalFiles, ObjectStore, StorageCredential, StorageLocation, StorageSettings};
use registry::databricks_config::StorageAccess;
use registry::max_compute_config::Account as PbAccount;
use secrecy::SecretString;
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;

use crate::error::{Result, TransferError};
use crate::peers::Peers;

/// What a task needs to connect.
pub struct Ends {
    http: HttpClient,
    project: ProjectConfig,
    credential: StorageCredential,
    local_root: Option<String>,
}

impl std::fmt::Debug for Ends {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ends").field("project", &self.project.project).finish_non_exhaustive()
    }
}

fn plan(what: &str, error: impl std::fmt::Display) -> TransferError {
    TransferError::Plan(format!("{what}: {error}"))
}

impl Ends {
    fn new(session: &registry::Session) -> Result<Self> {
        let source = session.data_source.clone().unwrap_or_default();
        let target = source.max_compute.unwrap_or_default();
        let databricks = source.databricks.unwrap_or_default();
        let http = HttpClient::new(&network(session.network_connection.as_ref())?)?;
        let (credential, local_root) = storage(databricks.storage_access)?;
        Ok(Self { http, project: project(target)?, credential, local_root })
    }

    /// The project that statements run in, with the tunnel quota of a task.
    pub fn project(&self, tunnel_quota: &str) -> Result<Project> {
        let mut config = self.project.clone();
        if !tunnel_quota.is_empty() {
            config.tunnel_quota = Some(tunnel_quota.to_owned());
        }
        Ok(Project::new(self.http.clone(), config)?)
    }

    /// The store that a table lies in.
    pub fn store(&self, location: &str, allow_local: bool) -> Result<Arc<dyn ObjectStore>> {
        let local = if allow_local && self.local_root.is_some() { LocalFiles::Allowed } else { LocalFiles::Refused };
        let location = StorageLocation::parse(location, local)?;
        if let (StorageLocation::Local(path), Some(root)) = (&location, &self.local_root)
            && !lies_below(path, Path::new(root))?
        {
            return Err(TransferError::Plan(format!("{} does not lie below {root}", path.display())));
        }
        Ok(mms_storage::open(&location, &self.credential, &StorageSettings::new(self.http.clone()))?)
    }
}

/// Whether a path leads to a place below a folder, links followed: one below it may lead anywhere.
fn lies_below(path: &Path, root: &Path) -> Result<bool> {
    let real = |path: &Path| path.canonicalize().map_err(|error| plan(&path.display().to_string(), error));
    Ok(real(path)?.starts_with(real(root)?))
}

fn storage(access: Option<StorageAccess>) -> Result<(StorageCredential, Option<String>)> {
    Ok(match access {
        Some(StorageAccess::Sas(sas)) => (StorageCredential::Sas(SecretString::from(sas.sas)), None),
        Some(StorageAccess::ServicePrincipal(principal)) => (
            StorageCredential::ServicePrincipal {
                tenant: principal.tenant_id,
                client_id: principal.client_id,
                client_secret: SecretString::from(principal.client_secret),
                authority_host: (!principal.authority_host.is_empty()).then_some(principal.authority_host),
            },
            None,
        ),
        Some(StorageAccess::LocalFiles(files)) => (StorageCredential::None, Some(files.root)),
        Some(StorageAccess::Vended(_)) => return Err(plan("storage_access", "vended credentials are not read yet")),
        None => return Err(plan("storage_access", "the data source has none")),
    })
}

fn project(target: registry::MaxComputeConfig) -> Result<ProjectConfig> {
    let account = match target.account {
        Some(PbAccount::AccessKey(key)) => Account {
            access_id: key.access_key_id,
            secret: SecretString::from(key.access_key_secret),
            sts_token: (!key.security_token.is_empty()).then(|| SecretString::from(key.security_token)),
        },
        _ => return Err(plan("max_compute.account", "only an access key can be used yet")),
    };
    let endpoint = Url::parse(&target.endpoint).map_err(|error| plan("max_compute.endpoint", error))?;
    let name = if target.job_project.is_empty() { target.default_project } else { target.job_project };
    let name = ProjectName::new(name).map_err(|error| plan("max_compute.job_project", error))?;
    let mut config = ProjectConfig::new(endpoint, name, account);
    let given = |text: String| (!text.is_empty()).then_some(text);
    config.region = given(target.region);
    config.tunnel_quota = given(target.tunnel_quota);
    config.compute_quota = given(target.compute_quota);
    config.tunnel_endpoint = given(target.tunnel_endpoint)
        .map(|text| Url::parse(&text))
        .transpose()
        .map_err(|error| plan("max_compute.tunnel_endpoint", error))?;
    // What fails longer than this is reported, so that the scheduler sees it and another worker can try.
    config.retry.total = Duration::from_secs(300);
    Ok(config)
}

fn network(connection: Option<&registry::NetworkConnection>) -> Result<NetworkConnection> {
    let mut settings = NetworkConnection::default();
    let Some(given) = connection else { return Ok(settings) };
    if !given.proxy_url.is_empty() {
        let mut url = Url::parse(&given.proxy_url).map_err(|error| plan("proxy_url", error))?;
        if let Some((user, password)) = given.proxy_authorization.split_once(':') {
            let set = url.set_username(user).and_then(|()| url.set_password(Some(password)));
            set.map_err(|()| plan("proxy_url", "takes no user and password"))?;
        }
        settings.proxy = Some(url.as_str().parse()?);
    }
    settings.extra_ca_pem = (!given.ca_certificates_pem.is_empty()).then(|| given.ca_certificates_pem.clone());
    if !given.client_certificate_pem.is_empty() {
        let identity = format!("{}\n{}", given.client_certificate_pem, given.client_key_pem);
        settings.client_identity_pem = Some(SecretString::from(identity));
    }
    for (host, address) in &given.host_overrides {
        let parsed = address.parse::<SocketAddr>();
        let parsed = parsed.or_else(|_| address.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 0)));
        settings.host_overrides.insert(host.clone(), parsed.map_err(|error| plan("host_overrides", error))?);
    }
    for host in &given.allowed_hosts {
        settings.allowed_hosts.push(host.parse()?);
    }
    Ok(settings)
}

struct Open {
    ends: Arc<Ends>,
    token: String,
    etag: String,
    renew: Instant,
    expires: Instant,
}

/// The open sessions of this process, one a data source.
pub struct Sessions {
    peers: Peers,
    holder: String,
    open: Mutex<HashMap<String, Open>>,
}

impl Sessions {
    /// None open yet; `holder` is this worker's name.
    pub fn new(peers: Peers, holder: String) -> Self {
        Self { peers, holder, open: Mutex::default() }
    }

    /// The far ends of a data source. Opens a session if there is none, and prolongs the one there is when half its time
    /// is over; a registry that is away does not hurt as long as the session lasts.
    pub async fn ends(&self, source: &str) -> Result<Arc<Ends>> {
        let mut open = self.open.lock().await;
        if let Some(known) = open.get_mut(source)
            && self.keep(known).await
        {
            return Ok(known.ends.clone());
        }
        let session = self.peers.open_session(source, &self.holder).await?;
        let ends = Arc::new(Ends::new(&session)?);
        let term = term(session.expire_after);
        let etag = session.data_source.map(|source| source.etag).unwrap_or_default();
        let now = Instant::now();
        let known =
            Open { ends: ends.clone(), token: session.session_token, etag, renew: now + term / 2, expires: now + term };
        open.insert(source.to_owned(), known);
        Ok(ends)
    }

    /// Forgets the session of a data source: a far end refused what came with it, and the registry may have better by now.
    pub async fn forget(&self, source: &str) {
        self.open.lock().await.remove(source);
    }

    async fn keep(&self, known: &mut Open) -> bool {
        let now = Instant::now();
        if now < known.renew {
            return true;
        }
        match self.peers.renew_session(&known.token, &known.etag).await {
            Ok(renewed) if renewed.changed => false,
            Ok(renewed) => {
                let term = term(renewed.expire_after);
                (known.renew, known.expires) = (now + term / 2, now + term);
                true
            }
            Err(TransferError::Peer { error, .. }) if error.code == tonic::Code::NotFound => false,
            Err(error) => {
                tracing::warn!(%error, "the session could not be prolonged");
                now < known.expires
            }
        }
    }
}

fn term(given: Option<prost_types::Duration>) -> Duration {
    given.and_then(|given| Duration::try_from(given).ok()).unwrap_or(Duration::from_secs(60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_does_not_lead_out_of_the_folder() {
        let (inside, outside) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        std::fs::create_dir(inside.path().join("t")).expect("made");
        std::os::unix::fs::symlink(outside.path(), inside.path().join("link")).expect("made");
        let below = |path: std::path::PathBuf| lies_below(&path, inside.path());
        assert!(below(inside.path().join("t")).expect("there"));
        assert!(!below(inside.path().join("link")).expect("there"));
        assert!(!below(inside.path().join("t/../..")).expect("there"));
        assert!(below(inside.path().join("none")).is_err());
    }
}
