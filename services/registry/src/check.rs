//! Checks a data source: connects to the source and the target and reports step by step what works, what does not, and what to
//! do. Changes nothing there, except that it starts the cluster if asked to. The modules below do the steps.

mod clock;
mod project;
mod steps;
mod storage;
mod workspace;

use mms_http::redact::redact_text;
use mms_http::{HttpClient, Traffic};
use mms_proto::registry::v1 as pb;
use pb::CheckStepId;

use crate::access::Access;
use crate::error::{End, RegistryError, Result};
use crate::far;

pub use steps::{Finding, Gone, Steps};

/// Runs all steps. Without access, all but the first are skipped.
pub async fn run(
    access: Result<Access>,
    start_cluster: bool,
    mut steps: Steps,
    now_ms: fn() -> i64,
    traffic: &Traffic,
) -> Result<pb::CheckReport, Gone> {
    let ready = match access {
        Ok(access) => far::http(access.network.as_ref(), traffic)
            .map(|http| (access.source, http))
            .map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match ready {
        Ok((source, http)) => {
            steps.note(CheckStepId::CredentialsResolved, Finding::ok("every secret is there and readable")).await?;
            all(&source, &http, start_cluster, &mut steps, now_ms).await?;
        }
        Err(text) => {
            let remedy = "correct the reference or the network connection that the message names";
            steps.note(CheckStepId::CredentialsResolved, Finding::failed(text, remedy)).await?;
            let rest: Vec<CheckStepId> =
                workspace::STEPS.iter().chain(project::STEPS).chain(clock::STEPS).copied().collect();
            steps.skip(&rest, "nothing can be tried without credentials").await?;
        }
    }
    Ok(steps.report(now_ms()))
}

async fn all(
    source: &pb::DataSource,
    http: &HttpClient,
    start_cluster: bool,
    steps: &mut Steps,
    now_ms: fn() -> i64,
) -> Result<(), Gone> {
    let databricks = source.databricks().cloned().unwrap_or_default();
    let max_compute = source.max_compute.clone().unwrap_or_default();
    let visible = workspace::check(&databricks, http, start_cluster, steps).await?;
    steps.step(CheckStepId::StorageReadable, storage::check(&databricks, http, visible, now_ms())).await?;
    project::check(&max_compute, http, steps).await?;
    steps.step(CheckStepId::ClockSource, clock::check(&databricks.workspace_url, http, clock::SOURCE)).await?;
    steps.step(CheckStepId::ClockTarget, clock::check(&max_compute.endpoint, http, clock::TARGET)).await?;
    Ok(())
}

/// The short check that a start makes: the catalog is visible with these credentials, and the project can be reached.
pub async fn try_ends(
    source: &pb::DataSource,
    network: Option<&pb::NetworkConnection>,
    traffic: &Traffic,
) -> Result<()> {
    let databricks = source.databricks().cloned().unwrap_or_default();
    let max_compute = source.max_compute.clone().unwrap_or_default();
    let http = far::http(network, traffic)
        .map_err(|error| failed(End::Source, CheckStepId::WorkspaceReachable, &error.to_string()))?;
    let (workspace, project) =
        tokio::join!(workspace::try_catalog(&databricks, &http), project::try_project(&max_compute, &http));
    workspace.map_err(|(step, text)| failed(End::Source, step, &text))?;
    project.map_err(|(step, text)| failed(End::Target, step, &text))
}

fn failed(end: End, step: CheckStepId, text: &str) -> RegistryError {
    let message = format!("{}; CheckDataSource has the details", redact_text(text));
    RegistryError::EndFailed { end, step, message }
}
