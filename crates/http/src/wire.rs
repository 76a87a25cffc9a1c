//! Owns [`Request`] and [`Response`]: one exchange with a server. A response's body is only read up to a stated limit.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use futures::{Stream, TryStreamExt};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Body, StatusCode};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use url::Url;

use crate::redact::{redact_text, redact_url};
use crate::stall::Watch;
use crate::{Counts, HttpClient, HttpError};

/// Maximum number of characters of a body in an error.
const EXCERPT_CHARS: usize = 512;
/// Maximum number of bytes that are read of an error's body.
const ERROR_BODY_LIMIT: usize = 64 * 1024;

/// A request under construction; [`Request::send`] checks the host and sends it.
#[must_use = "a request does nothing until it is sent"]
pub struct Request {
    pub(crate) client: HttpClient,
    pub(crate) inner: reqwest::Request,
    pub(crate) watch: Option<Watch>,
    pub(crate) fault: Option<String>,
}

impl Request {
    /// Sets a header, replacing one of the same name.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value)) {
            (Ok(name), Ok(value)) => {
                self.inner.headers_mut().insert(name, value);
            }
            _ => self.fault = Some(format!("header {name:?} has a character that headers cannot carry")),
        }
        self
    }

    /// Sets headers, replacing those of the same names.
    pub fn headers(mut self, headers: HeaderMap) -> Self {
        for (name, value) in headers {
            if let Some(name) = name {
                self.inner.headers_mut().insert(name, value);
            }
        }
        self
    }

    /// Sets `Authorization: Bearer …`.
    pub fn bearer(mut self, token: &SecretString) -> Self {
        match HeaderValue::from_str(&format!("Bearer {}", token.expose_secret())) {
            Ok(mut value) => {
                value.set_sensitive(true);
                self.inner.headers_mut().insert(AUTHORIZATION, value);
            }
            Err(_) => self.fault = Some("the token has a character that headers cannot carry".to_owned()),
        }
        self
    }

    /// Sets `Authorization: Basic …`.
    pub fn basic(mut self, user: &str, password: &SecretString) -> Self {
        let pair = Zeroizing::new(format!("{user}:{}", password.expose_secret()));
        let text = Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())));
        match HeaderValue::from_str(&text) {
            Ok(mut value) => {
                value.set_sensitive(true);
                self.inner.headers_mut().insert(AUTHORIZATION, value);
            }
            Err(_) => self.fault = Some("user and password cannot be carried by a header".to_owned()),
        }
        self
    }

    /// Sets a JSON body and its content type.
    pub fn json<T: Serialize + ?Sized>(mut self, value: &T) -> Self {
        match serde_json::to_vec(value) {
            Ok(bytes) => {
                self.inner.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                *self.inner.body_mut() = Some(bytes.into());
            }
            Err(error) => self.fault = Some(format!("the body is no JSON: {error}")),
        }
        self
    }

    /// Sets the body: bytes or text.
    pub fn body(mut self, body: impl Into<Body>) -> Self {
        *self.inner.body_mut() = Some(body.into());
        self
    }

    /// Sets a body that is produced while it is sent. It may take any time: the connection's read timeout then applies to the
    /// server's silence only.
    pub fn stream<E>(mut self, body: impl Stream<Item = Result<Bytes, E>> + Send + 'static) -> Self
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
    {
        let counts = Arc::clone(self.client.counts());
        let (watch, body) = Watch::over(body.inspect_ok(move |piece| counts.add_sent(piece.len())));
        *self.inner.body_mut() = Some(Body::wrap_stream(body));
        self.watch = Some(watch);
        self
    }

    /// Limits the whole exchange, from connecting to the last byte of the response body.
    pub fn timeout(mut self, limit: Duration) -> Self {
        *self.inner.timeout_mut() = Some(limit);
        self
    }

    /// The URL as it will be sent, for signing.
    pub fn url(&self) -> &Url {
        self.inner.url()
    }

    /// Sends the request. A response of any status is `Ok`: see [`Response::success`].
    pub async fn send(self) -> Result<Response, HttpError> {
        if let Some(what) = self.fault {
            return Err(HttpError::Request { url: redact_url(self.inner.url()), what });
        }
        self.client.exchange(self.inner, self.watch).await
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Headers are left out: some servers are authenticated by headers whose names redaction does not know.
        f.debug_struct("Request")
            .field("method", self.inner.method())
            .field("url", &redact_url(self.inner.url()))
            .finish()
    }
}

/// A response whose body has not been read yet.
pub struct Response {
    pub(crate) url: Url,
    pub(crate) inner: reqwest::Response,
    /// Limit for silence before the next bytes of the body, if the underlying client has none.
    pub(crate) silence: Option<Duration>,
    pub(crate) counts: Arc<Counts>,
}

impl Response {
    /// The HTTP status of the response.
    pub fn status(&self) -> StatusCode {
        self.inner.status()
    }

    /// The headers of the response.
    pub fn headers(&self) -> &HeaderMap {
        self.inner.headers()
    }

    /// A header as text; `None` if it is absent or not text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.inner.headers().get(name).and_then(|value| value.to_str().ok())
    }

    /// The URL that answered; another than the requested one after redirects within the host.
    pub fn url(&self) -> &Url {
        self.inner.url()
    }

    /// The wait that `Retry-After` asks for, in seconds or as a date.
    pub fn retry_after(&self) -> Option<Duration> {
        parse_retry_after(self.header(RETRY_AFTER.as_str())?, SystemTime::now())
    }

    /// The next piece of the body, `None` at its end. For bodies larger than memory.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, HttpError> {
        let chunk = self.inner.chunk();
        let chunk = match self.silence {
            None => chunk.await,
            Some(limit) => tokio::time::timeout(limit, chunk).await.map_err(|_| HttpError::Timeout {
                url: redact_url(&self.url),
                what: format!("{} s without a byte of the answer", limit.as_secs()),
                sent: true,
            })?,
        };
        let chunk = chunk.map_err(|error| HttpError::from_reqwest(&self.url, &error))?;
        self.counts.add_received(chunk.as_ref().map_or(0, Bytes::len));
        Ok(chunk)
    }

    /// The whole body; an error if it is longer than `limit` bytes.
    pub async fn bytes(mut self, limit: usize) -> Result<Bytes, HttpError> {
        let (body, complete) = self.up_to(limit).await?;
        if complete { Ok(body) } else { Err(HttpError::TooLarge { url: redact_url(&self.url), limit }) }
    }

    /// The whole body as text; bytes that are not UTF-8 become U+FFFD.
    pub async fn text(self, limit: usize) -> Result<String, HttpError> {
        Ok(String::from_utf8_lossy(&self.bytes(limit).await?).into_owned())
    }

    /// The response itself if the status is 2xx, else [`HttpError::Status`] with the beginning of the body, redacted.
    pub async fn success(mut self) -> Result<Self, HttpError> {
        if self.status().is_success() {
            return Ok(self);
        }
        let retry_after = self.retry_after();
        // The status stands even if the error's body cannot be read.
        let (body, _) = self.up_to(ERROR_BODY_LIMIT).await.unwrap_or_default();
        Err(HttpError::Status {
            url: redact_url(&self.url),
            status: self.status(),
            excerpt: excerpt(&body),
            retry_after,
        })
    }

    /// The underlying reqwest response, for libraries that use reqwest themselves.
    pub fn into_reqwest(self) -> reqwest::Response {
        self.inner
    }

    /// At most `limit` bytes of the body, and whether that was all of it.
    pub async fn up_to(&mut self, limit: usize) -> Result<(Bytes, bool), HttpError> {
        let mut body = BytesMut::new();
        while let Some(chunk) = self.chunk().await? {
            if body.len() + chunk.len() > limit {
                body.extend_from_slice(&chunk[..limit - body.len()]);
                return Ok((body.freeze(), false));
            }
            body.extend_from_slice(&chunk);
        }
        Ok((body.freeze(), true))
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response").field("url", &redact_url(&self.url)).field("status", &self.status()).finish()
    }
}

/// The beginning of a body as an error may contain it: redacted, on one line.
pub(crate) fn excerpt(body: &[u8]) -> String {
    let text = redact_text(&String::from_utf8_lossy(body));
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(EXCERPT_CHARS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None if line.is_empty() => "(empty body)".to_owned(),
        None => line,
    }
}

fn parse_retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    match value.parse::<u64>() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => Some(httpdate::parse_http_date(value).ok()?.duration_since(now).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        assert_eq!(parse_retry_after(" 7 ", now), Some(Duration::from_secs(7)));
        assert_eq!(parse_retry_after("Sun, 06 Nov 1994 08:49:47 GMT", now), Some(Duration::from_secs(10)));
        assert_eq!(parse_retry_after("Sun, 06 Nov 1994 08:49:07 GMT", now), Some(Duration::ZERO));
        assert_eq!(parse_retry_after("soon", now), None);
    }

    #[test]
    fn an_excerpt_is_short_and_clean() {
        assert_eq!(excerpt(b"a\n  b"), "a b");
        assert_eq!(excerpt(b""), "(empty body)");
        assert_eq!(excerpt("é".repeat(2000).as_bytes()).chars().count(), EXCERPT_CHARS + 1);
        assert!(!excerpt(br#"{"token":"topsecret99"}"#).contains("topsecret99"));
    }
}
