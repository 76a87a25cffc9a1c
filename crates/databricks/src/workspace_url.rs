//! Owns [`WorkspaceUrl`]: the address of a workspace, without the rest of the URL that people paste.

use std::fmt;
use std::str::FromStr;

use url::{Host, Url};

use crate::DatabricksError;

/// A workspace's base address: scheme, host and port. HTTPS, or HTTP on loopback. Path, fragment and query are dropped; only
/// the workspace id of a pasted `?o=` is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkspaceUrl {
    base: Url,
    asked_id: Option<u64>,
}

impl WorkspaceUrl {
    /// The base address, with path `/`.
    pub fn base(&self) -> &Url {
        &self.base
    }

    /// The workspace id: the one of `?o=`, else the digits after `adb-` in the host name. None if there is neither.
    pub fn workspace_id(&self) -> Option<u64> {
        self.asked_id.or_else(|| host_id(&self.base))
    }

    /// The id to send with each request: for hosts that serve several workspaces, whose name does not tell which one is
    /// meant.
    pub(crate) fn id_to_send(&self) -> Option<u64> {
        if host_id(&self.base).is_some() { None } else { self.asked_id }
    }
}

fn host_id(url: &Url) -> Option<u64> {
    url.host_str()?.strip_prefix("adb-")?.split('.').next()?.parse().ok()
}

impl FromStr for WorkspaceUrl {
    type Err = DatabricksError;

    fn from_str(text: &str) -> Result<Self, DatabricksError> {
        let refuse = |what: &str| DatabricksError::WorkspaceUrl { what: what.to_owned() };
        let text = text.trim();
        let with_scheme = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
        let mut base = Url::parse(&with_scheme).map_err(|error| refuse(&error.to_string()))?;
        let loopback = match base.host() {
            None => return Err(refuse("it has no host")),
            Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
        };
        match base.scheme() {
            "https" => {}
            "http" if loopback => {}
            "http" => return Err(refuse("the token would travel unencrypted over http; use https")),
            _ => return Err(refuse("its scheme is not https")),
        }
        if !base.username().is_empty() || base.password().is_some() {
            return Err(refuse("it holds a user or password; the access token has its own field"));
        }
        let asked_id = base.query_pairs().find(|(name, _)| name == "o").and_then(|(_, id)| id.parse().ok());
        base.set_path("/");
        base.set_query(None);
        base.set_fragment(None);
        Ok(Self { base, asked_id })
    }
}

impl fmt::Display for WorkspaceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.base.as_str().trim_end_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_paste_becomes_the_base_address() {
        for text in [
            "https://adb-12.3.azuredatabricks.net",
            " https://ADB-12.3.azuredatabricks.net/?o=12#job/5 ",
            "adb-12.3.azuredatabricks.net/explore/data?o=12",
        ] {
            let url: WorkspaceUrl = text.parse().unwrap();
            assert_eq!(url.to_string(), "https://adb-12.3.azuredatabricks.net");
            assert_eq!(url.workspace_id(), Some(12));
            assert_eq!(url.id_to_send(), None);
        }
        let shared: WorkspaceUrl = "https://accounts.example.net/?o=77".parse().unwrap();
        assert_eq!(shared.id_to_send(), Some(77));
        assert_eq!("http://127.0.0.1:8080/x".parse::<WorkspaceUrl>().unwrap().to_string(), "http://127.0.0.1:8080");
    }

    #[test]
    fn what_would_leak_the_token_is_refused() {
        for text in ["http://adb-1.2.azuredatabricks.net", "ftp://h", "https://token:dapi1@h", "", "https://"] {
            let error = text.parse::<WorkspaceUrl>().unwrap_err();
            assert!(!error.to_string().contains("dapi1"), "{error}");
        }
    }
}
