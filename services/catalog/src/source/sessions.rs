//! The data sources that this process has at hand, each as its session of the registry says it is now.

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

/// For so long a configuration that was changed may still be used.
const FRESH: Duration = Duration::from_secs(5);

/// The data sources at hand; they are shared by scans and plans.
#[derive(Clone)]
pub struct Sources {
    sessions: Arc<Sessions<Source>>,
    registry: Client,
    traffic: Traffic,
}

impl Sources {
    /// None at hand.
    pub fn new(registry: Client) -> Self {
        let purposes = vec![SessionPurpose::Metadata];
        let terms = Terms { holder: "catalog".to_owned(), purposes, fresh: FRESH, patience: ONCE };
        let sessions = Arc::new(Sessions::new(registry.clone(), terms));
        Self { sessions, registry, traffic: Traffic::default() }
    }

    /// What goes to far ends through them.
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// The sessions behind them.
    pub fn sessions(&self) -> &Sessions<Source> {
        &self.sessions
    }

    /// Both ends of a data source as it is configured now.
    pub async fn get(&self, id: &str) -> Result<Arc<Source>> {
        self.sessions
            .get(&source_name(id), |session| Source::of(id, session, self.registry.clone(), &self.traffic))
            .await
    }

    /// Both ends through a new session, unless somebody has opened one since `refused` was handed out.
    pub async fn instead_of(&self, id: &str, refused: &Arc<Source>) -> Result<Arc<Source>> {
        self.sessions.forget(&source_name(id), refused).await;
        self.get(id).await
    }
}
