//! Checks the source's workspace: whether it can be reached, the token, the catalog, the grants and the cluster.

use mms_databricks::{CatalogInfo, ClusterState, DatabricksError, RefusalKind, Securable, Workspace};
use mms_http::HttpClient;
use mms_proto::registry::v1 as pb;
use pb::CheckStepId;

use super::steps::{Finding, Gone, Steps};
use crate::far;

/// The steps that are always reported, in order; grants and the cluster are reported only if they apply.
pub const STEPS: &[CheckStepId] = &[
    CheckStepId::WorkspaceReachable,
    CheckStepId::WorkspaceToken,
    CheckStepId::CatalogVisible,
    CheckStepId::StorageReadable,
];
/// The privileges that the token's owner needs, as the contract says at `access_token`.
const GRANTS: &[&str] = &["BROWSE", "EXECUTE", "SELECT", "USE_CATALOG", "USE_SCHEMA"];
const NO_TOKEN: &str = "make a new token in the workspace and set databricks.access_token";
const NO_LOGIN: &str = "check databricks.client_credentials: client_id is the application id of a service principal, client_secret \
                        an OAuth secret that Databricks (not Entra ID) made for it and that has not ended; else make a new one";
const NO_PRINCIPAL: &str =
    "add the service principal of databricks.client_credentials to this workspace, and see that it is active";

/// Whether the workspace answered but rejected the token. It answers an unknown token with either refusal.
fn refuses_token(error: &DatabricksError) -> bool {
    matches!(error.refusal(), Some(RefusalKind::Unauthenticated | RefusalKind::PermissionDenied))
}

/// The remedy when the workspace rejects the identity.
fn unknown(workspace: &Workspace, error: &DatabricksError) -> &'static str {
    match (workspace.client_id(), error) {
        (None, _) => NO_TOKEN,
        (Some(_), DatabricksError::Login { .. }) => NO_LOGIN,
        (Some(_), _) => NO_PRINCIPAL,
    }
}

pub(super) async fn try_catalog(config: &pb::DatabricksSource, http: &HttpClient) -> Result<(), (CheckStepId, String)> {
    let workspace = far::workspace(config, http).map_err(|text| (CheckStepId::WorkspaceReachable, text))?;
    match workspace.get_catalog(&config.catalog).await {
        Ok(_) => Ok(()),
        Err(error) => {
            let step = if refuses_token(&error) {
                CheckStepId::WorkspaceToken
            } else if error.refusal().is_some() {
                CheckStepId::CatalogVisible
            } else {
                CheckStepId::WorkspaceReachable
            };
            Err((step, error.to_string()))
        }
    }
}

/// Runs the steps of the workspace; returns whether the catalog is visible.
pub(super) async fn check(
    config: &pb::DatabricksSource,
    http: &HttpClient,
    start_cluster: bool,
    steps: &mut Steps,
) -> Result<bool, Gone> {
    let workspace = match far::workspace(config, http) {
        Ok(workspace) => workspace,
        Err(text) => {
            steps
                .note(CheckStepId::WorkspaceReachable, Finding::failed(text, "correct databricks.workspace_url"))
                .await?;
            steps.skip(&STEPS[1..3], "the workspace was not reached").await?;
            return Ok(false);
        }
    };
    // The same calls answer both steps. A client secret is tried again: a token may outlive the secret that it was obtained with.
    let mut user = None;
    let reached = steps.step(CheckStepId::WorkspaceReachable, async {
        let asked = match workspace.log_in().await {
            Ok(()) => workspace.current_user().await,
            Err(error) => Err(error),
        };
        let finding = match &asked {
            Err(error) if !refuses_token(error) => Finding::failed(
                error.to_string(),
                "check databricks.workspace_url, and that this machine (or the network connection's proxy) gets there",
            ),
            _ => Finding::ok(format!("{} answers", workspace.url())),
        };
        user = Some(asked);
        finding
    });
    if !reached.await? {
        steps.skip(&STEPS[1..3], "the workspace was not reached").await?;
        return Ok(false);
    }
    let (token, user) = match user {
        Some(Ok(user)) => (Finding::ok(format!("the token belongs to {}", user.user_name)), Some(user.user_name)),
        Some(Err(error)) => (Finding::failed(error.to_string(), unknown(&workspace, &error)), None),
        None => (Finding::failed("no answer", NO_TOKEN), None),
    };
    steps.note(CheckStepId::WorkspaceToken, token).await?;
    let Some(user) = user else {
        steps.skip(&STEPS[2..3], "the token is not accepted").await?;
        return Ok(false);
    };

    let mut catalog = None;
    let visible = steps.step(CheckStepId::CatalogVisible, async {
        match workspace.get_catalog(&config.catalog).await {
            Ok(found) => {
                let finding = visible(&found);
                catalog = Some(found);
                finding
            }
            Err(error) => Finding::failed(
                error.to_string(),
                format!("check the name, and: GRANT USE CATALOG, BROWSE ON CATALOG `{}` TO `{user}`", config.catalog),
            ),
        }
    });
    let visible = visible.await?;
    if let Some(catalog) = catalog {
        grants(&workspace, &catalog, &user, steps).await?;
    }
    if !config.cluster_id.is_empty() {
        steps.step(CheckStepId::ClusterUsable, cluster(&workspace, &config.cluster_id, start_cluster)).await?;
    }
    Ok(visible)
}

fn visible(catalog: &CatalogInfo) -> Finding {
    let kind = catalog.catalog_type.as_deref().unwrap_or("catalog");
    if catalog.browse_only {
        let text = format!("catalog {} ({kind}) can be browsed, but not used", catalog.name);
        return Finding::warning(text, format!("GRANT USE CATALOG ON CATALOG `{}` to the token's owner", catalog.name));
    }
    Finding::ok(format!("catalog {} ({kind})", catalog.name))
}

/// A privilege may also come from a group, or be granted on each schema: its absence here is no proof.
async fn grants(workspace: &Workspace, catalog: &CatalogInfo, user: &str, steps: &mut Steps) -> Result<(), Gone> {
    let owner = catalog.owner.as_deref() == Some(user);
    let rights = workspace.effective_privileges(Securable::Catalog(&catalog.name), Some(user)).await;
    for right in GRANTS {
        let finding = match &rights {
            _ if owner => Finding::ok(format!("{user} owns the catalog")),
            Ok(rights) if rights.iter().any(|has| has.privilege == *right || has.privilege == "ALL_PRIVILEGES") => {
                Finding::ok(format!("{user} has {right} on the catalog"))
            }
            Ok(_) => Finding::warning(
                format!("{user} has no {right} of its own on the catalog; it may have it by a group or on the schemas"),
                format!("GRANT {} ON CATALOG `{}` TO `{user}`", right.replace('_', " "), catalog.name),
            ),
            Err(error) => Finding::warning(
                format!("rights could not be read: {error}"),
                format!("make sure that {user} has {right} on what is to be migrated"),
            ),
        };
        steps.step_of(CheckStepId::Grant, right, async { finding }).await?;
    }
    Ok(())
}

async fn cluster(workspace: &Workspace, id: &str, start: bool) -> Finding {
    if start && let Err(error) = workspace.start_cluster(id).await {
        return Finding::failed(error.to_string(), "check databricks.cluster_id, and the right CAN RESTART on it");
    }
    match workspace.get_cluster(id).await {
        Ok(cluster) if !cluster.has_unity_access() => Finding::failed(
            format!("cluster {id} has no access to Unity Catalog: its access mode is for one workspace's own tables"),
            "give the cluster access mode Standard or Dedicated, or name another in databricks.cluster_id",
        ),
        Ok(cluster) if cluster.is_usable() => Finding::ok(format!("cluster {id} is running")),
        Ok(cluster) if cluster.state == ClusterState::Error => Finding::failed(
            format!("cluster {id} is in error: {}", cluster.state_message.unwrap_or_default()),
            "look at the cluster's event log in the workspace",
        ),
        Ok(cluster) if start => Finding::warning(
            format!("cluster {id} was started and is {:?}", cluster.state),
            "that takes some minutes: check again then",
        ),
        Ok(cluster) => Finding::warning(
            format!("cluster {id} is {:?}", cluster.state),
            "start it before a scan that needs SQL, or check again with start_cluster",
        ),
        Err(error) => {
            Finding::failed(error.to_string(), "check databricks.cluster_id, and the right CAN ATTACH TO on it")
        }
    }
}
