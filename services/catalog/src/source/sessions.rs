//! The sessions that this process holds with the registry: one for each data source in use, kept while it is used, and
//! renewed or opened anew whenever its configuration may have changed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use mms_http::Traffic;
use mms_proto::registry::v1 as pb;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::Source;
use crate::error::Result;
use crate::peers::{Peers, Renewed};

/// Who the registry's audit says holds them: they are shared by scans and plans.
const HOLDER: &str = "catalog";
/// For so long a session is used without asking whether it still stands.
const FRESH: Duration = Duration::from_secs(5);
/// A session that nobody used for so long is given back.
const IDLE: Duration = Duration::from_secs(120);

/// The open sessions.
#[derive(Clone)]
pub struct Sources {
    peers: Peers,
    traffic: Traffic,
    open: Arc<Mutex<HashMap<String, Arc<Slot>>>>,
}

#[derive(Default)]
struct Slot(tokio::sync::Mutex<Option<Held>>);

struct Held {
    source: Arc<Source>,
    token: String,
    etag: String,
    checked: Instant,
    used: Instant,
}

impl Sources {
    /// None open.
    pub fn new(peers: Peers) -> Self {
        Self { peers, traffic: Traffic::default(), open: Arc::default() }
    }

    /// What goes to far ends through them.
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Both ends of a data source as it is configured now.
    pub async fn get(&self, id: &str) -> Result<Arc<Source>> {
        let slot = Arc::clone(self.open.lock().entry(id.to_owned()).or_default());
        // Callers for one source wait for one answer of the registry instead of asking one each.
        let mut held = slot.0.lock().await;
        if let Some(current) = held.as_mut() {
            let now = Instant::now();
            let fresh = now.duration_since(current.checked) < FRESH;
            if fresh || matches!(self.renew(current).await, Ok(Renewed::Same)) {
                current.checked = if fresh { current.checked } else { now };
                current.used = now;
                return Ok(Arc::clone(&current.source));
            }
            self.close(held.take()).await;
        }
        let session = self.peers.open(id, HOLDER).await?;
        let fresh = self.adopt(id, session)?;
        let source = Arc::clone(&fresh.source);
        *held = Some(fresh);
        Ok(source)
    }

    /// Both ends through a new session, unless somebody has opened one since `refused` was handed out.
    pub async fn instead_of(&self, id: &str, refused: &Arc<Source>) -> Result<Arc<Source>> {
        let slot = Arc::clone(self.open.lock().entry(id.to_owned()).or_default());
        let spent = slot.0.lock().await.take_if(|held| Arc::ptr_eq(&held.source, refused));
        self.close(spent).await;
        self.get(id).await
    }

    fn adopt(&self, id: &str, session: pb::Session) -> Result<Held> {
        let now = Instant::now();
        let token = session.session_token.clone();
        let etag = session.data_source.as_ref().map(|source| source.etag.clone()).unwrap_or_default();
        Ok(Held { source: Arc::new(Source::of(id, session, &self.traffic)?), token, etag, checked: now, used: now })
    }

    async fn renew(&self, held: &Held) -> Result<Renewed> {
        self.peers.renew(&held.token, &held.etag).await
    }

    async fn close(&self, held: Option<Held>) {
        let Some(held) = held else { return };
        // A session that cannot be given back ends by itself.
        if let Err(error) = self.peers.close(&held.token).await {
            tracing::debug!(%error, "a session could not be closed");
        }
    }

    /// Gives back what nobody uses.
    pub async fn close_idle(&self) {
        self.close_where(|held| held.used.elapsed() >= IDLE).await;
    }

    /// Gives all back.
    pub async fn close_all(&self) {
        self.close_where(|_| true).await;
    }

    async fn close_where(&self, ends: impl Fn(&Held) -> bool) {
        let slots: Vec<Arc<Slot>> = self.open.lock().values().cloned().collect();
        for slot in slots {
            let mut held = slot.0.lock().await;
            if held.as_ref().is_some_and(&ends) {
                self.close(held.take()).await;
            }
        }
    }
}
