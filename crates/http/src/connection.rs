//! Owns [`NetworkConnection`]: how a far end is reached. It holds settings and never opens a socket.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::redact::redact_url;
use crate::{AddressGuard, HostPattern, HttpError};

/// How to reach a far end. The default is direct: no proxy, the machine's own certificate authorities, every host allowed.
#[derive(Debug, Clone)]
pub struct NetworkConnection {
    /// The proxy that all requests go through. With a proxy, names are resolved by it: `host_overrides` do not apply.
    pub proxy: Option<ProxyUrl>,
    /// Certificate authorities trusted besides the machine's own, PEM, one or many.
    pub extra_ca_pem: Option<String>,
    /// Client certificate chain and its private key, PEM, for far ends that ask for one.
    pub client_identity_pem: Option<SecretString>,
    /// Addresses to use for names instead of asking DNS; `*.suffix` is every name below the suffix that has none of its own. A port
    /// of 0, or a port in the URL, leaves the URL's port. Names are in lower case.
    pub host_overrides: BTreeMap<String, SocketAddr>,
    /// Hosts that may be reached; empty allows every host.
    pub allowed_hosts: Vec<HostPattern>,
    /// Which addresses may be connected to; none: every one, also by plain http.
    pub guard: Option<AddressGuard>,
    /// Hosts besides loopback that the guard lets plain http out to.
    pub plain_http_hosts: Vec<HostPattern>,
    /// Limit for making one connection, TLS handshake included.
    pub connect_timeout: Duration,
    /// Limit for silence while waiting for a response or for its next bytes. While a body is streamed: for the time in
    /// which the far end neither takes a byte nor answers.
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
    /// The address to use for a name instead of asking DNS: its own, or that of the longest suffix it lies below.
    pub(crate) fn overridden(&self, host: &str) -> Option<SocketAddr> {
        // Asked of every request.
        if self.host_overrides.is_empty() {
            return None;
        }
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let above = host.match_indices('.').map(|(at, _)| format!("*{}", &host[at..]));
        std::iter::once(host.clone()).chain(above).find_map(|name| self.host_overrides.get(&name).copied())
    }

    /// Checks `url` against `allowed_hosts`.
    pub fn allows(&self, url: &Url) -> bool {
        self.allowed_hosts.is_empty() || self.allowed_hosts.iter().any(|pattern| pattern.matches(url))
    }
}

/// A proxy: `http`, `https`, `socks5` or `socks5h` with host, optional port and optional user and password (kept secret).
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
        // The text may hold a password: no refusal quotes it.
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
