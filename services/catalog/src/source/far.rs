//! The clients of both far ends, made from a data source with its secrets in place. Nothing is sent here.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use mms_databricks::{Workspace, WorkspaceUrl};
use mms_http::{HostPattern, HttpClient, HttpError, NetworkConnection, ProxyUrl, Url};
use mms_maxcompute::name::ProjectName;
use mms_maxcompute::{Account, Project, ProjectConfig};
use mms_proto::registry::v1 as pb;
use mms_proto::types::v1::ReadPath;
use mms_storage::StorageCredential;
use pb::databricks_config::{StorageAccess, WorkspaceAuth};
use secrecy::SecretString;

use super::Access;

/// An address of `host_overrides`; without a port, that of the URL is used.
fn host_override(text: &str) -> Option<SocketAddr> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, 0)))
}

/// The outgoing client of a network connection; direct when there is none.
pub(super) fn http(network: Option<&pb::NetworkConnection>) -> Result<HttpClient, HttpError> {
    let mut connection = NetworkConnection::default();
    let Some(network) = network else { return HttpClient::new(&connection) };
    if !network.proxy_url.is_empty() {
        connection.proxy = Some(proxy(network)?);
    }
    if !network.ca_certificates_pem.is_empty() {
        connection.extra_ca_pem = Some(network.ca_certificates_pem.clone());
    }
    if !network.client_certificate_pem.is_empty() {
        let both = format!("{}\n{}", network.client_certificate_pem, network.client_key_pem);
        connection.client_identity_pem = Some(SecretString::from(both));
    }
    for (host, text) in &network.host_overrides {
        let refuse = || HttpError::Config { what: format!("host override {host}: {text:?} is no address") };
        connection.host_overrides.insert(host.clone(), host_override(text).ok_or_else(refuse)?);
    }
    connection.allowed_hosts =
        network.allowed_hosts.iter().map(|host| host.parse::<HostPattern>()).collect::<Result<_, _>>()?;
    HttpClient::new(&connection)
}

fn proxy(network: &pb::NetworkConnection) -> Result<ProxyUrl, HttpError> {
    let Some((user, password)) = network.proxy_authorization.split_once(':') else {
        return network.proxy_url.parse();
    };
    let refuse = || HttpError::Config { what: "the proxy cannot take a user and password".to_owned() };
    let mut url = Url::parse(&network.proxy_url).map_err(|_| refuse())?;
    url.set_username(user).map_err(|()| refuse())?;
    url.set_password(Some(password)).map_err(|()| refuse())?;
    url.as_str().parse()
}

/// The workspace, or why there can be none.
pub(super) fn workspace(config: &pb::DatabricksConfig, http: &HttpClient) -> Result<Workspace, String> {
    let url: WorkspaceUrl = config.workspace_url.parse().map_err(|error| format!("{error}"))?;
    match &config.workspace_auth {
        Some(WorkspaceAuth::AccessToken(token)) => {
            Ok(Workspace::new(http.clone(), url, SecretString::from(token.token.as_str())))
        }
        _ => Err("this version knows workspaces by access_token only".to_owned()),
    }
}

/// How files are read.
pub(super) fn access(config: pb::DatabricksConfig) -> Access {
    if config.read_path() == ReadPath::Jdbc {
        return Access::No(
            "it is read through JDBC, which this version does not do yet: use read_path STORAGE".to_owned(),
        );
    }
    match config.storage_access {
        Some(StorageAccess::Sas(sas)) => Access::With(StorageCredential::Sas(sas.sas.into())),
        Some(StorageAccess::ServicePrincipal(principal)) => Access::With(StorageCredential::ServicePrincipal {
            tenant: principal.tenant_id,
            client_id: principal.client_id,
            client_secret: principal.client_secret.into(),
            authority_host: (!principal.authority_host.is_empty()).then_some(principal.authority_host),
        }),
        Some(StorageAccess::Vended(_)) => Access::Vended,
        Some(StorageAccess::LocalFiles(local)) => Access::Local(PathBuf::from(local.root)),
        None => Access::No("it has no storage access: set one of sas, service_principal, vended".to_owned()),
    }
}

/// The project that statements of a data source run in, or why there can be none.
pub(super) fn project(config: &pb::MaxComputeConfig, http: &HttpClient) -> Result<Project, String> {
    let Some(pb::max_compute_config::Account::AccessKey(key)) = &config.account else {
        return Err("this version knows accounts by access_key only".to_owned());
    };
    let secret = SecretString::from(key.access_key_secret.as_str());
    let account = match key.security_token.as_str() {
        "" => Account::new(&key.access_key_id, secret),
        token => Account::temporary(&key.access_key_id, secret, SecretString::from(token)),
    };
    let endpoint =
        Url::parse(&config.endpoint).map_err(|error| format!("{:?} is not a URL: {error}", config.endpoint))?;
    let name = if config.job_project.is_empty() { &config.default_project } else { &config.job_project };
    let name = ProjectName::new(name.as_str()).map_err(|error| error.to_string())?;
    let mut settings = ProjectConfig::new(endpoint, name, account);
    settings.region = (!config.region.is_empty()).then(|| config.region.clone());
    // Somebody waits for the plan: an hour of retries is for transfers.
    settings.retry.total = std::time::Duration::from_secs(60);
    Project::new(http.clone(), settings).map_err(|error| error.to_string())
}
