//! OAuth clients: all callers share one token, it is renewed before its end or when it was revoked, and a wrong secret is
//! reported as such.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::common::{Running, client_as};
use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use mms_databricks::{Credential, DatabricksError, RefusalKind};
use mms_sandbox::workspace::Client;

const SECRET: &str = "dose-of-the-test";

fn mover(secret: &str) -> Credential {
    Credential::Client { id: "mover".to_owned(), secret: secret.to_owned().into() }
}

async fn sandbox() -> Running {
    let client =
        Client { id: "mover".to_owned(), secret: SECRET.to_owned().into(), token_life: Duration::from_secs(3600) };
    Running::with(Some(client), 2, &[("sales", "orders")]).await
}

#[tokio::test]
async fn the_client_is_let_in_under_its_own_name() {
    let running = sandbox().await;
    let workspace = client_as(&running.sandbox.url(), mover(SECRET));
    assert_eq!(workspace.current_user().await.unwrap().user_name, "mover");
    assert_eq!(workspace.list_tables("main", "sales").unwrap().all(10).await.unwrap().items.len(), 1);
    workspace.log_in().await.unwrap();
}

#[tokio::test]
async fn a_wrong_secret_is_told_and_not_shown() {
    let running = sandbox().await;
    // An existing token does not hide that the secret has changed since.
    client_as(&running.sandbox.url(), mover(SECRET)).current_user().await.unwrap();
    let workspace = client_as(&running.sandbox.url(), mover("dose-of-another"));
    for error in [workspace.current_user().await.unwrap_err(), workspace.log_in().await.unwrap_err()] {
        let text = error.to_string();
        assert!(matches!(error, DatabricksError::Login { .. }) && error.is_of_workspace(), "{error:?}");
        assert!(text.contains("mover: 401 invalid_client: Client authentication failed"), "{text}");
        assert!(!format!("{error:?} {workspace:?}").contains("dose-of"), "{error:?}");
    }
}

/// A workspace whose tokens are `token-1`, `token-2`…, and that counts its requests.
#[derive(Clone, Default)]
struct Stub {
    given: Arc<AtomicU32>,
    asked: Arc<AtomicU32>,
    /// Number of the only token that it accepts.
    takes: Arc<AtomicU32>,
}

impl Stub {
    async fn start(&self, lasts: u32) -> String {
        let (stub, given) = (self.clone(), Arc::clone(&self.given));
        let token = move |headers: HeaderMap, form: Bytes| async move {
            assert_eq!(headers["authorization"], "Basic bW92ZXI6ZG9zZS1vZi10aGUtdGVzdA==");
            assert_eq!(form, "grant_type=client_credentials&scope=all-apis");
            let count = given.fetch_add(1, Ordering::SeqCst) + 1;
            format!(r#"{{"access_token":"token-{count}","token_type":"Bearer","expires_in":{lasts}}}"#)
        };
        let me = move |headers: HeaderMap| async move {
            stub.asked.fetch_add(1, Ordering::SeqCst);
            match headers["authorization"] == format!("Bearer token-{}", stub.takes.load(Ordering::SeqCst)) {
                true => r#"{"userName":"mover"}"#.into_response(),
                false => {
                    (StatusCode::FORBIDDEN, r#"{"error_code":403,"message":"Invalid access token."}"#).into_response()
                }
            }
        };
        let app = Router::new().route("/oidc/v1/token", post(token)).route("/api/2.0/preview/scim/v2/Me", get(me));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        url
    }

    fn counts(&self) -> (u32, u32) {
        (self.given.load(Ordering::SeqCst), self.asked.load(Ordering::SeqCst))
    }
}

#[tokio::test]
async fn all_who_come_as_the_client_share_a_token_until_it_is_taken_back() {
    let stub = Stub::default();
    stub.takes.store(1, Ordering::SeqCst);
    let url = stub.start(3600).await;
    let calls = (0..20).map(|_| {
        let workspace = client_as(&url, mover(SECRET));
        async move { workspace.current_user().await.unwrap() }
    });
    futures::future::join_all(calls).await;
    assert_eq!(stub.counts(), (1, 20));
    // The token is revoked: one caller requests a new one for all.
    stub.takes.store(2, Ordering::SeqCst);
    client_as(&url, mover(SECRET)).current_user().await.unwrap();
    client_as(&url, mover(SECRET)).current_user().await.unwrap();
    assert_eq!(stub.counts(), (2, 23));
    // A workspace that rejects every token is not asked for ever.
    stub.takes.store(0, Ordering::SeqCst);
    let error = client_as(&url, mover(SECRET)).current_user().await.unwrap_err();
    assert_eq!((error.refusal(), stub.counts()), (Some(RefusalKind::Unauthenticated), (3, 25)));
}

#[tokio::test]
async fn a_token_that_has_ended_is_not_shown() {
    let stub = Stub::default();
    let url = stub.start(0).await;
    for count in 1..=3 {
        stub.takes.store(count, Ordering::SeqCst);
        client_as(&url, mover(SECRET)).current_user().await.unwrap();
    }
    assert_eq!(stub.counts(), (3, 3));
}
