//! Owns [`HttpClient`]: the one place where an outgoing client is built and where a request leaves the process.

use std::fmt;
use std::sync::Arc;

use reqwest::redirect::Policy;
use reqwest::{Certificate, Identity, Method, Proxy};
use secrecy::ExposeSecret;
use url::Url;

use crate::redact::redact_url;
use crate::retry::RetryBudget;
use crate::{HttpError, NetworkConnection, Request, Response};

/// Redirects followed within one host.
const MAX_REDIRECTS: usize = 5;

/// Makes aws-lc the TLS provider of this process. Call it first in `main`; calling it again does nothing.
pub fn install_crypto_provider() {
    // An error means that a provider is already installed: that one stays.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
}

/// The outgoing client of one network connection. Clones share connections and the retry budget.
#[derive(Clone)]
pub struct HttpClient {
    shared: Arc<Shared>,
}

struct Shared {
    client: reqwest::Client,
    connection: NetworkConnection,
    budget: RetryBudget,
}

impl HttpClient {
    /// Builds the client, or says which setting of the connection is unusable.
    pub fn new(connection: &NetworkConnection) -> Result<Self, HttpError> {
        install_crypto_provider();
        let client = match build(connection, true) {
            // A machine without any certificate authority can still reach plain HTTP on loopback; TLS then fails, saying why.
            Err(error) if connection.extra_ca_pem.is_none() => {
                tracing::warn!(%error, "no certificate authorities on this machine: https needs them, or an extra CA");
                build(connection, false)?
            }
            other => other?,
        };
        Ok(Self { shared: Arc::new(Shared { client, connection: connection.clone(), budget: RetryBudget::default() }) })
    }

    /// Starts a request.
    pub fn request(&self, method: Method, url: Url) -> Request {
        Request { client: self.clone(), inner: reqwest::Request::new(method, url), fault: None }
    }

    /// Sends a request that was made elsewhere, under the same rules. Any status is an answer.
    pub async fn execute(&self, request: reqwest::Request) -> Result<Response, HttpError> {
        let url = request.url().clone();
        if !self.shared.connection.allows(&url) {
            return Err(HttpError::RefusedHost { url: redact_url(&url) });
        }
        let method = request.method().clone();
        match self.shared.client.execute(request).await {
            Ok(inner) => {
                tracing::debug!(%method, url = redact_url(&url), status = inner.status().as_u16(), "answered");
                Ok(Response { url, inner })
            }
            Err(error) => {
                let error = HttpError::from_reqwest(&url, &error);
                tracing::debug!(%method, %error, "not answered");
                Err(error)
            }
        }
    }

    /// The retry budget that all users of this client share.
    pub fn retry_budget(&self) -> &RetryBudget {
        &self.shared.budget
    }

    /// The connection it was built from.
    pub fn connection(&self) -> &NetworkConnection {
        &self.shared.connection
    }
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient").field("connection", &self.shared.connection).finish()
    }
}

fn build(connection: &NetworkConnection, machine_roots: bool) -> Result<reqwest::Client, HttpError> {
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
        .connect_timeout(connection.connect_timeout)
        .read_timeout(connection.read_timeout);
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
        // The cause is not quoted: parsers may show a piece of the key.
        let identity = Identity::from_pem(pem.expose_secret().as_bytes()).map_err(|_| HttpError::Config {
            what: "client identity: not a PEM certificate chain with its private key".to_owned(),
        })?;
        builder = builder.identity(identity);
    }
    for (name, address) in &connection.host_overrides {
        builder = builder.resolve(name, *address);
    }
    builder.build().map_err(|error| config("client", &error))
}
