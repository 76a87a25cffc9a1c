//! Owns [`HttpError`]: what can go wrong with an outgoing request, each error with a stable kind. An error must never carry a
//! secret: URLs and bodies are redacted where the error is created.

use std::error::Error as StdError;
use std::time::Duration;

use reqwest::StatusCode;
use url::Url;

use crate::guard::Denied;
use crate::redact::{redact_text, redact_url};
use crate::retry::{Classify, RetryClass};

/// Why a request did not end in a usable response.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// A setting of the network connection is unusable.
    #[error("network connection: {what}")]
    Config {
        /// What is wrong, and what to write instead.
        what: String,
    },
    /// The host is not among the allowed hosts.
    #[error("host of {url} is not among the allowed hosts of the network connection; add it there if it is meant")]
    RefusedHost {
        /// The redacted URL.
        url: String,
    },
    /// The address may not be connected to. Nothing is sent there, and the error does not tell what is there.
    #[error(
        "the address of {url} is denied: metadata, link-local and loopback addresses and the operator's denied_hosts always are, private ones unless the network connection names the host"
    )]
    DeniedAddress {
        /// The redacted URL.
        url: String,
    },
    /// Plain http, which would let others read tokens and rows on the way.
    #[error(
        "{url} is plain http, where tokens and rows can be read on the way: write https, or name the host among plain_http_hosts of the network connection"
    )]
    PlainHttp {
        /// The redacted URL.
        url: String,
    },
    /// The request could not be built (URL without host, header with line breaks, body that cannot be serialised).
    #[error("request to {url} is malformed: {what}")]
    Request {
        /// The redacted URL.
        url: String,
        /// What is malformed.
        what: String,
    },
    /// No connection: the name was not found, or the host is unreachable or refused it.
    #[error("cannot connect to {url}: {what}")]
    Connect {
        /// The redacted URL.
        url: String,
        /// The chain of causes, innermost last.
        what: String,
    },
    /// The TLS handshake failed (unknown authority, wrong name, missing client certificate).
    #[error("TLS with {url} failed: {what}; check the host name and the connection's certificate authorities")]
    Tls {
        /// The redacted URL.
        url: String,
        /// The chain of causes, innermost last.
        what: String,
    },
    /// Connecting took too long, or waiting for the response or its next bytes did.
    #[error("{url} did not answer in time ({what})")]
    Timeout {
        /// The redacted URL.
        url: String,
        /// The chain of causes, innermost last.
        what: String,
        /// Whether the connection was established, so that the server may have acted on the request.
        sent: bool,
    },
    /// The connection broke after the request was sent, at least in part, or the response cannot be decoded.
    #[error("exchange with {url} failed: {what}")]
    Body {
        /// The redacted URL.
        url: String,
        /// The chain of causes, innermost last.
        what: String,
    },
    /// The response body is longer than the caller accepts.
    #[error("answer of {url} is longer than the limit of {limit} bytes")]
    TooLarge {
        /// The redacted URL.
        url: String,
        /// The caller's limit in bytes.
        limit: usize,
    },
    /// The server answered with a status other than 2xx.
    #[error("{url} answered {status}: {excerpt}")]
    Status {
        /// The redacted URL.
        url: String,
        /// The HTTP status of the response.
        status: StatusCode,
        /// The beginning of the body, redacted, at most 512 characters.
        excerpt: String,
        /// The wait that `Retry-After` asked for.
        retry_after: Option<Duration>,
    },
}

/// The stable kinds of [`HttpError`], for findings, metrics and tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the variants are those of HttpError")]
pub enum HttpErrorKind {
    Config,
    RefusedHost,
    Request,
    Connect,
    Tls,
    Timeout,
    Body,
    TooLarge,
    Status,
}

impl HttpErrorKind {
    /// The stable name of the kind.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::RefusedHost => "refused_host",
            Self::Request => "request",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Body => "body",
            Self::TooLarge => "too_large",
            Self::Status => "status",
        }
    }
}

impl HttpError {
    /// The stable kind of this error.
    pub fn kind(&self) -> HttpErrorKind {
        match self {
            Self::Config { .. } => HttpErrorKind::Config,
            Self::RefusedHost { .. } | Self::DeniedAddress { .. } | Self::PlainHttp { .. } => {
                HttpErrorKind::RefusedHost
            }
            Self::Request { .. } => HttpErrorKind::Request,
            Self::Connect { .. } => HttpErrorKind::Connect,
            Self::Tls { .. } => HttpErrorKind::Tls,
            Self::Timeout { .. } => HttpErrorKind::Timeout,
            Self::Body { .. } => HttpErrorKind::Body,
            Self::TooLarge { .. } => HttpErrorKind::TooLarge,
            Self::Status { .. } => HttpErrorKind::Status,
        }
    }

    /// Whether the server may have acted on the request. If not, even a request that is not idempotent may be sent again.
    pub fn may_have_acted(&self) -> bool {
        match self {
            Self::Config { .. }
            | Self::RefusedHost { .. }
            | Self::DeniedAddress { .. }
            | Self::PlainHttp { .. }
            | Self::Request { .. }
            | Self::Connect { .. }
            | Self::Tls { .. } => false,
            Self::Timeout { sent, .. } => *sent,
            Self::Body { .. } | Self::TooLarge { .. } | Self::Status { .. } => true,
        }
    }

    pub(crate) fn from_reqwest(url: &Url, error: &reqwest::Error) -> Self {
        let (url, what) = (redact_url(url), causes(error));
        if is_denied(error) {
            Self::DeniedAddress { url }
        } else if is_tls(error) {
            Self::Tls { url, what }
        } else if error.is_timeout() {
            Self::Timeout { url, what, sent: !error.is_connect() }
        } else if error.is_connect() {
            Self::Connect { url, what }
        } else if error.is_builder() {
            Self::Request { url, what }
        } else {
            Self::Body { url, what }
        }
    }
}

impl Classify for HttpError {
    fn retry_class(&self) -> RetryClass {
        match self {
            Self::Connect { .. } | Self::Timeout { .. } | Self::Body { .. } => RetryClass::Transient,
            Self::Status { status, retry_after, .. } => match status.as_u16() {
                429 | 503 => RetryClass::Throttled { retry_after: *retry_after },
                408 | 500 | 502 | 504 => RetryClass::Transient,
                _ => RetryClass::Permanent,
            },
            Self::Config { .. }
            | Self::RefusedHost { .. }
            | Self::DeniedAddress { .. }
            | Self::PlainHttp { .. }
            | Self::Request { .. }
            | Self::Tls { .. }
            | Self::TooLarge { .. } => RetryClass::Permanent,
        }
    }
}

/// The chain of causes below `error`. The outermost text is left out, since reqwest writes the whole URL into it.
fn causes(error: &reqwest::Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if parts.last() != Some(&text) {
            parts.push(text);
        }
        next = cause.source();
    }
    if parts.is_empty() {
        parts.push(if error.is_timeout() { "timed out".to_owned() } else { "no cause given".to_owned() });
    }
    redact_text(&parts.join(": "))
}

fn is_denied(error: &reqwest::Error) -> bool {
    let mut next = error.source();
    while let Some(cause) = next {
        if cause.is::<Denied>() {
            return true;
        }
        next = cause.source();
    }
    false
}

fn is_tls(error: &reqwest::Error) -> bool {
    let mut next = error.source();
    while let Some(cause) = next {
        if cause.is::<rustls::Error>() {
            return true;
        }
        // `io::Error::source()` skips the wrapped error and returns that error's source.
        if let Some(inner) = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            if inner.is::<rustls::Error>() {
                return true;
            }
            next = Some(inner as &(dyn StdError + 'static));
            continue;
        }
        next = cause.source();
    }
    false
}
