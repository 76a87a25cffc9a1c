//! Holds this process's sessions with the registry, one for each data source in use. A session is opened when it is first needed
//! and renewed while it is used. It is opened anew when the configuration has changed, and closed when it is forgotten, idle, or
//! the process ends. Owns when each of these is due; what is built from a session belongs to the caller.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use mms_proto::registry::v1 as pb;
use mms_proto::registry::v1::session_service_client::SessionServiceClient;
use mms_proto::{ApiError, ErrorReason};
use mms_server::Client;
use mms_server::peer::{PeerError, RetryPolicy, patiently};
use tokio::sync::Mutex;
use tokio::time::Instant;

const REGISTRY: &str = "registry";
/// Maximum size of a message from the registry in bytes: a data source with its lists and mappings.
const MESSAGE_MAX: usize = 16 << 20;
/// A session that nobody has used for this long is closed.
const IDLE: Duration = Duration::from_secs(120);
/// Interval of looking for idle sessions.
const TICK: Duration = Duration::from_secs(30);
/// Interval of asking again when the registry does not answer a renewal.
const ASK_AGAIN: Duration = Duration::from_secs(5);
/// Maximum time spent closing sessions. Those that are still open then expire by themselves.
const LEAVE: Duration = Duration::from_secs(3);

/// The terms on which sessions are held.
#[derive(Debug, Clone)]
pub struct Terms {
    /// The holder that the registry's audit names.
    pub holder: String,
    /// What the sessions are used for.
    pub purposes: Vec<pb::SessionPurpose>,
    /// How long a session is used before it is renewed; at most half its term.
    pub fresh: Duration,
    /// How to retry when there is no session and the registry is unavailable.
    pub patience: RetryPolicy,
}

struct Held<T> {
    ends: Arc<T>,
    token: String,
    etag: String,
    renew: Instant,
    expires: Instant,
    used: Instant,
}

/// The session of a data source, if one is open. The lock is held while the registry is asked, so that one answer serves all who
/// wait.
type Place<T> = Arc<Mutex<Option<Held<T>>>>;

/// The open sessions of a process, each with what was built from it.
pub struct Sessions<T> {
    client: SessionServiceClient<Client>,
    terms: Terms,
    places: parking_lot::Mutex<HashMap<String, Place<T>>>,
}

impl<T> Sessions<T> {
    /// Creates the set without a session.
    pub fn new(registry: Client, terms: Terms) -> Self {
        let client = SessionServiceClient::new(registry).max_decoding_message_size(MESSAGE_MAX);
        Self { client, terms, places: parking_lot::Mutex::default() }
    }

    /// What was built from the session of a data source. If there is no valid session, opens one and calls `build`. While a
    /// session lasts, an unavailable registry does no harm.
    pub async fn get<E: From<PeerError>>(
        &self,
        source: &str,
        build: impl FnOnce(pb::Session) -> Result<T, E>,
    ) -> Result<Arc<T>, E> {
        let place = self.place(source);
        let mut held = place.lock().await;
        if let Some(known) = held.as_mut()
            && self.keep(known).await
        {
            known.used = Instant::now();
            return Ok(Arc::clone(&known.ends));
        }
        self.close(held.take()).await;
        let session = self.open(source).await?;
        let (token, now) = (session.session_token.clone(), Instant::now());
        let etag = session.data_source.as_ref().map(|source| source.etag.clone()).unwrap_or_default();
        let term = term(session.expire_after);
        match build(session) {
            Ok(ends) => {
                let ends = Arc::new(ends);
                let (renew, expires) = self.due(now, term);
                *held = Some(Held { ends: Arc::clone(&ends), token, etag, renew, expires, used: now });
                Ok(ends)
            }
            Err(error) => {
                self.end(&token).await;
                Err(error)
            }
        }
    }

    /// Closes the session of a data source, unless another has been opened since `refused` was built. Meant for credentials that
    /// an end refused: the registry may have newer ones by now.
    pub async fn forget(&self, source: &str, refused: &Arc<T>) {
        let spent = self.place(source).lock().await.take_if(|held| Arc::ptr_eq(&held.ends, refused));
        self.close(spent).await;
    }

    /// Closes the sessions that nobody has used for 120 seconds and nobody holds.
    pub async fn close_idle(&self) {
        self.close_where(|held| held.used.elapsed() >= IDLE && Arc::strong_count(&held.ends) == 1).await;
    }

    /// Calls [`Sessions::close_idle`] every 30 seconds, until it is dropped.
    pub async fn keep_house(&self) {
        loop {
            tokio::time::sleep(TICK).await;
            self.close_idle().await;
        }
    }

    /// Closes all sessions, within 3 seconds.
    pub async fn close_all(&self) {
        if tokio::time::timeout(LEAVE, self.close_where(|_| true)).await.is_err() {
            tracing::debug!("not all registry sessions could be closed in time; they expire by themselves");
        }
    }

    async fn close_where(&self, ends: impl Fn(&Held<T>) -> bool) {
        let places: Vec<Place<T>> = self.places.lock().values().cloned().collect();
        for place in places {
            let spent = place.lock().await.take_if(|held| ends(held));
            self.close(spent).await;
        }
        self.places
            .lock()
            .retain(|_, place| Arc::strong_count(place) > 1 || place.try_lock().is_ok_and(|it| it.is_some()));
    }

    fn place(&self, source: &str) -> Place<T> {
        self.places.lock().entry(source.to_owned()).or_default().clone()
    }

    fn due(&self, now: Instant, term: Duration) -> (Instant, Instant) {
        (now + self.terms.fresh.min(term / 2), now + term)
    }

    /// Whether a session is still valid and of the present configuration. Renews it if that is due.
    async fn keep(&self, known: &mut Held<T>) -> bool {
        let now = Instant::now();
        if now < known.renew {
            return true;
        }
        let request = pb::RenewSessionRequest { session_token: known.token.clone(), etag: known.etag.clone() };
        match self.client.clone().renew_session(request).await.map_err(PeerError::of(REGISTRY)) {
            Ok(renewed) => {
                let renewed = renewed.into_inner();
                (known.renew, known.expires) = self.due(now, term(renewed.expire_after));
                !renewed.changed
            }
            Err(away) if away.error.is_transient() && now < known.expires => {
                tracing::warn!(%away, "cannot renew the registry session; using it until it expires");
                known.renew = now + ASK_AGAIN;
                true
            }
            Err(refused) => {
                if refused.error.reason != ErrorReason::NotFound {
                    tracing::warn!(%refused, "cannot renew the registry session; opening a new one");
                }
                false
            }
        }
    }

    async fn open(&self, source: &str) -> Result<pb::Session, PeerError> {
        let request = pb::OpenSessionRequest {
            data_source: source.to_owned(),
            holder: self.terms.holder.clone(),
            purposes: self.terms.purposes.iter().map(|purpose| *purpose as i32).collect(),
        };
        let opened = patiently(self.terms.patience.clone(), || {
            let (mut client, request) = (self.client.clone(), request.clone());
            async move { client.open_session(request).await.map_err(PeerError::of(REGISTRY)) }
        });
        let nothing =
            || PeerError::new(REGISTRY, ApiError::internal("the registry answered OpenSession without a session"));
        opened.await?.into_inner().session.ok_or_else(nothing)
    }

    async fn close(&self, held: Option<Held<T>>) {
        if let Some(held) = held {
            self.end(&held.token).await;
        }
    }

    /// Closes a session. One that cannot be closed expires by itself.
    async fn end(&self, token: &str) {
        let mut request = tonic::Request::new(pb::CloseSessionRequest { session_token: token.to_owned() });
        request.set_timeout(LEAVE);
        if let Err(error) = self.client.clone().close_session(request).await {
            tracing::debug!(error = error.message(), "cannot close a registry session; it expires by itself");
        }
    }
}

fn term(given: Option<prost_types::Duration>) -> Duration {
    given.and_then(|given| Duration::try_from(given).ok()).unwrap_or(Duration::from_secs(60))
}
