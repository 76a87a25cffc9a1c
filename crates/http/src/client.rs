//! Owns [`HttpClient`]: the one place where an outgoing client is built and where requests leave the process. No request may be
//! sent before its host, scheme and address have been checked.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use reqwest::redirect::Policy;
use reqwest::{Certificate, ClientBuilder, Identity, Method, Proxy};
use secrecy::ExposeSecret;
use url::Url;

use crate::guard::{Guarded, is_bare};
use crate::redact::redact_url;
use crate::retry::RetryBudget;
use crate::stall::Watch;
use crate::{Counts, HttpError, NetworkConnection, Outcome, Request, Response, Traffic};

/// Maximum number of redirects that are followed within one host.
const MAX_REDIRECTS: usize = 5;

/// Makes aws-lc the TLS provider of this process. Call it first in `main`; further calls do nothing.
pub fn install_crypto_provider() {
    // An error means that a provider is already installed, which stays.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
}

/// The outgoing client of one network connection. Clones share connections and the retry budget.
#[derive(Clone)]
pub struct HttpClient {
    shared: Arc<Shared>,
    traffic: Traffic,
    counts: Arc<Counts>,
    budget: RetryBudget,
}

struct Shared {
    client: reqwest::Client,
    /// For streamed bodies: without reqwest's read timeout, which runs from the start of the request whether or not the body
    /// advances.
    streaming: reqwest::Client,
    connection: NetworkConnection,
}

impl HttpClient {
    /// Builds the client. Fails with [`HttpError::Config`], which names the setting that is unusable.
    pub fn new(connection: &NetworkConnection) -> Result<Self, HttpError> {
        install_crypto_provider();
        let (client, streaming) = both(connection, true).or_else(|error| {
            // Without any certificate authority on the machine, plain HTTP on loopback still works, and TLS fails with its
            // reason. If building fails without the machine's authorities as well, they were not the cause, and the first error
            // is returned.
            if connection.extra_ca_pem.is_some() {
                return Err(error);
            }
            let clients = both(connection, false).map_err(|_| error)?;
            tracing::warn!("no certificate authorities on this machine: https needs them, or an extra CA");
            Ok(clients)
        })?;
        let (traffic, budget) = (Traffic::default(), RetryBudget::default());
        let counts = traffic.other();
        let shared = Arc::new(Shared { client, streaming, connection: connection.clone() });
        Ok(Self { shared, traffic, counts, budget })
    }

    /// The same client, with its requests counted in `traffic`.
    #[must_use]
    pub fn counted_in(mut self, traffic: &Traffic) -> Self {
        self.traffic = traffic.clone();
        self.counts = traffic.other();
        self
    }

    /// The same client, with its requests and retries counted under the name `end`.
    #[must_use]
    pub fn to_end(mut self, end: &'static str) -> Self {
        self.counts = self.traffic.of(end);
        self.budget = self.budget.counted_in(Arc::clone(&self.counts));
        self
    }

    /// Counts bytes of a response body that somebody else reads.
    pub fn received(&self, bytes: usize) {
        self.counts.add_received(bytes);
    }

    pub(crate) fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }

    /// Begins a request with this client.
    pub fn request(&self, method: Method, url: Url) -> Request {
        Request { client: self.clone(), inner: reqwest::Request::new(method, url), watch: None, fault: None }
    }

    /// Sends a request that was built elsewhere, under the same rules. A response of any status is `Ok`.
    pub async fn execute(&self, request: reqwest::Request) -> Result<Response, HttpError> {
        self.exchange(request, None).await
    }

    /// Sends a request. If there is a watch, the body of the request is the stream that it watches.
    pub(crate) async fn exchange(
        &self,
        request: reqwest::Request,
        watch: Option<Watch>,
    ) -> Result<Response, HttpError> {
        let url = request.url().clone();
        let Shared { client, streaming, connection, .. } = &*self.shared;
        if !connection.allows(&url) {
            return Err(HttpError::RefusedHost { url: redact_url(&url) });
        }
        if let Some(guard) = &connection.guard {
            if guard.judge_url(&url, connection).is_err() {
                return Err(HttpError::DeniedAddress { url: redact_url(&url) });
            }
            if is_bare(&url, connection) {
                return Err(HttpError::PlainHttp { url: redact_url(&url) });
            }
        }
        let method = request.method().clone();
        // A streamed body is counted while it is sent.
        let sent = request.body().and_then(reqwest::Body::as_bytes).map_or(0, <[u8]>::len);
        let began = Instant::now();
        let answer = match &watch {
            None => client.execute(request).await,
            Some(watch) => tokio::select! {
                answer = streaming.execute(request) => answer,
                () = watch.stalled(connection.read_timeout) => {
                    self.counts.exchanged(Outcome::Unanswered, began.elapsed());
                    let what = format!("{} s without taking a byte or answering", connection.read_timeout.as_secs());
                    return Err(HttpError::Timeout { url: redact_url(&url), what, sent: true });
                }
            },
        };
        match answer {
            Ok(inner) => {
                self.counts.exchanged(Outcome::of(inner.status()), began.elapsed());
                self.counts.add_sent(sent);
                tracing::debug!(%method, url = redact_url(&url), status = inner.status().as_u16(), "answered");
                let silence = watch.is_some().then_some(connection.read_timeout);
                Ok(Response { url, inner, silence, counts: Arc::clone(&self.counts) })
            }
            Err(error) => {
                self.counts.exchanged(Outcome::Unanswered, began.elapsed());
                let error = HttpError::from_reqwest(&url, &error);
                tracing::debug!(%method, %error, "request failed");
                Err(error)
            }
        }
    }

    /// The retry budget that all users of this client share.
    pub fn retry_budget(&self) -> &RetryBudget {
        &self.budget
    }

    /// The network connection from which the client was built.
    pub fn connection(&self) -> &NetworkConnection {
        &self.shared.connection
    }
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient").field("connection", &self.shared.connection).finish()
    }
}

/// Builds two clients: one with a read timeout, and one for streamed bodies.
fn both(connection: &NetworkConnection, machine_roots: bool) -> Result<(reqwest::Client, reqwest::Client), HttpError> {
    let silence = |builder: ClientBuilder| builder.read_timeout(connection.read_timeout);
    Ok((build(connection, machine_roots, silence)?, build(connection, machine_roots, |builder| builder)?))
}

fn build(
    connection: &NetworkConnection,
    machine_roots: bool,
    limits: impl FnOnce(ClientBuilder) -> ClientBuilder,
) -> Result<reqwest::Client, HttpError> {
    let config = |what: &str, error: &reqwest::Error| HttpError::Config {
        what: format!(
            "{what}: {}",
            std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
        ),
    };
    let mut builder = reqwest::Client::builder()
        .no_proxy()
        .user_agent(concat!("mms/", env!("CARGO_PKG_VERSION")))
        .referer(false)
        .redirect(Policy::custom(|attempt| {
            let same_origin = attempt.previous().first().is_some_and(|first| first.origin() == attempt.url().origin());
            if same_origin && attempt.previous().len() <= MAX_REDIRECTS { attempt.follow() } else { attempt.stop() }
        }))
        .connect_timeout(connection.connect_timeout);
    if let Some(proxy) = &connection.proxy {
        builder = builder.proxy(Proxy::all(proxy.expose()).map_err(|error| config("proxy", &error))?);
    }
    if let Some(pem) = &connection.extra_ca_pem {
        let certificates = Certificate::from_pem_bundle(pem.as_bytes()).map_err(|error| config("extra CA", &error))?;
        if certificates.is_empty() {
            return Err(HttpError::Config {
                what: "extra CA: there is no certificate in it; give PEM blocks".to_owned(),
            });
        }
        builder = builder.tls_certs_merge(certificates);
    } else if !machine_roots {
        builder = builder.tls_certs_only([]);
    }
    if let Some(pem) = &connection.client_identity_pem {
        // The cause is not quoted: a parser's message may contain a part of the key.
        let identity = Identity::from_pem(pem.expose_secret().as_bytes()).map_err(|_| HttpError::Config {
            what: "client identity: not a PEM certificate chain with its private key".to_owned(),
        })?;
        builder = builder.identity(identity);
    }
    builder = builder.dns_resolver(Guarded(Arc::new(connection.clone())));
    limits(builder).build().map_err(|error| config("client", &error))
}
