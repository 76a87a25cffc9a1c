//! Sessions of the registry: shared while they are needed, closed when they are not, and usable while the registry is down.

use std::sync::Arc;
use std::time::Duration;

use mms_ends::{Sessions, Terms};
use mms_proto::registry::v1::session_service_client::SessionServiceClient;
use mms_proto::registry::v1::{RenewSessionRequest, SessionPurpose};
use mms_server::PeerError;
use mms_server::peer::ONCE;

use crate::support::{SOURCE, Stand};

/// Sessions that are checked with the registry at each use; the value built from a session is its token.
fn sessions(stand: &Stand) -> Sessions<String> {
    let terms = Terms {
        holder: "test".to_owned(),
        purposes: vec![SessionPurpose::Metadata],
        fresh: Duration::ZERO,
        patience: ONCE,
    };
    Sessions::new(stand.registry.client.clone(), terms)
}

async fn token(sessions: &Sessions<String>) -> Arc<String> {
    sessions.get(SOURCE, |session| Ok::<_, PeerError>(session.session_token)).await.unwrap()
}

async fn stands(stand: &Stand, token: &str) -> bool {
    let request = RenewSessionRequest { session_token: token.to_owned(), ..RenewSessionRequest::default() };
    match SessionServiceClient::new(stand.registry.client.clone()).renew_session(request).await {
        Ok(_) => true,
        Err(status) => {
            assert_eq!(status.code(), tonic::Code::NotFound, "{status:?}");
            false
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_session_serves_all_and_is_given_back() {
    let stand = Stand::with_source().await;
    let sessions = sessions(&stand);
    let first = token(&sessions).await;
    assert!(Arc::ptr_eq(&first, &token(&sessions).await) && stands(&stand, &first).await);

    sessions.forget(SOURCE, &first).await;
    assert!(!stands(&stand, &first).await, "what is forgotten is given back");
    let second = token(&sessions).await;
    sessions.forget(SOURCE, &first).await;
    assert!(stands(&stand, &second).await, "another was opened since, and stays");

    let refused = sessions.get("dataSources/lake", |_| Err(PeerError::new("x", mms_proto::ApiError::internal("no"))));
    assert!(refused.await.is_ok(), "nothing is built from one that stands");
    sessions.close_all().await;
    assert!(!stands(&stand, &second).await, "the process ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nothing_can_be_built_from_is_given_back() {
    let stand = Stand::with_source().await;
    let (mut seen, sessions) = (String::new(), sessions(&stand));
    let built = sessions.get(SOURCE, |session| {
        seen = session.session_token;
        Err::<String, _>(PeerError::new("x", mms_proto::ApiError::internal("no")))
    });
    assert!(built.await.is_err());
    assert!(!seen.is_empty() && !stands(&stand, &seen).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_away_does_not_hurt() {
    let mut stand = Stand::with_source().await;
    let sessions = sessions(&stand);
    let first = token(&sessions).await;
    stand.registry.stop().await;
    assert!(Arc::ptr_eq(&first, &token(&sessions).await), "it lasts as long as the session does");
    sessions.close_all().await;
    let none = sessions.get(SOURCE, |session| Ok::<_, PeerError>(session.session_token)).await;
    assert!(none.unwrap_err().error.is_transient());
}
