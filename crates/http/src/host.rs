//! Owns [`HostPattern`]: a pattern of hosts that a network connection may reach. Pure: it never resolves a name.

use std::fmt;
use std::str::FromStr;

use url::Url;

use crate::HttpError;

/// One allowed host: `name`, `*.suffix` (any depth below the suffix, not the suffix itself) or `*`, each with an optional
/// `:port`. Names compare without case; without a port every port matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPattern {
    host: HostRule,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum HostRule {
    Any,
    Exact(String),
    Below(String),
}

impl HostPattern {
    /// Whether this pattern allows the host (and port) of `url`.
    pub fn matches(&self, url: &Url) -> bool {
        let Some(host) = url.host_str() else { return false };
        self.fits(host) && self.port.is_none_or(|port| url.port_or_known_default() == Some(port))
    }

    /// Whether this pattern names the host, rather than allowing every one.
    pub(crate) fn names(&self, host: &str) -> bool {
        self.host != HostRule::Any && self.fits(host)
    }

    /// Whether the pattern has a port.
    pub(crate) fn has_port(&self) -> bool {
        self.port.is_some()
    }

    /// Whether the pattern matches this host, on any port.
    pub(crate) fn fits(&self, host: &str) -> bool {
        // A trailing dot names the same host: without this, "evil.example." and "evil.example" would be two rules.
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        match &self.host {
            HostRule::Any => true,
            HostRule::Exact(name) => host == *name,
            HostRule::Below(suffix) => {
                host.strip_suffix(suffix.as_str()).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
            }
        }
    }
}

impl FromStr for HostPattern {
    type Err = HttpError;

    fn from_str(text: &str) -> Result<Self, HttpError> {
        let refuse = |why: &str| HttpError::Config {
            what: format!("allowed host {text:?}: {why}; write host, host:port, *.suffix or *.suffix:port"),
        };
        let trimmed = text.trim();
        // An IPv6 literal is in brackets, so a colon inside it does not begin a port.
        let (name, port) = match trimmed.rfind(':') {
            Some(at) if !trimmed.ends_with(']') => {
                let port =
                    trimmed[at + 1..].parse::<u16>().map_err(|_| refuse("the port is not a number below 65536"))?;
                (&trimmed[..at], Some(port))
            }
            _ => (trimmed, None),
        };
        let name = name.to_ascii_lowercase();
        let legal = |name: &str| {
            !name.is_empty()
                && !name.contains('*')
                && Url::parse(&format!("http://{name}/"))
                    .is_ok_and(|u| u.path() == "/" && u.username().is_empty() && u.port().is_none())
        };
        let host = if name == "*" {
            HostRule::Any
        } else if let Some(suffix) = name.strip_prefix("*.") {
            let suffix = suffix.trim_end_matches('.');
            if !legal(suffix) {
                return Err(refuse("the suffix is not a host name"));
            }
            HostRule::Below(suffix.to_owned())
        } else if legal(name.trim_end_matches('.')) {
            HostRule::Exact(name.trim_end_matches('.').to_owned())
        } else {
            return Err(refuse("it is not a host name"));
        };
        Ok(Self { host, port })
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            HostRule::Any => f.write_str("*")?,
            HostRule::Exact(name) => f.write_str(name)?,
            HostRule::Below(suffix) => write!(f, "*.{suffix}")?,
        }
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn allows(pattern: &str, url: &str) -> bool {
        pattern.parse::<HostPattern>().unwrap().matches(&Url::parse(url).unwrap())
    }

    #[test]
    fn a_suffix_allows_what_lies_below_it_and_nothing_that_only_looks_so() {
        assert!(allows("*.azuredatabricks.net", "https://adb-1.2.azuredatabricks.net/x"));
        assert!(!allows("*.azuredatabricks.net", "https://azuredatabricks.net/"));
        assert!(!allows("*.azuredatabricks.net", "https://evilazuredatabricks.net/"));
        assert!(!allows("*.azuredatabricks.net", "https://a.azuredatabricks.net.evil.example/"));
    }

    #[test]
    fn ports_and_case_and_trailing_dots() {
        assert!(allows("Host.Example:443", "https://HOST.example./"));
        assert!(!allows("host.example:443", "http://host.example/"));
        assert!(allows("[::1]:7401", "http://[::1]:7401/"));
        assert!(allows("*", "http://127.0.0.1:1/"));
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for text in ["", "*.", "a b", "http://x", "x/y", "a.*.b", "x:70000", "user@host"] {
            assert!(text.parse::<HostPattern>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn printing_and_parsing_is_the_identity(text in "(\\*\\.)?[a-z][a-z0-9]{0,8}(\\.[a-z]{2,5}){0,3}(:[1-9][0-9]{0,3})?") {
            let pattern: HostPattern = text.parse().unwrap();
            prop_assert_eq!(pattern.to_string(), text);
        }
    }
}
