//! Tests the client against real servers on loopback: what it refuses, how it names failures, and what it never follows.
#![allow(clippy::unwrap_used, reason = "a test that cannot set up its server has failed")]

use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{get, put};
use bytes::Bytes;
use mms_http::{HttpClient, HttpError, HttpErrorKind, Method, NetworkConnection, Url};
use secrecy::SecretString;
use tokio::net::TcpListener;

async fn serve(app: Router) -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    url
}

fn direct() -> HttpClient {
    HttpClient::new(&NetworkConnection::default()).unwrap()
}

async fn get_kind(client: &HttpClient, url: Url) -> HttpErrorKind {
    client.request(Method::GET, url).send().await.unwrap_err().kind()
}

#[tokio::test]
async fn a_host_outside_the_list_is_refused_before_anything_is_sent() {
    let url = serve(Router::new().route("/", get(|| async { "reached" }))).await;
    let connection =
        NetworkConnection { allowed_hosts: vec!["allowed.example".parse().unwrap()], ..Default::default() };
    let client = HttpClient::new(&connection).unwrap();
    assert_eq!(get_kind(&client, url.clone()).await, HttpErrorKind::RefusedHost);

    // The same server under an allowed name, by a host override.
    let port = url.port().unwrap();
    let connection = NetworkConnection {
        host_overrides: [("allowed.example".to_owned(), format!("127.0.0.1:{port}").parse().unwrap())].into(),
        ..connection
    };
    let client = HttpClient::new(&connection).unwrap();
    let url = Url::parse(&format!("http://allowed.example:{port}/")).unwrap();
    let body = client.request(Method::GET, url).send().await.unwrap().text(100).await.unwrap();
    assert_eq!(body, "reached");
}

#[tokio::test]
async fn redirects_stay_within_the_host() {
    let other = serve(Router::new().route("/", get(|| async { "other host" }))).await;
    let target = other.to_string();
    let app = Router::new()
        .route("/away", get(move || async move { (StatusCode::FOUND, [(header::LOCATION, target)]) }))
        .route("/near", get(|| async { (StatusCode::FOUND, [(header::LOCATION, "/here")]) }))
        .route("/loop", get(|| async { (StatusCode::FOUND, [(header::LOCATION, "/loop")]) }))
        .route(
            "/here",
            get(|headers: HeaderMap| async move { headers[header::AUTHORIZATION].to_str().unwrap().to_owned() }),
        );
    let url = serve(app).await;
    let client = direct();
    let send = |path: &str| {
        let token = SecretString::from("t0ken");
        client.request(Method::GET, url.join(path).unwrap()).bearer(&token).send()
    };
    assert_eq!(send("/away").await.unwrap().status(), StatusCode::FOUND);
    assert_eq!(send("/loop").await.unwrap().status(), StatusCode::FOUND);
    assert_eq!(send("/near").await.unwrap().text(100).await.unwrap(), "Bearer t0ken");
}

#[tokio::test]
async fn an_error_status_carries_a_redacted_excerpt_and_the_wait() {
    let app = Router::new().route(
        "/",
        get(|| async {
            (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "3")], r#"{"token":"dapi-very-secret"}"#).into_response()
        }),
    );
    let mut url = serve(app).await;
    url.set_query(Some("sig=hush&x=1"));
    let error = direct().request(Method::GET, url).send().await.unwrap().success().await.unwrap_err();
    let text = format!("{error} {error:?}");
    assert!(!text.contains("hush") && !text.contains("very-secret"), "{text}");
    let HttpError::Status { status, retry_after, .. } = error else { panic!("{text}") };
    assert_eq!((status.as_u16(), retry_after), (429, Some(Duration::from_secs(3))));
}

#[tokio::test]
async fn a_long_body_is_refused_at_the_limit() {
    let url = serve(Router::new().route("/", get(|| async { "x".repeat(10_000) }))).await;
    let answer = direct().request(Method::GET, url).send().await.unwrap();
    assert_eq!(answer.bytes(9_999).await.unwrap_err().kind(), HttpErrorKind::TooLarge);
}

#[tokio::test]
async fn failures_below_http_have_their_kinds() {
    // A port that was free a moment ago, so that nobody listens there.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    drop(listener);
    let error = direct().request(Method::GET, gone).send().await.unwrap_err();
    assert_eq!(error.kind(), HttpErrorKind::Connect);
    assert!(!error.may_have_acted());

    // A plain HTTP server that is spoken to with TLS.
    let mut tls = serve(Router::new()).await;
    tls.set_scheme("https").unwrap();
    assert_eq!(get_kind(&direct(), tls).await, HttpErrorKind::Tls);

    // A server that accepts the connection and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}/", silent.local_addr().unwrap())).unwrap();
    let connection = NetworkConnection { read_timeout: Duration::from_millis(100), ..Default::default() };
    let error = HttpClient::new(&connection).unwrap().request(Method::GET, url).send().await.unwrap_err();
    assert_eq!(error.kind(), HttpErrorKind::Timeout);
    assert!(error.may_have_acted());
}

/// Sends a body piece by piece, with a pause before each, to a server that reads it and waits before it answers.
async fn slow_exchange(
    silence: Duration,
    pieces: usize,
    pause: Duration,
    answer_after: Duration,
) -> Result<String, HttpError> {
    let app = Router::new().route(
        "/",
        put(move |body: axum::body::Body| async move {
            let read = axum::body::to_bytes(body, usize::MAX).await.map(|body| body.len().to_string());
            tokio::time::sleep(answer_after).await;
            read.unwrap_or_default()
        }),
    );
    let url = serve(app).await;
    let connection = NetworkConnection { read_timeout: silence, ..Default::default() };
    let body = futures::stream::unfold(0, move |sent| async move {
        tokio::time::sleep(pause).await;
        (sent < pieces).then(|| (Ok::<_, std::io::Error>(Bytes::from_static(b"12345678")), sent + 1))
    });
    let request = HttpClient::new(&connection).unwrap().request(Method::PUT, url).stream(body);
    request.send().await?.text(100).await
}

#[tokio::test]
async fn a_streamed_body_may_take_many_times_the_limit_of_silence() {
    let (silence, pause) = (Duration::from_millis(200), Duration::from_millis(40));
    assert_eq!(slow_exchange(silence, 20, pause, Duration::ZERO).await.unwrap(), "160");
    // A pause of our own is not silence of the server.
    assert_eq!(slow_exchange(silence, 2, silence * 3, Duration::ZERO).await.unwrap(), "16");
}

#[tokio::test]
async fn a_far_end_that_neither_takes_the_body_nor_answers_is_given_up() {
    let silence = Duration::from_millis(150);
    let error = slow_exchange(silence, 2, Duration::from_millis(1), Duration::from_secs(600)).await.unwrap_err();
    assert_eq!(error.kind(), HttpErrorKind::Timeout);
    assert!(error.may_have_acted());

    // A server that accepts the connection and reads nothing: the socket's buffer fills, then nothing moves.
    let deaf = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}/", deaf.local_addr().unwrap())).unwrap();
    let connection = NetworkConnection { read_timeout: silence, ..Default::default() };
    let endless = futures::stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from(vec![7; 65_536])));
    let request = HttpClient::new(&connection).unwrap().request(Method::PUT, url).stream(endless);
    assert_eq!(request.send().await.unwrap_err().kind(), HttpErrorKind::Timeout);
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused_when_the_client_is_built() {
    for connection in [
        NetworkConnection { extra_ca_pem: Some("no pem".to_owned()), ..Default::default() },
        NetworkConnection { client_identity_pem: Some(SecretString::from("hunter2")), ..Default::default() },
    ] {
        let error = HttpClient::new(&connection).unwrap_err();
        assert_eq!(error.kind(), HttpErrorKind::Config);
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
    let url = serve(Router::new()).await;
    let error = direct().request(Method::GET, url).header("x", "a\nb").send().await.unwrap_err();
    assert_eq!(error.kind(), HttpErrorKind::Request);
}
