//! What a channel is made of, and when it is made anew: its certificates and its token are files, and files are renewed. They
//! are looked at when a call is made, so that a channel needs no task of its own; calls in flight end on the channel they
//! began on.

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

/// How often the files are looked at, at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A channel, and the token of its own that is sent over it.
#[derive(Debug)]
pub(super) struct Made {
    pub channel: Channel,
    authorization: Option<HeaderValue>,
    /// When the certificate that it shows ends, in seconds since 1970.
    ends: Option<i64>,
}

/// The channels of a process, whose certificates are looked at with its own.
#[derive(Debug, Clone, Default)]
pub(crate) struct Channels(Arc<Mutex<Vec<Arc<Files>>>>);

impl Channels {
    /// Has a channel looked at as long as the process lives.
    pub fn watch(&self, client: &Client) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&client.files));
    }

    /// The service that each shows a certificate to, and the days until that ends.
    pub fn days_left(&self, now_seconds: i64) -> Vec<(String, i64)> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // An idle channel has its files read here.
        let ends = |files: &Arc<Files>| files.current(Instant::now()).ends;
        let found = all.iter().filter_map(|files| Some((files.endpoint().to_owned(), ends(files)?)));
        found.map(|(endpoint, ends)| (endpoint, days_until(ends, now_seconds))).collect()
    }
}

/// The channel as its files have it.
#[derive(Debug)]
pub(super) struct Files {
    config: ClientConfig,
    suite: Option<SuiteToken>,
    current: RwLock<Arc<Made>>,
    seen: Mutex<(Instant, Stamps)>,
}

impl Files {
    pub fn read(config: &ClientConfig, suite: Option<&SuiteToken>) -> Result<Self, ClientError> {
        // Before they are read: what changes meanwhile is read again.
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

    /// The channel for a new call.
    pub fn current(&self, now: Instant) -> Arc<Made> {
        if self.have_changed(now) {
            match make(&self.config) {
                Ok(made) => {
                    tracing::info!(endpoint = self.endpoint(), "certificates and token of the channel were read again");
                    *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(made);
                }
                Err(error) => {
                    let (endpoint, error) = (self.endpoint(), chain(&error));
                    tracing::error!(endpoint, error, "the channel's files were not taken; those before stay in use");
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

    /// What a call says of who makes it.
    pub fn authorization(&self, made: &Made) -> Option<HeaderValue> {
        made.authorization.clone().or_else(|| self.suite.as_ref().and_then(|suite| bearer(suite.current().expose())))
    }
}

fn files(config: &ClientConfig) -> impl Iterator<Item = &PathBuf> {
    [&config.ca_file, &config.cert_file, &config.key_file, &config.token_file].into_iter().flatten()
}

/// Tokens that fit no header, read_token() and Tokens::add() let not pass.
fn bearer(token: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// A channel that connects when first used, and again whenever it must.
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
