//! The configuration of this service: its options, defaults and bounds.

use std::path::{Path, PathBuf};
use std::time::Duration;

use mms_server::{Faults, FrameConfig, ServiceConfig};
use serde::{Deserialize, Serialize};

use crate::key_file::{KeyError, read_key_file, read_key_variable};
use crate::reference::Guard;
use crate::vault::KeyRing;

/// The section `[registry]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The id of the key-encryption key that wraps secrets from now on; 1 to 64 characters.
    pub encryption_key_id: String,
    /// The file of that key, mode 0600: 32 bytes or their base64. Either this or `encryption_key_variable` is required.
    pub encryption_key_file: Option<PathBuf>,
    /// The environment variable that holds that key in base64.
    pub encryption_key_variable: Option<String>,
    /// Further keys, each as "id=FILE": for secrets wrapped with them earlier, and to rotate to.
    pub other_encryption_keys: Vec<String>,
    /// Ids of keys that are lost. The next start deletes the secrets that they wrap, which must then be sent again.
    pub lost_encryption_keys: Vec<String>,
    /// Folders that must contain the files of secrets given as "file:PATH". Empty: no such secrets are accepted.
    pub secret_file_roots: Vec<PathBuf>,
    /// Allowed prefixes of the variables of secrets given as "env:NAME". Empty: no such secrets are accepted.
    pub secret_variable_prefixes: Vec<String>,
    /// Whether a data source may read local files, as the sandbox does.
    pub allow_local_files: bool,
    /// Whether sources and targets may be at loopback addresses, as the sandbox is. Metadata and link-local addresses are always
    /// denied; private ones are denied unless the data source's network connection names the host.
    pub allow_loopback: bool,
    /// Hosts that must never be connected to, whatever a network connection allows: addresses, ranges such as "10.1.0.0/16", host
    /// names, globs. Catalog and transfer receive them with their sessions.
    pub denied_hosts: Vec<String>,
    /// Seconds that a session lasts unless it is renewed, from 1 to 86400. Transfers continue for at most this long when the
    /// registry is down.
    pub session_term_seconds: u64,
    /// Seconds that a use lasts unless it is renewed, from 1 to 86400.
    pub use_term_seconds: u64,
    /// Most sessions open at once, from 1 to 1000000.
    pub max_sessions: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            encryption_key_id: "main".into(),
            encryption_key_file: None,
            encryption_key_variable: None,
            other_encryption_keys: Vec::new(),
            lost_encryption_keys: Vec::new(),
            secret_file_roots: ["/run/secrets", "/etc/mms/secrets"].map(PathBuf::from).to_vec(),
            secret_variable_prefixes: ["MMS_SECRET_", "DATABRICKS_", "AZURE_", "ALIBABA_CLOUD_", "MAXCOMPUTE_"]
                .map(str::to_owned)
                .to_vec(),
            allow_local_files: false,
            allow_loopback: false,
            denied_hosts: Vec::new(),
            session_term_seconds: 900,
            use_term_seconds: 300,
            max_sessions: 10_000,
        }
    }
}

impl ServiceConfig for Config {
    const SERVICE: &'static str = "registry";
    const DEFAULT_PORT: u16 = 7401;

    fn check(&self, _frame: &FrameConfig, faults: &mut Faults) {
        if let Some(fault) = mms_ends::denied_hosts_fault(&self.denied_hosts) {
            faults.add("registry.denied_hosts", fault);
        }
        match (&self.encryption_key_file, &self.encryption_key_variable) {
            (None, None) => faults.add(
                "registry.encryption_key_file",
                "is required: secrets are stored encrypted. Make one with: (umask 077; openssl rand -base64 32 > FILE)",
            ),
            (Some(_), Some(_)) => {
                faults.add("registry.encryption_key_variable", "cannot be set together with encryption_key_file");
            }
            _ => {}
        }
        if self.encryption_key_id.is_empty() || self.encryption_key_id.chars().count() > 64 {
            faults.add("registry.encryption_key_id", "must have 1 to 64 characters");
        }
        for entry in &self.other_encryption_keys {
            match entry.split_once('=') {
                Some((id, file)) if !id.is_empty() && !file.is_empty() && id != self.encryption_key_id => {}
                Some((id, _)) if id == self.encryption_key_id => {
                    faults.add("registry.other_encryption_keys", format!("{id:?} is the id of the key in use"));
                }
                _ => faults.add("registry.other_encryption_keys", format!("{entry:?} is not of the form id=FILE")),
            }
        }
        for id in &self.lost_encryption_keys {
            if *id == self.encryption_key_id || self.other_keys().any(|(known, _)| known == id) {
                faults
                    .add("registry.lost_encryption_keys", format!("{id:?} is configured: a key is lost or it is not"));
            }
        }
        if self.secret_file_roots.iter().any(|root| !root.is_absolute()) {
            faults.add("registry.secret_file_roots", "must be absolute paths");
        }
        if self.secret_variable_prefixes.iter().any(String::is_empty) {
            faults.add("registry.secret_variable_prefixes", "must not be empty texts: every variable begins with one");
        }
        for (key, value) in [
            ("registry.session_term_seconds", self.session_term_seconds),
            ("registry.use_term_seconds", self.use_term_seconds),
        ] {
            if !(1..=86_400).contains(&value) {
                faults.add(key, "must be from 1 to 86400 (a day)");
            }
        }
        if !(1..=1_000_000).contains(&self.max_sessions) {
            faults.add("registry.max_sessions", "must be from 1 to 1000000");
        }
    }
}

impl Config {
    /// How long a session lasts unless it is renewed.
    pub fn session_term(&self) -> Duration {
        Duration::from_secs(self.session_term_seconds)
    }

    /// How long a use lasts unless it is renewed.
    pub fn use_term(&self) -> Duration {
        Duration::from_secs(self.use_term_seconds)
    }

    /// Reads all key-encryption keys.
    ///
    /// # Errors
    /// When a file is missing, readable by others or not a key, or the variable is not set.
    pub fn key_ring(&self) -> Result<KeyRing, KeyError> {
        let key = match (&self.encryption_key_file, &self.encryption_key_variable) {
            (Some(file), _) => read_key_file(file)?,
            (None, Some(variable)) => read_key_variable(variable)?,
            (None, None) => return Err(KeyError::NoVariable("(none)".into())),
        };
        let mut ring = KeyRing::new(&self.encryption_key_id, key);
        for (id, file) in self.other_keys() {
            ring.add(id, read_key_file(file)?);
        }
        Ok(ring)
    }

    /// The limits for references of secrets: the configured roots and prefixes, without this process's own secret files.
    pub fn guard(&self, frame: &FrameConfig) -> Guard {
        let mut files = vec![frame.data_dir.clone()];
        files.extend(self.encryption_key_file.clone());
        files.extend(self.other_keys().map(|(_, file)| file.to_owned()));
        files.extend(
            [&frame.tokens_file, &frame.service_token_file, &frame.tls.key_file].into_iter().flatten().cloned(),
        );
        Guard {
            roots: self.secret_file_roots.clone(),
            prefixes: self.secret_variable_prefixes.clone(),
            files,
            variable: self.encryption_key_variable.clone(),
        }
    }

    fn other_keys(&self) -> impl Iterator<Item = (&str, &Path)> {
        self.other_encryption_keys.iter().filter_map(|entry| entry.split_once('=')).map(|(id, f)| (id, Path::new(f)))
    }
}
