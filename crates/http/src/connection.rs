//! Owns [`NetworkConnection`]: the settings by which a server is reached. It holds settings and must never open a socket.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::redact::redact_url;
use crate::{AddressGuard, HostPattern, HttpError};

/// How a server is reached. The default is direct: no proxy, the machine's own certificate authorities, every host allowed.
#[derive(Debug, Clone)]
pub struct NetworkConnection {
    /// The proxy for all requests. A proxy resolves names itself, so `host_overrides` do not apply.
    pub proxy: Option<ProxyUrl>,
    /// Certificate authorities that are trusted in addition to the machine's own; PEM, one or more.
    pub extra_ca_pem: Option<String>,
    /// A client certificate chain and its private key, PEM, for servers that ask for one.
    pub client_identity_pem: Option<SecretString>,
    /// Addresses to use for host names instead of asking DNS. `*.suffix` stands for every name below the suffix that has no entry
    /// of its own. A port of 0, or a port in the URL, leaves the URL's port. Keys are in lower case.
    pub host_overrides: BTreeMap<String, SocketAddr>,
    /// Hosts that may be reached; empty allows every host.
    pub allowed_hosts: Vec<HostPattern>,
    /// The addresses that may be connected to. `None` allows every address, and plain http to all of them.
    pub guard: Option<AddressGuard>,
    /// Hosts besides loopback to which the guard allows plain http.
    pub plain_http_hosts: Vec<HostPattern>,
    /// Time limit for establishing one connection, TLS handshake included.
    pub connect_timeout: Duration,
    /// Time limit for silence while waiting for a response or its next bytes. While a request body is streamed, it limits the
    /// time during which the server neither accepts a byte nor answers.
    pub read_timeout: Duration,
}

impl Default for NetworkConnection {
    fn default() -> Self {
        Self {
            proxy: None,
            extra_ca_pem: None,
            client_identity_pem: None,
            host_overrides: BTreeMap::new(),
            allowed_hosts: Vec::new(),
            guard: None,
            plain_http_hosts: Vec::new(),
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(120),
        }
    }
}

impl NetworkConnection {
    /// The address to use for a name instead of asking DNS: the name's own entry, or that of the longest suffix above it.
    pub(crate) fn overridden(&self, host: &str) -> Option<SocketAddr> {
        // This runs for every request, so the common case returns at once.
        if self.host_overrides.is_empty() {
            return None;
        }
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let above = host.match_indices('.').map(|(at, _)| format!("*{}", &host[at..]));
        std::iter::once(host.clone()).chain(above).find_map(|name| self.host_overrides.get(&name).copied())
    }

    /// Whether `allowed_hosts` allows this URL.
    pub fn allows(&self, url: &Url) -> bool {
        self.allowed_hosts.is_empty() || self.allowed_hosts.iter().any(|pattern| pattern.matches(url))
    }
}

/// The URL of a proxy: `http`, `https`, `socks5` or `socks5h`, with a host and optionally port, user and password (kept secret).
#[derive(Clone)]
pub struct ProxyUrl(SecretString);

impl ProxyUrl {
    pub(crate) fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl FromStr for ProxyUrl {
    type Err = HttpError;

    fn from_str(text: &str) -> Result<Self, HttpError> {
        // The text may contain a password, so no error quotes it.
        let refuse = |what: &str| HttpError::Config { what: what.to_owned() };
        let url = Url::parse(text.trim()).map_err(|_| refuse("the proxy is not a URL; write http://host:port"))?;
        if !matches!(url.scheme(), "http" | "https" | "socks5" | "socks5h") {
            return Err(refuse("the proxy's scheme is not one of http, https, socks5, socks5h"));
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(refuse("the proxy has no host; write http://host:port"));
        }
        Ok(Self(SecretString::from(url.to_string())))
    }
}

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Url::parse(self.expose()) {
            Ok(url) => f.write_str(&redact_url(&url)),
            Err(_) => f.write_str("(proxy)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_never_shows_its_password() {
        let proxy: ProxyUrl = "http://mover:hunter2@proxy.example:3128".parse().unwrap();
        let shown = format!("{proxy} {proxy:?}");
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("proxy.example:3128"), "{shown}");
        let error = "ftp://mover:hunter2@proxy.example".parse::<ProxyUrl>().unwrap_err();
        assert!(!error.to_string().contains("hunter2"));
    }

    #[test]
    fn no_list_allows_all_and_a_list_allows_only_itself() {
        let url = Url::parse("https://a.example/").unwrap();
        let mut connection = NetworkConnection::default();
        assert!(connection.allows(&url));
        connection.allowed_hosts = vec!["b.example".parse().unwrap()];
        assert!(!connection.allows(&url));
    }
}
