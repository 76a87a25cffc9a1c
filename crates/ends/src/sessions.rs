//! The sessions that a process holds with the registry: one for each data source in use, opened when it is needed, renewed
//! while it is, built anew when the configuration has changed, and given back when it is forgotten, when nobody has used it for
//! long, and when the process ends. Owns when which of it is due; what is built from a session is the caller's.

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
/// Largest message taken: a data source with its lists and mappings.
const MESSAGE_MAX: usize = 16 << 20;
/// A session that nobody used for so long is given back.
const IDLE: Duration = Duration::from_secs(120);
/// How often that is looked for.
const TICK: Duration = Duration::from_secs(30);
/// A registry that does not answer is asked about a session again after this.
const ASK_AGAIN: Duration = Duration::from_secs(5);
/// Longest that giving back takes: what is not given back by then ends by itself.
const LEAVE: Duration = Duration::from_secs(3);

/// How sessions are held.
#[derive(Debug, Clone)]
pub struct Terms {
    /// Who the registry's audit says holds them.
    pub holder: String,
    /// What they are for.
    pub purposes: Vec<pb::SessionPurpose>,
    /// For so long a session is used without asking whether it still stands, but no longer than half its term.
    pub fresh: Duration,
    /// How long a registry that is away is waited for when there is no session.
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

/// A data source's session, if one is open. Held while the registry is asked, so that one answer serves all who wait.
type Place<T> = Arc<Mutex<Option<Held<T>>>>;

/// The open sessions of a process, each with what was built from it.
pub struct Sessions<T> {
    client: SessionServiceClient<Client>,
    terms: Terms,
    places: parking_lot::Mutex<HashMap<String, Place<T>>>,
}

impl<T> Sessions<T> {
    /// None open yet.
    pub fn new(registry: Client, terms: Terms) -> Self {
        let client = SessionServiceClient::new(registry).max_decoding_message_size(MESSAGE_MAX);
        Self { client, terms, places: parking_lot::Mutex::default() }
    }

    /// What was built from the session of a data source, `build` from a new one if there is none that stands. A registry that
    /// is away does not hurt as long as the session lasts.
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

    /// Gives the session of a data source back, unless another has been opened since `refused` was built: a far end refused what
    /// came with it, and the registry may have better by now.
    pub async fn forget(&self, source: &str, refused: &Arc<T>) {
        let spent = self.place(source).lock().await.take_if(|held| Arc::ptr_eq(&held.ends, refused));
        self.close(spent).await;
    }

    /// Gives back what nobody has used for long.
    pub async fn close_idle(&self) {
        self.close_where(|held| held.used.elapsed() >= IDLE && Arc::strong_count(&held.ends) == 1).await;
    }

    /// The same again and again, until it is dropped.
    pub async fn keep_house(&self) {
        loop {
            tokio::time::sleep(TICK).await;
            self.close_idle().await;
        }
    }

    /// Gives all back, for as long as that may take.
    pub async fn close_all(&self) {
        if tokio::time::timeout(LEAVE, self.close_where(|_| true)).await.is_err() {
            tracing::debug!("not all sessions could be given back; they end by themselves");
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

    /// Whether a session still stands and is that of the present configuration.
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
                tracing::warn!(%away, "the session could not be prolonged");
                known.renew = now + ASK_AGAIN;
                true
            }
            Err(refused) => {
                if refused.error.reason != ErrorReason::NotFound {
                    tracing::warn!(%refused, "the session is not prolonged");
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
        let nothing = || PeerError::new(REGISTRY, ApiError::internal("the registry opened a session and sent none"));
        opened.await?.into_inner().session.ok_or_else(nothing)
    }

    async fn close(&self, held: Option<Held<T>>) {
        if let Some(held) = held {
            self.end(&held.token).await;
        }
    }

    /// A session that cannot be given back ends by itself.
    async fn end(&self, token: &str) {
        let mut request = tonic::Request::new(pb::CloseSessionRequest { session_token: token.to_owned() });
        request.set_timeout(LEAVE);
        if let Err(error) = self.client.clone().close_session(request).await {
            tracing::debug!(error = error.message(), "a session could not be closed");
        }
    }
}

fn term(given: Option<prost_types::Duration>) -> Duration {
    given.and_then(|given| Duration::try_from(given).ok()).unwrap_or(Duration::from_secs(60))
}
