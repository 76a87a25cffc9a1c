//! Checks of a data source: goes to both ends and says step by step what works, what does not, and what to do. It changes
//! nothing at the ends but, if asked to, starts the cluster. What each step finds stands in the modules below.

mod clock;
mod project;
mod storage;
mod workspace;

use std::future::Future;
use std::time::{Duration, Instant};

use mms_http::HttpClient;
use mms_http::redact::redact_text;
use mms_proto::registry::v1 as pb;
use pb::{CheckState, CheckStepId};
use tokio::sync::mpsc;

use crate::access::Access;
use crate::convert::{duration, time};
use crate::error::{End, RegistryError, Result};
use crate::far;

/// Longest single step.
const STEP_LIMIT: Duration = Duration::from_secs(30);

/// What a step came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    state: CheckState,
    message: String,
    remedy: String,
}

impl Finding {
    fn ok(message: impl Into<String>) -> Self {
        Self { state: CheckState::Ok, message: message.into(), remedy: String::new() }
    }

    fn warning(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { state: CheckState::Warning, message: message.into(), remedy: remedy.into() }
    }

    fn failed(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { state: CheckState::Failed, message: message.into(), remedy: remedy.into() }
    }

    fn skipped(message: impl Into<String>) -> Self {
        Self { state: CheckState::Skipped, message: message.into(), remedy: String::new() }
    }
}

/// Nobody listens any more: the check is given up.
#[derive(Debug)]
pub struct Gone;

/// Tells each step's state as it changes, and keeps the results.
pub struct Steps {
    listener: mpsc::Sender<pb::CheckStep>,
    done: Vec<pb::CheckStep>,
}

impl Steps {
    /// No step yet.
    pub fn new(listener: mpsc::Sender<pb::CheckStep>) -> Self {
        Self { listener, done: Vec::new() }
    }

    /// One step; `Ok(true)` when it did not fail.
    async fn step(&mut self, id: CheckStepId, work: impl Future<Output = Finding>) -> Result<bool, Gone> {
        self.step_of(id, "", work).await
    }

    /// The same, of a step that looks at several things: this one.
    async fn step_of(
        &mut self,
        id: CheckStepId,
        subject: &str,
        work: impl Future<Output = Finding>,
    ) -> Result<bool, Gone> {
        self.tell((id, subject), CheckState::Running, Finding::ok(""), Duration::ZERO).await?;
        let begun = Instant::now();
        let late = || {
            let text = format!("no answer within {} s", STEP_LIMIT.as_secs());
            Finding::failed(text, "check the address, and whether a firewall or proxy lies in between")
        };
        let finding = tokio::time::timeout(STEP_LIMIT, Box::pin(work)).await.unwrap_or_else(|_| late());
        let state = finding.state;
        self.tell((id, subject), state, finding, begun.elapsed()).await?;
        Ok(state != CheckState::Failed)
    }

    /// A step whose outcome is known.
    async fn note(&mut self, id: CheckStepId, finding: Finding) -> Result<bool, Gone> {
        self.step(id, async { finding }).await
    }

    async fn skip(&mut self, ids: &[CheckStepId], why: &str) -> Result<(), Gone> {
        for id in ids {
            self.tell((*id, ""), CheckState::Skipped, Finding::skipped(why), Duration::ZERO).await?;
        }
        Ok(())
    }

    async fn tell(
        &mut self,
        (id, subject): (CheckStepId, &str),
        state: CheckState,
        finding: Finding,
        took: Duration,
    ) -> Result<(), Gone> {
        let step = pb::CheckStep {
            id: id as i32,
            subject: subject.to_owned(),
            state: state as i32,
            // Pieces of it are a far end's own words.
            message: redact_text(&finding.message),
            remedy: finding.remedy,
            duration: duration(took),
        };
        if state != CheckState::Running {
            self.done.push(step.clone());
        }
        self.listener.send(step).await.map_err(|_| Gone)
    }

    fn report(self, now_ms: i64) -> pb::CheckReport {
        let any = |state: CheckState| self.done.iter().any(|step| step.state == state as i32);
        let state = match (any(CheckState::Failed), any(CheckState::Warning)) {
            (true, _) => CheckState::Failed,
            (false, true) => CheckState::Warning,
            (false, false) => CheckState::Ok,
        };
        pb::CheckReport { steps: self.done, state: state as i32, end_time: time(now_ms) }
    }
}

/// The whole check.
pub async fn run(
    access: Result<Access>,
    start_cluster: bool,
    mut steps: Steps,
    now_ms: fn() -> i64,
) -> Result<pb::CheckReport, Gone> {
    let ready = match access {
        Ok(access) => {
            far::http(access.network.as_ref()).map(|http| (access.source, http)).map_err(|error| error.to_string())
        }
        Err(error) => Err(error.to_string()),
    };
    match ready {
        Ok((source, http)) => {
            steps.note(CheckStepId::CredentialsResolved, Finding::ok("every secret is there and readable")).await?;
            all(&source, &http, start_cluster, &mut steps, now_ms).await?;
        }
        Err(text) => {
            let remedy = "mend the reference or the network connection that the message names";
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

/// The short try that a start makes: the catalog is visible with these credentials, and the project reachable.
pub async fn try_ends(source: &pb::DataSource, network: Option<&pb::NetworkConnection>) -> Result<()> {
    let databricks = source.databricks().cloned().unwrap_or_default();
    let max_compute = source.max_compute.clone().unwrap_or_default();
    let http =
        far::http(network).map_err(|error| failed(End::Source, CheckStepId::WorkspaceReachable, &error.to_string()))?;
    let (workspace, project) =
        tokio::join!(workspace::try_catalog(&databricks, &http), project::try_project(&max_compute, &http));
    workspace.map_err(|(step, text)| failed(End::Source, step, &text))?;
    project.map_err(|(step, text)| failed(End::Target, step, &text))
}

fn failed(end: End, step: CheckStepId, text: &str) -> RegistryError {
    let message = format!("{}; CheckDataSource tells more", redact_text(text));
    RegistryError::EndFailed { end, step, message }
}
