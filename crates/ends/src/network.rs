//! Builds the settings of the outgoing client from a data source's network connection, and holds this process's address guard.

use std::net::{IpAddr, SocketAddr};
use std::sync::{PoisonError, RwLock};

use mms_http::redact::remember;
use mms_http::{AddressGuard, DeniedHost, HostPattern, HttpError, NetworkConnection, ProxyUrl, Url};
use mms_proto::registry::v1 as pb;
use secrecy::SecretString;

/// The addresses that the operator lets this process connect to; `None` until the service has set it.
static GUARD: RwLock<Option<AddressGuard>> = RwLock::new(None);

/// Makes every connection whose settings are built from now on check the addresses that it connects to.
pub fn guard_addresses(allow_loopback: bool) {
    let guard = AddressGuard { allow_loopback, ..AddressGuard::default() };
    *GUARD.write().unwrap_or_else(PoisonError::into_inner) = Some(guard);
}

fn denied(hosts: &[String]) -> Result<Vec<DeniedHost>, HttpError> {
    hosts.iter().map(|entry| entry.parse()).collect()
}

fn patterns(hosts: &[String]) -> Result<Vec<HostPattern>, HttpError> {
    hosts.iter().map(|host| host.parse()).collect()
}

/// The first fault in a list of `denied_hosts`; `None` if the list is valid.
pub fn denied_hosts_fault(denied_hosts: &[String]) -> Option<String> {
    denied(denied_hosts).err().map(|error| error.to_string())
}

/// Whether no network connection could allow this URL. Only what shows before names are resolved is judged: a literal address, or
/// a host on the operator's list.
pub fn is_denied_for_good(url: &Url, denied_hosts: &[String]) -> bool {
    let guard = GUARD.read().unwrap_or_else(PoisonError::into_inner).clone();
    // An invalid list is treated as empty here: no service starts with one.
    let list = denied(denied_hosts).unwrap_or_default();
    guard.is_some_and(|guard| AddressGuard { denied: list, ..guard }.judge_for_good(url).is_err())
}

/// Parses an address of `host_overrides`: "ip:port", or "ip", which leaves the port of the URL.
pub fn host_override(text: &str) -> Option<SocketAddr> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, 0)))
}

/// The settings of a network connection; those of a direct connection if there is none.
///
/// # Errors
/// `Config`: a field with a value that the contract does not allow.
pub fn connection(network: Option<&pb::NetworkConnection>) -> Result<NetworkConnection, HttpError> {
    let guard = GUARD.read().unwrap_or_else(PoisonError::into_inner).clone();
    let mut connection = NetworkConnection { guard, ..NetworkConnection::default() };
    let Some(network) = network else { return Ok(connection) };
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
        let refuse = || HttpError::Config {
            what: format!("host override {host}: {text:?} is not an address; write ip:port or ip"),
        };
        connection.host_overrides.insert(host.to_ascii_lowercase(), host_override(text).ok_or_else(refuse)?);
    }
    connection.allowed_hosts = patterns(&network.allowed_hosts)?;
    connection.plain_http_hosts = patterns(&network.plain_http_hosts)?;
    if let Some(guard) = &mut connection.guard {
        guard.denied = denied(&network.denied_hosts)?;
    }
    Ok(connection)
}

fn proxy(network: &pb::NetworkConnection) -> Result<ProxyUrl, HttpError> {
    let plain: ProxyUrl = network.proxy_url.parse()?;
    let Some((user, password)) = network.proxy_authorization.split_once(':') else { return Ok(plain) };
    let refuse = || HttpError::Config { what: "the proxy cannot take a user and password".to_owned() };
    remember(password);
    let mut url = Url::parse(&network.proxy_url).map_err(|_| refuse())?;
    url.set_username(user).map_err(|()| refuse())?;
    url.set_password(Some(password)).map_err(|()| refuse())?;
    url.as_str().parse()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_override_has_a_port_or_takes_that_of_the_url() {
        assert_eq!(host_override("10.0.0.1:8443"), Some(SocketAddr::from(([10, 0, 0, 1], 8443))));
        assert_eq!(host_override("10.0.0.1"), Some(SocketAddr::from(([10, 0, 0, 1], 0))));
        assert_eq!(host_override("::1").map(|address| address.port()), Some(0));
        for none in ["", "host", "10.0.0.1:http", "10.0.0"] {
            assert_eq!(host_override(none), None, "{none}");
        }
    }

    #[test]
    fn a_user_of_the_proxy_goes_into_its_url_and_shows_nowhere() {
        let network = pb::NetworkConnection {
            proxy_url: "http://proxy:3128".into(),
            proxy_authorization: "me:p@ss/word".into(),
            ..pb::NetworkConnection::default()
        };
        let made = connection(Some(&network)).expect("usable");
        assert!(made.proxy.is_some());
        assert!(!format!("{made:?}").contains("p@ss") && !format!("{made:?}").contains("p%40ss"), "{made:?}");
    }

    #[test]
    fn what_is_no_address_is_named() {
        let network = pb::NetworkConnection {
            host_overrides: [("adb-1.azuredatabricks.net".to_owned(), "nowhere".to_owned())].into(),
            ..pb::NetworkConnection::default()
        };
        let refused = connection(Some(&network)).expect_err("it is none").to_string();
        assert!(refused.contains("adb-1.azuredatabricks.net") && refused.contains("nowhere"), "{refused}");
    }
}
