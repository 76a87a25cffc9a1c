//! Sends an object store's requests through the client of the network connection, so that allowed hosts, proxy, certificates and
//! redaction apply to storage too. It must never retry a request: the store does. A refusal becomes a [`Refusal`](crate::Refusal)
//! here, which the store's errors then carry.

use async_trait::async_trait;
use http_body_util::BodyExt;
use mms_http::{HttpClient, HttpErrorKind};
use object_store::ClientOptions;
use object_store::client::{self as store, HttpConnector, HttpRequest, HttpResponse, HttpResponseBody, HttpService};
use url::Url;

use crate::refusal::{self, Asked, BODY_BYTES_MAX};

/// The handed client, in place of one that object_store would build.
#[derive(Clone, Debug)]
pub(crate) struct Handed(HttpClient);

impl Handed {
    pub(crate) fn new(client: HttpClient) -> Self {
        Self(client)
    }
}

impl HttpConnector for Handed {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<store::HttpClient> {
        Ok(store::HttpClient::new(self.clone()))
    }
}

#[async_trait]
impl HttpService for Handed {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, store::HttpError> {
        let (parts, body) = request.into_parts();
        let url: Url =
            parts.uri.to_string().parse().map_err(|e| store::HttpError::new(store::HttpErrorKind::Unknown, e))?;
        let mut outgoing = reqwest::Request::new(parts.method, url);
        *outgoing.headers_mut() = parts.headers;
        if !body.is_empty() {
            // Read requests have no body; the only one with a body is the token request, a form in one piece.
            let bytes = body.as_bytes().ok_or_else(|| {
                let text = std::io::Error::other("a body in several pieces: this store is opened for reading only");
                store::HttpError::new(store::HttpErrorKind::Unknown, text)
            })?;
            *outgoing.body_mut() = Some(bytes.clone().into());
        }
        let asked = asked(&outgoing);
        let query = outgoing.url().query().unwrap_or_default().to_owned();
        let answer = self.0.execute(outgoing).await.map_err(of_http)?;
        if may_refuse(asked, answer.status().as_u16()) {
            return refused(asked, &query, answer).await;
        }
        let (parts, body) = http::Response::<reqwest::Body>::from(answer.into_reqwest()).into_parts();
        let client = self.0.clone();
        let body = body.map_frame(move |frame| {
            client.received(frame.data_ref().map_or(0, bytes::Bytes::len));
            frame
        });
        let body = body.map_err(|e| store::HttpError::new(store::HttpErrorKind::Interrupted, e.without_url()));
        Ok(HttpResponse::from_parts(parts, HttpResponseBody::new(body)))
    }
}

/// The kind of a request; POST is used for the login endpoint only.
fn asked(request: &reqwest::Request) -> Asked {
    let lists = request.url().query_pairs().any(|(key, value)| key == "comp" && value == "list");
    match () {
        () if request.method() == http::Method::POST => Asked::Token,
        () if lists => Asked::List,
        () => Asked::Read,
    }
}

fn may_refuse(asked: Asked, status: u16) -> bool {
    matches!((asked, status), (Asked::Token, 400) | (_, 401 | 403 | 404 | 409))
}

/// The response, or the refusal that it contains.
async fn refused(asked: Asked, query: &str, mut answer: mms_http::Response) -> Result<HttpResponse, store::HttpError> {
    let status = answer.status();
    let code = answer.header("x-ms-error-code").map(str::to_owned);
    let (body, _) = answer.up_to(BODY_BYTES_MAX).await.map_err(of_http)?;
    let (body_text, now_ms) = (String::from_utf8_lossy(&body), jiff::Timestamp::now().as_millisecond());
    if let Some(refusal) = refusal::read(asked, status.as_u16(), code.as_deref(), &body_text, query, now_ms) {
        // A kind that the store does not retry, since the answer would be the same.
        return Err(store::HttpError::new(store::HttpErrorKind::Unknown, refusal));
    }
    let mut same = HttpResponse::new(body.into());
    *same.status_mut() = status;
    Ok(same)
}

/// Converts an error; its kind decides whether the store retries.
fn of_http(error: mms_http::HttpError) -> store::HttpError {
    let kind = match error.kind() {
        HttpErrorKind::Connect => store::HttpErrorKind::Connect,
        HttpErrorKind::Timeout => store::HttpErrorKind::Timeout,
        HttpErrorKind::Body => store::HttpErrorKind::Interrupted,
        HttpErrorKind::Config
        | HttpErrorKind::RefusedHost
        | HttpErrorKind::Request
        | HttpErrorKind::Tls
        | HttpErrorKind::TooLarge
        | HttpErrorKind::Status => store::HttpErrorKind::Unknown,
    };
    store::HttpError::new(kind, error)
}
