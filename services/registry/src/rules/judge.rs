//! Collects violations, and has the rules that several parts of a configuration share. Pure.

use mms_http::Url;
use mms_proto::FieldViolation;
use secrecy::SecretString;

use crate::reference::{self, Guard};
use crate::secrets::Secrets;

/// What judging a data source needs besides its configuration.
#[derive(Debug, Clone, Copy)]
pub struct Offline<'a> {
    /// The path of the data source in the request.
    pub at: &'a str,
    /// The secrets: those sent and those kept.
    pub secrets: &'a Secrets,
    /// The limits for references of secrets.
    pub guard: &'a Guard,
    /// Hosts that the operator denies.
    pub denied_hosts: &'a [String],
    /// Whether local files may be a source.
    pub allow_local_files: bool,
    /// The time, in milliseconds since 1970.
    pub now_ms: i64,
}

/// The violations found so far.
pub struct Judge<'a> {
    pub at: &'a str,
    pub secrets: &'a Secrets,
    pub guard: &'a Guard,
    pub denied_hosts: &'a [String],
    pub found: Vec<FieldViolation>,
}

impl Judge<'_> {
    /// Adds a violation of a field.
    pub fn add(&mut self, field: &str, description: impl Into<String>) {
        self.found.push(FieldViolation::new(format!("{}.{field}", self.at), description));
    }

    /// Requires a secret, sent or stored.
    pub fn secret(&mut self, field: &str) {
        self.secret_at(field, field);
    }

    /// Requires a secret whose path in the request differs from the one it is stored under.
    pub fn secret_at(&mut self, path: &str, shown: &str) {
        match self.secrets.get(path) {
            None => self.add(shown, "is required: none is stored and none was sent"),
            Some(secret) => {
                if let Some(fault) = self.guard.fault(secret) {
                    self.add(shown, fault);
                }
            }
        }
    }

    /// Judges a secret that may be missing.
    pub fn optional_secret(&mut self, field: &str) {
        if let Some(fault) = self.secrets.get(field).and_then(|secret| self.guard.fault(secret)) {
            self.add(field, fault);
        }
    }

    /// The secret if it was given itself and not as a reference.
    pub fn literal(&self, field: &str) -> Option<&SecretString> {
        self.secrets.get(field).filter(|secret| reference::is_literal(secret))
    }

    /// Judges a URL for HTTP calls; returns it unless it is wrong.
    pub fn url(&mut self, field: &str, text: &str) -> Option<Url> {
        let url = match Url::parse(text) {
            Ok(url) => url,
            Err(error) => {
                self.add(field, format!("value {text:?} is not a URL: {error}"));
                return None;
            }
        };
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
            self.add(field, format!("value {text:?} must be http(s)://host[:port][/path]"));
        } else if !url.username().is_empty() || url.password().is_some() {
            self.add(field, "holds a user or password; credentials have their own fields");
        } else if url.query().is_some() || url.fragment().is_some() {
            self.add(field, "must not have a query or fragment");
        } else {
            self.reachable(field, &url);
            return Some(url);
        }
        None
    }

    /// Rejects a host that is always denied before it is stored. A host name shows its address only when it is resolved.
    pub fn reachable(&mut self, field: &str, url: &Url) {
        if mms_ends::is_denied_for_good(url, self.denied_hosts) {
            let host = url.host_str().unwrap_or_default();
            let text =
                format!("{host} is denied: this registry never connects to it, whatever a network connection says");
            self.add(field, text);
        }
    }
}
