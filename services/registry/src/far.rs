//! The clients of both far ends, made from a data source with its secrets in place. Nothing is sent here.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mms_databricks::{Workspace, WorkspaceUrl};
use mms_http::retry::RetryPolicy;
use mms_http::{HostPattern, HttpClient, HttpError, NetworkConnection, ProxyUrl, Url};
use mms_maxcompute::name::ProjectName;
use mms_maxcompute::{Account, Project, ProjectConfig};
use mms_proto::registry::v1 as pb;
use pb::databricks_config::WorkspaceAuth;
use secrecy::SecretString;

/// Somebody waits for the answer: an end that is only tried gets two attempts within a few seconds.
fn short() -> RetryPolicy {
    RetryPolicy {
        first_delay: Duration::from_millis(500),
        max_delay: Duration::from_secs(2),
        factor: 2.0,
        max_attempts: Some(2),
        total: Duration::from_secs(5),
    }
}

/// An address of `host_overrides`; without a port, that of the URL is used.
pub fn host_override(text: &str) -> Option<SocketAddr> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, 0)))
}

/// The settings of the outgoing client, from a network connection with its secrets in place.
pub fn connection(network: &pb::NetworkConnection) -> Result<NetworkConnection, HttpError> {
    let mut connection = NetworkConnection {
        connect_timeout: Duration::from_secs(10),
        read_timeout: Duration::from_secs(20),
        ..NetworkConnection::default()
    };
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
    for (host, address) in &network.host_overrides {
        if let Some(address) = host_override(address) {
            connection.host_overrides.insert(host.clone(), address);
        }
    }
    connection.allowed_hosts =
        network.allowed_hosts.iter().map(|host| host.parse::<HostPattern>()).collect::<Result<_, _>>()?;
    Ok(connection)
}

fn proxy(network: &pb::NetworkConnection) -> Result<ProxyUrl, HttpError> {
    let plain: ProxyUrl = network.proxy_url.parse()?;
    let Some((user, password)) = network.proxy_authorization.split_once(':') else { return Ok(plain) };
    let refuse = || HttpError::Config { what: "the proxy cannot take a user and password".to_owned() };
    let mut url = Url::parse(&network.proxy_url).map_err(|_| refuse())?;
    url.set_username(user).map_err(|()| refuse())?;
    url.set_password(Some(password)).map_err(|()| refuse())?;
    url.as_str().parse()
}

/// The client of both far ends.
pub fn http(network: Option<&pb::NetworkConnection>) -> Result<HttpClient, HttpError> {
    let direct = pb::NetworkConnection::default();
    HttpClient::new(&connection(network.unwrap_or(&direct))?)
}

/// The workspace of a data source, or why there can be none.
pub fn workspace(config: &pb::DatabricksConfig, http: &HttpClient) -> Result<Workspace, String> {
    let url: WorkspaceUrl = config.workspace_url.parse().map_err(|error| format!("{error}"))?;
    match &config.workspace_auth {
        Some(WorkspaceAuth::AccessToken(token)) => {
            Ok(Workspace::new(http.clone(), url, SecretString::from(token.token.as_str())).with_policy(short()))
        }
        _ => Err("this version knows workspaces by access_token only".to_owned()),
    }
}

/// The project that statements of a data source run in, or why there can be none.
pub fn project(config: &pb::MaxComputeConfig, http: &HttpClient) -> Result<Project, String> {
    let Some(pb::max_compute_config::Account::AccessKey(key)) = &config.account else {
        return Err("this version knows accounts by access_key only".to_owned());
    };
    let secret = SecretString::from(key.access_key_secret.as_str());
    let account = match key.security_token.as_str() {
        "" => Account::new(&key.access_key_id, secret),
        token => Account::temporary(&key.access_key_id, secret, SecretString::from(token)),
    };
    let url = |text: &str| Url::parse(text).map_err(|error| format!("{text:?} is not a URL: {error}"));
    let name = if config.job_project.is_empty() { &config.default_project } else { &config.job_project };
    let name = ProjectName::new(name.as_str()).map_err(|error| error.to_string())?;
    let some = |text: &String| (!text.is_empty()).then(|| text.clone());
    let mut settings = ProjectConfig::new(url(&config.endpoint)?, name, account);
    settings.region = some(&config.region);
    settings.tunnel_endpoint = some(&config.tunnel_endpoint).map(|text| url(&text)).transpose()?;
    settings.tunnel_quota = some(&config.tunnel_quota);
    settings.compute_quota = some(&config.compute_quota);
    settings.retry = short();
    Project::new(http.clone(), settings).map_err(|error| error.to_string())
}
