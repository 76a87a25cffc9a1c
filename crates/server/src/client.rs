//! Channels to other services. A channel connects when it is first used, and sends along the suite's token, the trace,
//! the request id and what is left of the caller's deadline.

mod files;

use std::path::PathBuf;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, Response};
use mms_proto::ApiError;
use serde::{Deserialize, Serialize};
use tonic::body::Body;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tower::Service;
use tracing::Instrument;

pub(crate) use self::files::Channels;
use self::files::{Files, Made};
use crate::config::Faults;
use crate::context::{CallContext, REQUEST_ID};
use crate::propagate;
use crate::tokens::{SuiteToken, TokensError};

/// How to reach another service.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClientConfig {
    /// URL of the service, `http://` or `https://`.
    pub endpoint: String,
    /// Authority that signed the service's certificate, PEM. Unset: the authorities that the system trusts
    /// (`SSL_CERT_FILE`, else the usual places).
    pub ca_file: Option<PathBuf>,
    /// Certificate chain that this process presents, PEM, where the service demands one.
    pub cert_file: Option<PathBuf>,
    /// Private key of `cert_file`, PEM.
    pub key_file: Option<PathBuf>,
    /// Name in the service's certificate, if it is not the host of the URL.
    pub server_name: Option<String>,
    /// File that holds the token to send, mode 0600. Unset: the token of the suite's own services.
    pub token_file: Option<PathBuf>,
    /// Send the token without TLS even to other machines.
    pub insecure: bool,
    /// Deadline of a call whose request has none, in seconds.
    pub deadline_seconds: u64,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            endpoint: String::new(),
            ca_file: None,
            cert_file: None,
            key_file: None,
            server_name: None,
            token_file: None,
            insecure: false,
            deadline_seconds: 60,
        }
    }
}

/// Why a channel could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// A value of the configuration is wrong.
    #[error(transparent)]
    Config(#[from] Faults),
    /// The token file could not be read.
    #[error(transparent)]
    Token(#[from] TokensError),
    /// A certificate or key could not be read.
    #[error("{}: {source}", .file.display())]
    File {
        /// The file as configured.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The transport rejected the endpoint or its TLS settings.
    #[error("channel to {endpoint}: {source}")]
    Transport {
        /// URL of the service.
        endpoint: String,
        /// What the transport said.
        source: tonic::transport::Error,
    },
}

impl ClientConfig {
    /// The configuration for a service at this URL; everything else has its default.
    pub fn to(endpoint: impl Into<String>) -> Self {
        Self { endpoint: endpoint.into(), ..Self::default() }
    }

    /// Adds a fault for each wrong value; `key` is the path of this section in the configuration.
    pub fn check(&self, key: &str, faults: &mut Faults) {
        let Ok(uri) = self.endpoint.parse::<http::Uri>() else {
            return faults.add(&format!("{key}.endpoint"), format!("{:?} is not a URL", self.endpoint));
        };
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let loopback = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        match uri.scheme_str() {
            Some("http") if loopback || self.insecure => {}
            Some("http") => {
                let text = format!("{host} is another machine: use https://, or set insecure = true");
                faults.add(&format!("{key}.endpoint"), text);
            }
            Some("https") => {}
            _ => faults.add(&format!("{key}.endpoint"), "must begin with http:// or https://"),
        }
        if self.cert_file.is_some() != self.key_file.is_some() {
            faults.add(&format!("{key}.cert_file"), "goes together with key_file: one is missing");
        }
        for (name, file) in [("ca_file", &self.ca_file), ("cert_file", &self.cert_file)] {
            if file.is_some() && uri.scheme_str() != Some("https") {
                faults.add(&format!("{key}.{name}"), "needs an endpoint of https://");
            }
        }
        if !(1..=86_400).contains(&self.deadline_seconds) {
            faults.add(&format!("{key}.deadline_seconds"), "must be from 1 to 86400 (a day)");
        }
    }
}

/// A channel for generated clients: `DataSourceServiceClient::new(client.clone())`. Cheap to clone. When its
/// certificate or token files change, they are read again for the next call.
#[derive(Clone)]
pub struct Client {
    made: Arc<Made>,
    /// This clone's own handle on the channel: readiness belongs to a handle, and is good for one call.
    channel: Channel,
    files: Arc<Files>,
    /// The service that calls, for error texts; empty in a process that is no service.
    caller: &'static str,
}

impl Client {
    /// A channel that connects when it is first used, and again whenever the connection was lost. It sends the token
    /// `suite`, unless the configuration names a token file.
    pub fn new(config: &ClientConfig, suite: Option<&SuiteToken>) -> Result<Self, ClientError> {
        let mut faults = Faults::default();
        config.check("client", &mut faults);
        if !faults.is_empty() {
            return Err(faults.into());
        }
        let files = Arc::new(Files::read(config, suite)?);
        let made = files.current(Instant::now());
        Ok(Self { channel: made.channel.clone(), made, files, caller: "" })
    }

    /// The same channel, used by the service `caller`, which error texts then name.
    pub(crate) fn used_by(self, caller: &'static str) -> Self {
        Self { caller, ..self }
    }

    /// The URL of the service.
    pub fn endpoint(&self) -> &str {
        self.files.endpoint()
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("endpoint", &self.endpoint()).finish_non_exhaustive()
    }
}

impl Service<Request<Body>> for Client {
    type Response = Response<Body>;
    type Error = Status;
    type Future = BoxFuture<'static, Result<Response<Body>, Status>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        let made = self.files.current(Instant::now());
        if !Arc::ptr_eq(&made, &self.made) {
            self.channel = made.channel.clone();
            self.made = made;
        }
        self.channel.poll_ready(cx).map_err(|error| unanswered(self.caller, "", self.files.endpoint(), error))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let path = request.uri().path().to_owned();
        let span = tracing::debug_span!(
            "send",
            otel.name = %path.trim_start_matches('/'),
            otel.kind = "client",
            rpc.system = "grpc",
            method = %path,
        );
        let context = CallContext::current();
        let streams = mms_proto::descriptor::method(&path).is_some_and(|method| method.streams);
        let headers = request.headers_mut();
        if let Some(authorization) = self.files.authorization(&self.made) {
            headers.entry(AUTHORIZATION).or_insert(authorization);
        }
        if let Some(id) = context.as_ref().and_then(|context| HeaderValue::from_str(&context.request_id).ok()) {
            headers.entry(REQUEST_ID).or_insert(id);
        }
        if !headers.contains_key("grpc-timeout") {
            let own = (!streams).then_some(self.files.deadline());
            let left = context.as_ref().and_then(CallContext::remaining);
            let timeout = own.into_iter().chain(left).min();
            if let Some(value) = timeout.and_then(|time| HeaderValue::from_str(&format_timeout(time)).ok()) {
                headers.insert("grpc-timeout", value);
            }
        }
        propagate::inject(&span, headers);
        // The handle that was polled ready makes this call; its clone is for the next one.
        let clone = self.channel.clone();
        let mut ready = std::mem::replace(&mut self.channel, clone);
        let (files, caller) = (Arc::clone(&self.files), self.caller);
        let call = async move {
            ready.call(request).await.map_err(|error| unanswered(caller, &path, files.endpoint(), error))
        };
        Box::pin(call.instrument(span))
    }
}

/// The status of a call that got no answer: it names the service, its URL and the cause. An expired deadline keeps its
/// own status.
fn unanswered(caller: &str, path: &str, endpoint: &str, error: tonic::transport::Error) -> Status {
    let cause = root_cause(&error);
    let status = Status::from_error(Box::new(error));
    let service = service_of(path);
    let there = format!("the {service} at {endpoint}");
    let text = match (status.code(), caller) {
        (Code::Unavailable, "") => format!("{there} cannot be reached: {cause}"),
        (Code::Unavailable, caller) => format!("the {caller} cannot reach {there}: {cause}"),
        (Code::Unknown | Code::Internal, "") => format!("{there} broke the connection: {cause}"),
        (Code::Unknown | Code::Internal, caller) => format!("{there} broke the connection of the {caller}: {cause}"),
        _ => return status,
    };
    let mut named = Status::from(ApiError::unavailable(service, text));
    // `ApiError::from_status` recognises a broken connection by its cause.
    named.set_source(Arc::new(status));
    named
}

/// The service of a method's path: `registry` for `/mms.registry.v1.SessionService/AcquireUse`.
fn service_of(path: &str) -> &str {
    path.strip_prefix("/mms.").and_then(|rest| rest.split('.').next()).unwrap_or("service")
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

/// Formats `TimeoutValue TimeoutUnit` of the gRPC protocol, with at most eight digits.
fn format_timeout(timeout: Duration) -> String {
    let millis = timeout.as_millis().max(1);
    if millis < 100_000_000 { format!("{millis}m") } else { format!("{}S", timeout.as_secs().min(99_999_999)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_named_by_the_path_of_the_call() {
        assert_eq!(service_of("/mms.registry.v1.SessionService/AcquireUse"), "registry");
        assert_eq!(service_of("/grpc.health.v1.Health/Check"), "service");
    }

    #[tokio::test]
    async fn nobody_there_is_unavailable_and_says_who_and_where() {
        let mut client = Client::new(&ClientConfig::to("http://127.0.0.1:1"), None).unwrap();
        let request = Request::post("/mms.registry.v1.SessionService/AcquireUse").body(Body::default()).unwrap();
        std::future::poll_fn(|cx| client.poll_ready(cx)).await.unwrap();
        let status = client.call(request).await.unwrap_err();
        let error = ApiError::from_status(&status);
        assert_eq!((error.code, error.reason), (Code::Unavailable, mms_proto::ErrorReason::Unavailable));
        assert_eq!(error.metadata["service"], "registry");
        let told = "the registry at http://127.0.0.1:1 cannot be reached: Connection refused";
        assert!(error.message.starts_with(told), "{}", error.message);
        assert!(error.is_transient());

        let mut client = client.used_by("scheduler");
        let request = Request::post("/mms.registry.v1.SessionService/AcquireUse").body(Body::default()).unwrap();
        std::future::poll_fn(|cx| client.poll_ready(cx)).await.unwrap();
        let told = client.call(request).await.unwrap_err().message().to_owned();
        let expected = "the scheduler cannot reach the registry at http://127.0.0.1:1: Connection refused";
        assert!(told.starts_with(expected), "{told}");
    }

    #[test]
    fn a_timeout_is_written_as_the_protocol_has_it() {
        let cases = [
            (Duration::from_millis(250), "250m"),
            (Duration::from_micros(10), "1m"),
            (Duration::from_secs(99_999), "99999000m"),
            (Duration::from_secs(100_000), "100000S"),
            (Duration::MAX, "99999999S"),
        ];
        for (timeout, text) in cases {
            assert_eq!(format_timeout(timeout), text);
        }
    }
}
