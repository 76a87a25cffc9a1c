//! What can be judged offline about a configuration and no option of the contract says: all violations at once. Pure,
//! but for the machine's time zones.

mod databricks;
mod max_compute;
mod network;
mod settings;

use mms_http::Url;
use mms_proto::FieldViolation;
use mms_proto::registry::v1 as pb;
use secrecy::SecretString;

use crate::reference::{self, Guard};
use crate::secrets::Secrets;

pub use databricks::sas_expiry_ms;
pub use network::judge_network;

/// What the judgement of a data source needs to know besides its public part.
#[derive(Debug, Clone, Copy)]
pub struct Offline<'a> {
    /// Where the data source stands in the request.
    pub at: &'a str,
    /// Its secrets: those sent and those that stay.
    pub secrets: &'a Secrets,
    /// Where its references may lead.
    pub guard: &'a Guard,
    /// Whether files of the machine may be a source.
    pub allow_local_files: bool,
    /// The time, in ms.
    pub now_ms: i64,
}

/// Violations as they are found.
struct Judge<'a> {
    at: &'a str,
    secrets: &'a Secrets,
    guard: &'a Guard,
    found: Vec<FieldViolation>,
}

impl Judge<'_> {
    fn add(&mut self, field: &str, description: impl Into<String>) {
        self.found.push(FieldViolation::new(format!("{}.{field}", self.at), description));
    }

    /// A secret that must be there, sent or stored.
    fn secret(&mut self, field: &str) {
        self.secret_at(field, field);
    }

    /// The same where the request shows another path than that under which the secret lies.
    fn secret_at(&mut self, path: &str, shown: &str) {
        match self.secrets.get(path) {
            None => self.add(shown, "is required: none is stored and none was sent"),
            Some(secret) => {
                if let Some(fault) = self.guard.fault(secret) {
                    self.add(shown, fault);
                }
            }
        }
    }

    fn optional_secret(&mut self, field: &str) {
        if let Some(fault) = self.secrets.get(field).and_then(|secret| self.guard.fault(secret)) {
            self.add(field, fault);
        }
    }

    fn literal(&self, field: &str) -> Option<&SecretString> {
        self.secrets.get(field).filter(|secret| reference::is_literal(secret))
    }

    /// An address that is called over HTTP.
    fn url(&mut self, field: &str, text: &str) -> Option<Url> {
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
            return Some(url);
        }
        None
    }
}

/// All violations of a data source that are judged here.
pub fn judge(source: &pb::DataSource, offline: Offline<'_>) -> Vec<FieldViolation> {
    let mut judge = Judge { at: offline.at, secrets: offline.secrets, guard: offline.guard, found: Vec::new() };
    if let Some(config) = source.databricks() {
        databricks::judge(config, offline, &mut judge);
    }
    if let Some(config) = &source.max_compute {
        max_compute::judge(config, &mut judge);
    }
    if let Some(config) = &source.settings {
        settings::judge(config, &mut judge);
    }
    judge.found
}
