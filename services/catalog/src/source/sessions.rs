//! Caches the clients of data sources, each built from its current session of the registry.

use std::sync::Arc;
use std::time::Duration;

use mms_ends::{Sessions, Terms};
use mms_http::Traffic;
use mms_proto::registry::v1::SessionPurpose;
use mms_server::Client;
use mms_server::peer::ONCE;

use super::Source;
use crate::error::Result;
use crate::key::source_name;

/// A changed configuration may be used for this long before it is noticed.
const FRESH: Duration = Duration::from_secs(5);

/// The data sources in use, shared by scans and plans. Cheap to clone.
#[derive(Clone)]
pub struct Sources {
    sessions: Arc<Sessions<Source>>,
    registry: Client,
    traffic: Traffic,
}

impl Sources {
    /// Starts without sessions.
    pub fn new(registry: Client) -> Self {
        let purposes = vec![SessionPurpose::Metadata];
        let terms = Terms { holder: "catalog".to_owned(), purposes, fresh: FRESH, patience: ONCE };
        let sessions = Arc::new(Sessions::new(registry.clone(), terms));
        Self { sessions, registry, traffic: Traffic::default() }
    }

    /// The traffic to sources and targets through these clients.
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// The sessions that the clients were built from.
    pub fn sessions(&self) -> &Sessions<Source> {
        &self.sessions
    }

    /// The clients of a data source as it is configured now.
    pub async fn get(&self, id: &str) -> Result<Arc<Source>> {
        self.sessions
            .get(&source_name(id), |session| Source::of(id, session, self.registry.clone(), &self.traffic))
            .await
    }

    /// The clients from a new session, unless another caller has replaced `refused` already.
    pub async fn instead_of(&self, id: &str, refused: &Arc<Source>) -> Result<Arc<Source>> {
        self.sessions.forget(&source_name(id), refused).await;
        self.get(id).await
    }
}
