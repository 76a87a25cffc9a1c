//! Owns [`Workspace`]: one exchange with a workspace, with its retries. The calls themselves stand in their own modules.

use std::fmt;
use std::sync::Arc;

use mms_http::retry::{self, RetryPolicy};
use mms_http::{HttpClient, HttpError, Method, Request, Response};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::time::Duration;

use crate::fault::page_text;
use crate::principal::Principal;
use crate::{Credential, DatabricksError, Fault, RefusalKind, WorkspaceUrl};

/// Most bytes of an answer.
const BODY_LIMIT: usize = 64 * 1024 * 1024;
/// Most bytes of an error's body; the rest is not read.
pub(crate) const FAULT_LIMIT: usize = 64 * 1024;
/// Longest single exchange.
const EXCHANGE_LIMIT: Duration = Duration::from_secs(300);

const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A workspace, used as one principal. Clones share everything; all workspaces of a process with the same URL and credential
/// share its token and the bound on requests under way.
#[derive(Clone)]
pub struct Workspace {
    http: HttpClient,
    url: WorkspaceUrl,
    principal: Arc<Principal>,
    policy: RetryPolicy,
}

impl Workspace {
    /// A workspace at `url`, reached through `http` with `credential`.
    pub fn new(http: HttpClient, url: WorkspaceUrl, credential: impl Into<Credential>) -> Self {
        let policy = RetryPolicy {
            first_delay: Duration::from_secs(1),
            max_delay: Duration::from_secs(10),
            factor: 1.5,
            max_attempts: None,
            total: Duration::from_secs(300),
        };
        let principal = Principal::of(&url, credential.into());
        Self { http: http.to_end("workspace"), url, principal, policy }
    }

    /// The same workspace with another retry policy. The default is that of the vendor's SDKs: pauses of 1 to 10 s, for 5
    /// minutes.
    #[must_use]
    pub fn with_policy(mut self, policy: RetryPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Its base address.
    pub fn url(&self) -> &WorkspaceUrl {
        &self.url
    }

    /// Id of the OAuth client that it is used as; None with a personal access token.
    pub fn client_id(&self) -> Option<&str> {
        self.principal.client_id()
    }

    /// Tests the OAuth client's secret by asking for a new token, because a token outlives the secret that it was given for.
    /// Sends nothing with a personal access token.
    ///
    /// # Errors
    /// [`DatabricksError::Login`] if the workspace rejects the id or the secret.
    pub async fn log_in(&self) -> Result<(), DatabricksError> {
        if self.client_id().is_none() {
            return Ok(());
        }
        retry::run(&self.policy, self.http.retry_budget(), None, |_| self.principal.log_in(&self.http)).await
    }

    /// The owner of the token. This is the cheapest proof that address and token are right.
    pub async fn current_user(&self) -> Result<CurrentUser, DatabricksError> {
        self.get(&path("/api/2.0/preview/scim/v2/Me", &[]), &[]).await
    }

    /// The client for requests to other hosts: it adds no credential.
    #[cfg(feature = "sql")]
    pub(crate) fn http(&self) -> &HttpClient {
        &self.http
    }

    #[cfg(feature = "sql")]
    pub(crate) fn policy(&self) -> &RetryPolicy {
        &self.policy
    }

    /// A request to the workspace itself, with its credential.
    #[cfg(feature = "sql")]
    pub(crate) async fn request(&self, method: Method, path: &str) -> Result<Request, DatabricksError> {
        let mut url = self.url.base().clone();
        url.set_path(path);
        let bearer = self.principal.bearer(&self.http, None).await?;
        Ok(self.http.request(method, url).bearer(&bearer.secret))
    }

    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        path: &[String],
        query: &[(&'static str, String)],
    ) -> Result<T, DatabricksError> {
        self.call(Method::GET, path, query, None).await
    }

    pub(crate) async fn post<T: DeserializeOwned>(&self, path: &[String], body: &Value) -> Result<T, DatabricksError> {
        self.call(Method::POST, path, &[], Some(body)).await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &[String],
        query: &[(&'static str, String)],
        body: Option<&Value>,
    ) -> Result<T, DatabricksError> {
        let call = format!("{method} {}", path.join("/"));
        let bytes = retry::run(&self.policy, self.http.retry_budget(), None, |_| {
            self.exchange(&call, method.clone(), path, query, body)
        })
        .await?;
        // Some calls succeed with an empty body.
        let bytes: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        serde_json::from_slice(bytes).map_err(|error| DatabricksError::Answer { call, what: error.to_string() })
    }

    async fn exchange(
        &self,
        call: &str,
        method: Method,
        path: &[String],
        query: &[(&'static str, String)],
        body: Option<&Value>,
    ) -> Result<Vec<u8>, DatabricksError> {
        let mut url = self.url.base().clone();
        url.set_path(&path.join("/"));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut spent = None;
        loop {
            let bearer = self.principal.bearer(&self.http, spent).await?;
            let mut request = self.http.request(method.clone(), url.clone());
            request = request.bearer(&bearer.secret).timeout(EXCHANGE_LIMIT).header("accept", "application/json");
            if let Some(id) = self.url.id_to_send() {
                request = request.header("x-databricks-workspace-id", &id.to_string());
            }
            if let Some(body) = body {
                request = request.json(body);
            }
            let answer = self.sent(call, request).await;
            // The workspace revoked the token before its end: try once more with a new one.
            match (&answer, bearer.seen) {
                (Err(error), Some(seen))
                    if spent.is_none() && error.refusal() == Some(RefusalKind::Unauthenticated) =>
                {
                    spent = Some(seen);
                }
                _ => return answer,
            }
        }
    }

    async fn sent(&self, call: &str, request: Request) -> Result<Vec<u8>, DatabricksError> {
        let place = self.principal.gate.enter().await;
        let response = request.send().await;
        let response = response.map_err(|source| DatabricksError::Http { call: call.to_owned(), source })?;
        let answer = answered(call, response).await;
        match &answer {
            Err(error) if error.refusal() == Some(RefusalKind::Throttled) => place.throttled(),
            Err(DatabricksError::Http { .. }) => {}
            _ => place.answered(),
        }
        answer
    }
}

/// The body of an answer, or its refusal as an error.
pub(crate) async fn answered(call: &str, response: Response) -> Result<Vec<u8>, DatabricksError> {
    if !response.status().is_success() {
        return Err(refused(call, response).await);
    }
    let http = |source: HttpError| DatabricksError::Http { call: call.to_owned(), source };
    let is_page = response.header("content-type").is_some_and(|kind| kind.starts_with("text/html"));
    let bytes = response.bytes(BODY_LIMIT).await.map_err(http)?;
    if is_page || bytes.first() == Some(&b'<') {
        let what = page_text(&String::from_utf8_lossy(&bytes)).unwrap_or_else(|| "no title".to_owned());
        return Err(DatabricksError::NotAnApi { call: call.to_owned(), what: what.chars().take(200).collect() });
    }
    Ok(bytes.to_vec())
}

pub(crate) async fn refused(call: &str, mut response: Response) -> DatabricksError {
    let (status, call) = (response.status(), call.to_owned());
    if status.is_redirection() {
        let target = response.header("location").unwrap_or_default();
        let what = if target.contains("private-link-validation-error") {
            "the workspace accepts only its private link; use a network connection that goes through it".to_owned()
        } else {
            let target = target.split(['?', '#']).next().unwrap_or_default();
            format!("redirect to {}", target.chars().take(200).collect::<String>())
        };
        return DatabricksError::NotAnApi { call, what };
    }
    let retry_after = response.retry_after();
    // A refusal whose body cannot be read is still a refusal.
    let (body, _) = response.up_to(FAULT_LIMIT).await.unwrap_or_default();
    DatabricksError::Refused { call, fault: Box::new(Fault::parse(status.as_u16(), retry_after, &body)) }
}

impl fmt::Debug for Workspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workspace").field("url", &self.url.to_string()).finish_non_exhaustive()
    }
}

/// The user or service principal that a token belongs to.
#[derive(Debug, Clone, Deserialize)]
pub struct CurrentUser {
    /// Name, as grants write it.
    #[serde(rename = "userName")]
    pub user_name: String,
}

/// A path of fixed text, followed by percent-encoded segments.
pub(crate) fn path(fixed: &str, segments: &[&str]) -> Vec<String> {
    let mut path = vec![fixed.to_owned()];
    path.extend(segments.iter().map(|segment| utf8_percent_encode(segment, SEGMENT).to_string()));
    path
}

/// Checks a name. Refuses those that cannot stand in a path even when they are encoded.
pub(crate) fn name<'n>(kind: &'static str, name: &'n str) -> Result<&'n str, DatabricksError> {
    let refuse = |what| Err(DatabricksError::Name { kind, name: name.chars().take(300).collect(), what });
    match name {
        "" => refuse("it is empty"),
        // URL parsers treat these two as steps in the path, even percent-encoded.
        "." | ".." => refuse("it means a folder in paths"),
        _ if name.chars().any(char::is_control) => refuse("it has a control character"),
        _ if name.chars().count() > 255 => refuse("it is longer than 255 characters"),
        _ => Ok(name),
    }
}
