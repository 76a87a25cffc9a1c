//! Clusters: reads their state, and starts them.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::workspace::path;
use crate::{DatabricksError, RefusalKind, Workspace};

/// The state of a cluster. A word that is not known here is kept in `Other`.
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

/// A cluster, as the workspace describes it.
#[derive(Debug, Clone, Deserialize)]
pub struct ClusterInfo {
    /// Id, by which the API names it.
    pub cluster_id: String,
    /// The name that people gave it; absent if the workspace does not say.
    pub cluster_name: Option<String>,
    /// Its state at the time of the call.
    pub state: ClusterState,
    /// The workspace's explanation of the state.
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

    /// Whether it can read Unity Catalog. Modes that are not known here count as able to.
    pub fn has_unity_access(&self) -> bool {
        !self.data_security_mode.as_deref().is_some_and(|mode| mode == "NONE" || mode.starts_with("LEGACY_"))
    }
}

impl Workspace {
    /// Reads one cluster.
    pub async fn get_cluster(&self, cluster_id: &str) -> Result<ClusterInfo, DatabricksError> {
        self.get(&path("/api/2.1/clusters/get", &[]), &[("cluster_id", cluster_id.to_owned())]).await
    }

    /// Asks a cluster to start, which takes minutes. Succeeds without effect for a cluster that is not stopped (running,
    /// starting, stopping): read its state afterwards.
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
