//! Builds a channel from its files (certificates, key, token), and again when they change. The files are checked when a
//! call is made, at most once a second, so that a channel needs no task of its own. Calls in flight finish on the
//! channel they began on.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use http::HeaderValue;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use super::{Client, ClientConfig, ClientError};
use crate::reload::{Stamps, stamps};
use crate::supervise::chain;
use crate::tls::{days_until, ends_of};
use crate::tokens::{SuiteToken, read_token};

/// Least time between two checks of the files.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A channel built from the files, and the token that `token_file` had then.
#[derive(Debug)]
pub(super) struct Made {
    pub channel: Channel,
    authorization: Option<HeaderValue>,
    /// When the certificate that the channel presents expires, in seconds since 1970; `None` if it presents none.
    ends: Option<i64>,
}

/// The channels of a process, so that the expiry of their certificates can be watched with that of its own.
#[derive(Debug, Clone, Default)]
pub(crate) struct Channels(Arc<Mutex<Vec<Arc<Files>>>>);

impl Channels {
    /// Watches the certificate of this channel for as long as the process lives.
    pub fn watch(&self, client: &Client) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&client.files));
    }

    /// For each channel that presents a certificate, the service's URL and the days until the certificate expires.
    pub fn days_left(&self, now_seconds: i64) -> Vec<(String, i64)> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // `current` reads changed files, so an idle channel is brought up to date here.
        let ends = |files: &Arc<Files>| files.current(Instant::now()).ends;
        let found = all.iter().filter_map(|files| Some((files.endpoint().to_owned(), ends(files)?)));
        found.map(|(endpoint, ends)| (endpoint, days_until(ends, now_seconds))).collect()
    }
}

/// The files of a channel, and the channel last built from them.
#[derive(Debug)]
pub(super) struct Files {
    config: ClientConfig,
    suite: Option<SuiteToken>,
    current: RwLock<Arc<Made>>,
    seen: Mutex<(Instant, Stamps)>,
}

impl Files {
    pub fn read(config: &ClientConfig, suite: Option<&SuiteToken>) -> Result<Self, ClientError> {
        // The stamps are taken before the files are read: a file that changes in between is read again.
        let seen = Mutex::new((Instant::now(), stamps(files(config))));
        let current = RwLock::new(Arc::new(make(config)?));
        Ok(Self { config: config.clone(), suite: suite.cloned(), current, seen })
    }

    pub fn endpoint(&self) -> &str {
        &self.config.endpoint
    }

    pub fn deadline(&self) -> Duration {
        Duration::from_secs(self.config.deadline_seconds)
    }

    /// The channel for a new call. If the files changed and cannot be read, the previous channel stays in use.
    pub fn current(&self, now: Instant) -> Arc<Made> {
        if self.have_changed(now) {
            match make(&self.config) {
                Ok(made) => {
                    tracing::info!(endpoint = self.endpoint(), "certificates and token of the channel were read again");
                    *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(made);
                }
                Err(error) => {
                    let (endpoint, error) = (self.endpoint(), chain(&error));
                    tracing::error!(endpoint, error, "cannot use the channel's new files; the old ones stay in use");
                }
            }
        }
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn have_changed(&self, now: Instant) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(seen.0) < LOOK_EVERY {
            return false;
        }
        let found = stamps(files(&self.config));
        let changed = found != seen.1;
        *seen = (now, found);
        changed
    }

    /// The value of the `authorization` header: the channel's own token, else the suite's.
    pub fn authorization(&self, made: &Made) -> Option<HeaderValue> {
        made.authorization.clone().or_else(|| self.suite.as_ref().and_then(|suite| bearer(suite.current().expose())))
    }
}

fn files(config: &ClientConfig) -> impl Iterator<Item = &PathBuf> {
    [&config.ca_file, &config.cert_file, &config.key_file, &config.token_file].into_iter().flatten()
}

/// `None` cannot happen: read_token() and Tokens::add() reject tokens that no header can hold.
fn bearer(token: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Builds a channel that connects when it is first used, and again whenever the connection was lost.
fn make(config: &ClientConfig) -> Result<Made, ClientError> {
    let transport = |source| ClientError::Transport { endpoint: config.endpoint.clone(), source };
    let mut endpoint = Endpoint::from_shared(config.endpoint.clone())
        .map_err(transport)?
        .connect_timeout(Duration::from_secs(10))
        .http2_keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20))
        .keep_alive_while_idle(true)
        .tcp_nodelay(true)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20);
    let mut ends = None;
    if config.endpoint.starts_with("https:") {
        let read =
            |file: &PathBuf| std::fs::read(file).map_err(|source| ClientError::File { file: file.clone(), source });
        let mut tls = match &config.ca_file {
            Some(file) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(file)?)),
            None => ClientTlsConfig::new().with_native_roots(),
        };
        if let (Some(cert), Some(key)) = (&config.cert_file, &config.key_file) {
            let shown = read(cert)?;
            ends = ends_of(&shown);
            tls = tls.identity(Identity::from_pem(shown, read(key)?));
        }
        if let Some(name) = &config.server_name {
            tls = tls.domain_name(name);
        }
        endpoint = endpoint.tls_config(tls).map_err(transport)?;
    }
    let token = config.token_file.as_deref().map(read_token).transpose()?;
    let authorization = token.and_then(|token| bearer(token.expose()));
    Ok(Made { channel: endpoint.connect_lazy(), authorization, ends })
}
