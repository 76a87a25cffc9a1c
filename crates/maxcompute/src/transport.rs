//! One endpoint and its signed requests. Owns the signature version (V4, with a permanent fallback to V2), the clock's offset,
//! reading errors from bodies, and retries by class. It does not know what is asked or what the answers mean.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use mms_http::redact::redact_text;
use mms_http::retry::{RetryPolicy, run};
use mms_http::{HttpClient, Method, Request, Response};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::ExposeSecret;
use tokio::time::Instant;
use url::Url;

use crate::account::{Account, Accounts};
use crate::error::{MaxComputeError, Refusal, RefusalKind};
use crate::sign::{Scope, Signable, authorization, canonical};
use crate::xml::Element;

/// Maximum size of an answer that is read as a whole, in bytes.
pub(crate) const ANSWER_LIMIT: usize = 32 * 1024 * 1024;
/// Maximum number of bytes that are read of an error's body.
const ERROR_LIMIT: usize = 64 * 1024;
/// Maximum time that one block may be under way, and during which it is retried: an upload is given two hours at most.
#[cfg(feature = "arrow")]
const STREAM_LIMIT: Duration = Duration::from_secs(2 * 3600);
/// The characters that are not percent-encoded in a URL.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
const USER_AGENT: &str = concat!("mms/", env!("CARGO_PKG_VERSION"));

/// A request before it is signed.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub method: Method,
    /// Path segments below the endpoint, decoded.
    pub path: Vec<String>,
    /// Parameters, decoded; an empty value is sent as the bare name.
    pub query: Vec<(String, String)>,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// When to stop retrying; the policy's own bounds apply as well.
    pub deadline: Option<Instant>,
}

impl Call {
    pub fn new(method: Method, path: &[&str]) -> Self {
        let path = path.iter().map(|segment| (*segment).to_owned()).collect();
        Self { method, path, query: Vec::new(), headers: Vec::new(), body: Vec::new(), deadline: None }
    }

    pub fn param(mut self, name: &str, value: impl Into<String>) -> Self {
        self.query.push((name.to_owned(), value.into()));
        self
    }

    /// Adds the parameter if there is a value.
    pub fn param_if(self, name: &str, value: Option<impl Into<String>>) -> Self {
        match value {
            Some(value) => self.param(name, value),
            None => self,
        }
    }

    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub fn xml(mut self, body: String) -> Self {
        self.body = body.into_bytes();
        self.header("Content-Type", "application/xml")
    }

    /// The name of this request in errors.
    pub fn what(&self) -> String {
        format!("{} /{}", self.method, self.path.join("/"))
    }
}

/// An endpoint, and the account that speaks to it.
#[derive(Debug)]
pub(crate) struct Transport {
    http: HttpClient,
    endpoint: Url,
    accounts: Accounts,
    region: Option<String>,
    retry: RetryPolicy,
    /// Set for good once the endpoint has refused V4.
    v2_only: AtomicBool,
    /// What must be added to this machine's clock to get the server's, in seconds.
    clock_offset: AtomicI64,
}

impl Transport {
    pub fn new(
        http: HttpClient,
        endpoint: Url,
        accounts: Accounts,
        region: Option<String>,
        retry: RetryPolicy,
    ) -> Self {
        let (v2_only, clock_offset) = (AtomicBool::new(false), AtomicI64::new(0));
        Self { http, endpoint, accounts, region, retry, v2_only, clock_offset }
    }

    #[cfg(feature = "arrow")]
    pub fn endpoint(&self) -> &str {
        self.endpoint.as_str()
    }

    pub fn retry(&self) -> &RetryPolicy {
        &self.retry
    }

    /// Sends a request that may be repeated, until it succeeds or the policy stops.
    pub async fn call(&self, call: &Call) -> Result<Response, MaxComputeError> {
        self.call_watched(call, |_| {}).await
    }

    /// Sends a request as [`Transport::call`] does, and shows every failure to `seen`, also those after which it is retried.
    pub async fn call_watched(
        &self,
        call: &Call,
        seen: impl Fn(&MaxComputeError),
    ) -> Result<Response, MaxComputeError> {
        run(&self.retry, self.http.retry_budget(), call.deadline, |_| async {
            self.once(call).await.inspect_err(|error| seen(error))
        })
        .await
    }

    /// The retry state of one block, whose transfer may take as long as an upload may.
    #[cfg(feature = "arrow")]
    pub fn block_attempts(&self) -> mms_http::retry::Attempts {
        let policy = RetryPolicy { total: STREAM_LIMIT, ..self.retry.clone() };
        mms_http::retry::Attempts::new(policy, self.http.retry_budget().clone(), None)
    }

    /// Sends a request once. It is repeated only if the server refused the version of its signature, the clock, or an account
    /// that has been renewed.
    pub async fn once(&self, call: &Call) -> Result<Response, MaxComputeError> {
        let (mut learned, mut renewed) = (false, false);
        loop {
            let (number, account) = self.accounts.present();
            let mut request = self.request(call, &account);
            if !call.body.is_empty() {
                request = request.body(call.body.clone());
            } else if call.method != Method::GET {
                request = request.header("Content-Length", "0");
            }
            match self.exchange(call, request).await {
                Err(error) if !learned && self.learn(&error) => learned = true,
                Err(error) if !renewed && self.renew(&error, number).await => renewed = true,
                other => return other,
            }
        }
    }

    /// Sends a request whose body can be read only once.
    #[cfg(feature = "arrow")]
    pub async fn stream(
        &self,
        call: &Call,
        body: impl futures::Stream<Item = std::io::Result<bytes::Bytes>> + Send + 'static,
    ) -> Result<Response, MaxComputeError> {
        let (number, account) = self.accounts.present();
        let request = self.request(call, &account).stream(body).timeout(STREAM_LIMIT);
        let mut answer = self.exchange(call, request).await;
        if let Err(error) = &mut answer {
            // The body is used up, so this request is not repeated; what was learned serves the caller's next one.
            self.learn(error);
            if self.renew(error, number).await
                && let MaxComputeError::Refused(refusal) = error
            {
                refusal.kind = RefusalKind::Transient;
            }
        }
        answer
    }

    /// Sends a request and reads the whole body as text.
    pub async fn text(&self, call: &Call) -> Result<String, MaxComputeError> {
        let response = self.call(call).await?;
        text(call, response).await
    }

    /// Sends a request and reads the whole body as XML.
    pub async fn xml(&self, call: &Call) -> Result<Element, MaxComputeError> {
        let response = self.call(call).await?;
        let request_id = request_id(&response);
        let body = text(call, response).await?;
        Element::parse(&body).map_err(|why| MaxComputeError::Answer { what: call.what(), why, request_id })
    }

    /// Learns from a refusal. True if the same request is worth another try.
    fn learn(&self, error: &MaxComputeError) -> bool {
        let MaxComputeError::Refused(refusal) = error else { return false };
        if self.region.is_some() && refuses_v4(refusal) {
            if !self.v2_only.swap(true, Ordering::Relaxed) {
                tracing::info!(
                    endpoint = %self.endpoint,
                    code = refusal.code,
                    "endpoint refuses V4 signatures; using V2 from now on"
                );
            }
            return true;
        }
        // The offset itself was taken from the answer's Date header.
        refusal.code == "RequestTimeTooSkewed" && self.clock_offset.load(Ordering::Relaxed) != 0
    }

    /// Whether the account with this number was refused and there is another one now.
    async fn renew(&self, error: &MaxComputeError, number: u64) -> bool {
        let refused = error.refusal() == Some(RefusalKind::Unauthenticated);
        let renewed = refused && self.accounts.renew(number).await;
        if renewed {
            tracing::info!(endpoint = %self.endpoint, %error, "the account was renewed");
        }
        renewed
    }

    fn request(&self, call: &Call, account: &Account) -> Request {
        let mut request = self.http.request(call.method.clone(), self.url(call));
        for (name, value) in self.signed_headers(call, account) {
            request = request.header(&name, &value);
        }
        request
    }

    async fn exchange(&self, call: &Call, request: Request) -> Result<Response, MaxComputeError> {
        let sent = request.send().await;
        let response = sent.map_err(|source| MaxComputeError::Http { what: call.what(), source })?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(self.refusal(call, response).await)
    }

    fn url(&self, call: &Call) -> Url {
        let mut url = self.endpoint.clone();
        let encode = |text: &str| utf8_percent_encode(text, PLAIN).to_string();
        let path: String = call.path.iter().map(|segment| format!("/{}", encode(segment))).collect();
        url.set_path(&format!("{}{path}", self.endpoint.path().trim_end_matches('/')));
        let pair = |(name, value): &(String, String)| match value.as_str() {
            "" => encode(name),
            value => format!("{}={}", encode(name), encode(value)),
        };
        let query: Vec<String> = call.query.iter().map(pair).collect();
        url.set_query((!query.is_empty()).then(|| query.join("&")).as_deref());
        url
    }

    fn signed_headers(&self, call: &Call, account: &Account) -> Vec<(String, String)> {
        let offset = self.clock_offset.load(Ordering::Relaxed);
        let shift = Duration::from_secs(offset.unsigned_abs());
        let now = if offset < 0 { SystemTime::now() - shift } else { SystemTime::now() + shift };
        let mut headers = call.headers.clone();
        headers.push(("Date".to_owned(), httpdate::fmt_http_date(now)));
        headers.push(("User-Agent".to_owned(), USER_AGENT.to_owned()));
        headers.push(("x-odps-user-agent".to_owned(), USER_AGENT.to_owned()));
        match account {
            Account::Bearer(token) => {
                headers.push(("x-odps-bearer-token".to_owned(), token.expose_secret().to_owned()));
            }
            Account::AccessKey { access_id, secret, sts_token } => {
                let path = format!("/{}", call.path.join("/"));
                let signable =
                    Signable { method: call.method.as_str(), path: &path, query: &call.query, headers: &headers };
                let value = authorization(access_id, secret, self.scope(now).as_ref(), &canonical(&signable));
                headers.push(("Authorization".to_owned(), value));
                if let Some(token) = sts_token {
                    headers.push(("authorization-sts-token".to_owned(), token.expose_secret().to_owned()));
                }
            }
        }
        headers
    }

    fn scope(&self, now: SystemTime) -> Option<Scope> {
        let region = self.region.clone().filter(|_| !self.v2_only.load(Ordering::Relaxed))?;
        let day = jiff::Timestamp::try_from(now).ok()?.strftime("%Y%m%d").to_string();
        Some(Scope { day, region })
    }

    async fn refusal(&self, call: &Call, mut response: Response) -> MaxComputeError {
        let status = response.status().as_u16();
        let request_id = request_id(&response);
        let server_clock = response.header("date").and_then(|date| httpdate::parse_http_date(date).ok());
        let retry_after = response.retry_after();
        // The refusal stands even if its body cannot be read.
        let body = response.up_to(ERROR_LIMIT).await.map(|(bytes, _)| bytes).unwrap_or_default();
        let told = read_error(&String::from_utf8_lossy(&body));
        let code = told.code.unwrap_or_else(|| format!("HTTP {status}"));
        if code == "RequestTimeTooSkewed"
            && let Some(server) = server_clock
        {
            self.clock_offset.store(seconds_from_to(SystemTime::now(), server), Ordering::Relaxed);
        }
        MaxComputeError::Refused(Box::new(Refusal {
            what: call.what(),
            status,
            kind: RefusalKind::of(status, &code),
            code,
            message: told.message,
            request_id: request_id.or(told.request_id),
            hold: told.hold.or(retry_after),
        }))
    }
}

/// Reads the whole body as text.
pub(crate) async fn text(call: &Call, response: Response) -> Result<String, MaxComputeError> {
    response.text(ANSWER_LIMIT).await.map_err(|source| MaxComputeError::Http { what: call.what(), source })
}

/// The id by which the service's operators find the request.
pub(crate) fn request_id(response: &Response) -> Option<String> {
    response.header("x-odps-request-id").map(redact_text)
}

fn seconds_from_to(from: SystemTime, to: SystemTime) -> i64 {
    let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(0);
    match to.duration_since(from) {
        Ok(ahead) => seconds(ahead),
        Err(behind) => -seconds(behind.duration()),
    }
}

/// Whether this is one of the answers by which servers without V4 are recognized.
fn refuses_v4(refusal: &Refusal) -> bool {
    let message = refusal.message.to_ascii_lowercase();
    match refusal.code.as_str() {
        "InternalServerError" => message.contains("need ak v3 support") || message.contains("accesskey acl denied"),
        "InvalidParameter" => message.contains("odps-0410051"),
        "AuthorizationRequired" => message.contains("invalid or missing"),
        code => code.starts_with("ODPS-0410051"),
    }
}

/// What the body of an error says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    code: Option<String>,
    message: String,
    request_id: Option<String>,
    hold: Option<Duration>,
}

/// Reads both forms of an error, JSON and XML; anything else becomes the message.
fn read_error(body: &str) -> Told {
    if let Ok(json) = serde_json::from_str::<serde_json::Value>(body) {
        let text = |name: &str| json.get(name).and_then(|value| value.as_str()).map(redact_text);
        let hold =
            json.get("HoldClientMillis").and_then(|value| value.as_u64().or_else(|| value.as_str()?.parse().ok()));
        return Told {
            code: text("Code"),
            message: text("Message").unwrap_or_default(),
            request_id: text("RequestId"),
            hold: hold.map(Duration::from_millis),
        };
    }
    if let Ok(xml) = Element::parse(body) {
        let text = |name: &str| xml.text_of(name).map(redact_text);
        return Told {
            code: text("Code"),
            message: text("Message").unwrap_or_default(),
            request_id: text("RequestId"),
            hold: None,
        };
    }
    let message: String = redact_text(body).chars().take(512).collect();
    Told { message, ..Told::default() }
}

#[cfg(test)]
#[path = "transport_tests.rs"]
mod tests;
