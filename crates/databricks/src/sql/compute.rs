//! Waits until a cluster can run SQL, and starts it if that is allowed: a running cluster costs money.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::{ClusterInfo, ClusterState, DatabricksError, Workspace};

/// Longest wait for a cluster to run, as the vendor's SDKs have it.
const WAIT_MAX: Duration = Duration::from_secs(20 * 60);
/// Pause between two checks of its state.
const LOOK: Duration = Duration::from_secs(10);

/// Whether a stopped cluster may be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClusterStart {
    /// Never: a stopped cluster is an error.
    Never,
    /// When SQL has to run on it.
    WhenNeeded,
}

/// What to do about a cluster in its present state.
#[derive(Debug, PartialEq, Eq)]
enum Act {
    Use,
    Start,
    Wait,
    Refuse(&'static str),
}

fn act(cluster: &ClusterInfo, start: ClusterStart) -> Act {
    if !cluster.has_unity_access() {
        return Act::Refuse(
            "its access mode has no access to Unity Catalog; choose one of standard or dedicated access mode",
        );
    }
    match (&cluster.state, start) {
        _ if cluster.is_usable() => Act::Use,
        (ClusterState::Terminated, ClusterStart::WhenNeeded) => Act::Start,
        (ClusterState::Terminated, ClusterStart::Never) => {
            Act::Refuse("it is stopped, and may not be started here; start it")
        }
        (ClusterState::Error, _) => Act::Refuse("it is in error; repair or replace it"),
        _ => Act::Wait,
    }
}

/// Waits until a cluster runs; starts it if it is stopped and `start` allows it. `told` is called with each state before it
/// is acted on. Dropped while it waits, it leaves the cluster as it is.
///
/// # Errors
/// The cluster does not exist, may not be started, has no access to Unity Catalog, or does not run within 20 minutes.
pub async fn ready_cluster(
    workspace: &Workspace,
    cluster_id: &str,
    start: ClusterStart,
    mut told: impl FnMut(&ClusterInfo),
) -> Result<(), DatabricksError> {
    let until = Instant::now() + WAIT_MAX;
    let refuse = |what: String| Err(DatabricksError::Compute { cluster: cluster_id.to_owned(), what });
    loop {
        let cluster = workspace.get_cluster(cluster_id).await?;
        told(&cluster);
        match act(&cluster, start) {
            Act::Use => return Ok(()),
            Act::Start => workspace.start_cluster(cluster_id).await?,
            Act::Wait => {}
            Act::Refuse(why) => return refuse(why.to_owned()),
        }
        if Instant::now() + LOOK > until {
            let minutes = WAIT_MAX.as_secs() / 60;
            return refuse(format!("it is {:?} and did not run within {minutes} minutes", cluster.state));
        }
        sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_started_only_if_it_is_stopped_and_may_be() {
        let of = |state: &str, mode: &str, start| {
            let cluster = serde_json::json!({ "cluster_id": "c", "state": state, "data_security_mode": mode });
            act(&serde_json::from_value(cluster).unwrap(), start)
        };
        for start in [ClusterStart::Never, ClusterStart::WhenNeeded] {
            assert_eq!(of("RUNNING", "USER_ISOLATION", start), Act::Use);
            assert_eq!(of("PENDING", "USER_ISOLATION", start), Act::Wait);
            assert_eq!(of("TERMINATING", "USER_ISOLATION", start), Act::Wait);
            assert!(matches!(of("ERROR", "USER_ISOLATION", start), Act::Refuse(_)));
            assert!(matches!(of("RUNNING", "NONE", start), Act::Refuse(_)));
        }
        assert_eq!(of("TERMINATED", "SINGLE_USER", ClusterStart::WhenNeeded), Act::Start);
        assert!(matches!(of("TERMINATED", "SINGLE_USER", ClusterStart::Never), Act::Refuse(_)));
    }
}
