//! Carries the requests of an object store over the client of the network connection, so that allowed hosts, proxy,
//! certificates and redaction hold for storage as for every other far end. It never repeats a request: the store does.

use async_trait::async_trait;
use http_body_util::BodyExt;
use mms_http::{HttpClient, HttpErrorKind};
use object_store::ClientOptions;
use object_store::client::{self as store, HttpConnector, HttpRequest, HttpResponse, HttpResponseBody, HttpService};
use url::Url;

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
            // Reading sends no body but the form of a token request, which is in one piece.
            let bytes = body.as_bytes().ok_or_else(|| {
                let text = std::io::Error::other("a body in several pieces: this store is opened for reading only");
                store::HttpError::new(store::HttpErrorKind::Unknown, text)
            })?;
            *outgoing.body_mut() = Some(bytes.clone().into());
        }
        let answer = self.0.execute(outgoing).await.map_err(of_http)?;
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

/// The kinds decide whether the store asks again.
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
