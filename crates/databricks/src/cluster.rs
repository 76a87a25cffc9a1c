//! Clusters: their state, and starting one.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::workspace::path;
use crate::{DatabricksError, RefusalKind, Workspace};

/// The state of a cluster; words not known here are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the workspace's own words")]
pub enum ClusterState {
    Pending,
    Running,
    Restarting,
    Resizing,
    Terminating,
    Terminated,
    Error,
    Other(String),
}

impl<'de> Deserialize<'de> for ClusterState {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = String::deserialize(deserializer)?;
        Ok(match word.as_str() {
            "PENDING" => Self::Pending,
            "RUNNING" => Self::Running,
            "RESTARTING" => Self::Restarting,
            "RESIZING" => Self::Resizing,
            "TERMINATING" => Self::Terminating,
            "TERMINATED" => Self::Terminated,
            "ERROR" => Self::Error,
            _ => Self::Other(word),
        })
    }
}

/// A cluster.
#[derive(Debug, Clone, Deserialize)]
pub struct ClusterInfo {
    /// Its id.
    pub cluster_id: String,
    /// Its name.
    pub cluster_name: Option<String>,
    /// Its state.
    pub state: ClusterState,
    /// The workspace's words on the state.
    pub state_message: Option<String>,
    /// Its runtime, such as `15.4.x-scala2.12`.
    pub spark_version: Option<String>,
    /// `USER_ISOLATION`, `SINGLE_USER`, `NONE`…: with `NONE` it has no access to Unity Catalog.
    pub data_security_mode: Option<String>,
}

impl ClusterInfo {
    /// Whether SQL can run on it now.
    pub fn is_usable(&self) -> bool {
        matches!(self.state, ClusterState::Running | ClusterState::Resizing)
    }

    /// Whether it can see Unity Catalog; unknown modes count as able.
    pub fn has_unity_access(&self) -> bool {
        !self.data_security_mode.as_deref().is_some_and(|mode| mode == "NONE" || mode.starts_with("LEGACY_"))
    }
}

impl Workspace {
    /// One cluster.
    pub async fn get_cluster(&self, cluster_id: &str) -> Result<ClusterInfo, DatabricksError> {
        self.get(&path("/api/2.1/clusters/get", &[]), &[("cluster_id", cluster_id.to_owned())]).await
    }

    /// Asks a cluster to start; it takes minutes. One that is not stopped (running, starting, stopping) is left as it is:
    /// look at its state afterwards.
    pub async fn start_cluster(&self, cluster_id: &str) -> Result<(), DatabricksError> {
        let body = serde_json::json!({ "cluster_id": cluster_id });
        match self.post::<Value>(&path("/api/2.1/clusters/start", &[]), &body).await {
            Ok(_) => Ok(()),
            Err(DatabricksError::Refused { fault, .. })
                if fault.kind() == RefusalKind::Invalid && fault.code.as_deref() == Some("INVALID_STATE") =>
            {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}
