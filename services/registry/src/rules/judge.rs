//! Violations as they are found, and the judgements that several parts need. Pure.

use mms_http::Url;
use mms_proto::FieldViolation;
use secrecy::SecretString;

use crate::reference::{self, Guard};
use crate::secrets::Secrets;

/// What the judgement of a data source needs to know besides its public part.
#[derive(Debug, Clone, Copy)]
pub struct Offline<'a> {
    /// Where the data source stands in the request.
    pub at: &'a str,
    /// Its secrets: those sent and those that stay.
    pub secrets: &'a Secrets,
    /// Where its references may lead.
    pub guard: &'a Guard,
    /// What the operator never lets be called.
    pub denied_hosts: &'a [String],
    /// Whether files of the machine may be a source.
    pub allow_local_files: bool,
    /// The time, in ms.
    pub now_ms: i64,
}

/// Violations as they are found.
pub struct Judge<'a> {
    pub at: &'a str,
    pub secrets: &'a Secrets,
    pub guard: &'a Guard,
    pub denied_hosts: &'a [String],
    pub found: Vec<FieldViolation>,
}

impl Judge<'_> {
    /// A field is not as it must be.
    pub fn add(&mut self, field: &str, description: impl Into<String>) {
        self.found.push(FieldViolation::new(format!("{}.{field}", self.at), description));
    }

    /// A secret that must be there, sent or stored.
    pub fn secret(&mut self, field: &str) {
        self.secret_at(field, field);
    }

    /// The same where the request shows another path than that under which the secret lies.
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

    /// A secret that may be there.
    pub fn optional_secret(&mut self, field: &str) {
        if let Some(fault) = self.secrets.get(field).and_then(|secret| self.guard.fault(secret)) {
            self.add(field, fault);
        }
    }

    /// A secret that was sent itself, and not as a reference.
    pub fn literal(&self, field: &str) -> Option<&SecretString> {
        self.secrets.get(field).filter(|secret| reference::is_literal(secret))
    }

    /// An address that is called over HTTP.
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

    /// What could never be connected to is said before it is stored. Of a name, that shows only when it is resolved.
    pub fn reachable(&mut self, field: &str, url: &Url) {
        if mms_ends::is_denied_for_good(url, self.denied_hosts) {
            let host = url.host_str().unwrap_or_default();
            let text =
                format!("{host} is denied: this registry never connects to it, whatever a network connection says");
            self.add(field, text);
        }
    }
}
