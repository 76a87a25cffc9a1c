//! Runs the steps of a check: reports each as it changes, limits its time, redacts its message and keeps it for the report. Knows
//! no particular step.

use std::future::Future;
use std::time::{Duration, Instant};

use mms_http::redact::redact_text;
use mms_proto::registry::v1 as pb;
use pb::{CheckState, CheckStepId};
use tokio::sync::mpsc;

use mms_proto::time::{duration, timestamp};

/// Time limit of a step.
const STEP_LIMIT: Duration = Duration::from_secs(30);

/// The result of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub state: CheckState,
    pub message: String,
    pub remedy: String,
}

impl Finding {
    /// The step succeeded.
    pub fn ok(message: impl Into<String>) -> Self {
        Self { state: CheckState::Ok, message: message.into(), remedy: String::new() }
    }

    /// The step succeeded, but something should be known.
    pub fn warning(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { state: CheckState::Warning, message: message.into(), remedy: remedy.into() }
    }

    /// The step failed.
    pub fn failed(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { state: CheckState::Failed, message: message.into(), remedy: remedy.into() }
    }

    /// The step was not run.
    pub fn skipped(message: impl Into<String>) -> Self {
        Self { state: CheckState::Skipped, message: message.into(), remedy: String::new() }
    }
}

/// The caller has disconnected, so the check ends.
#[derive(Debug)]
pub struct Gone;

/// Reports the steps and keeps their results.
pub struct Steps {
    listener: mpsc::Sender<pb::CheckStep>,
    done: Vec<pb::CheckStep>,
}

impl Steps {
    /// `listener` receives each step as it changes.
    pub fn new(listener: mpsc::Sender<pb::CheckStep>) -> Self {
        Self { listener, done: Vec::new() }
    }

    /// Runs a step; true unless it failed.
    pub async fn step(&mut self, id: CheckStepId, work: impl Future<Output = Finding>) -> Result<bool, Gone> {
        self.step_of(id, "", work).await
    }

    /// Runs a step that covers several subjects, for one of them.
    pub async fn step_of(
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

    /// Reports a step whose result is known.
    pub async fn note(&mut self, id: CheckStepId, finding: Finding) -> Result<bool, Gone> {
        self.step(id, async { finding }).await
    }

    /// Reports steps that are not run, and why.
    pub async fn skip(&mut self, ids: &[CheckStepId], why: &str) -> Result<(), Gone> {
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
            // The message may quote what the workspace, the storage or the project said.
            message: redact_text(&finding.message),
            remedy: finding.remedy,
            duration: duration(took),
        };
        if state != CheckState::Running {
            self.done.push(step.clone());
        }
        self.listener.send(step).await.map_err(|_| Gone)
    }

    /// The report: FAILED if any step failed, else WARNING if any warned.
    pub fn report(self, now_ms: i64) -> pb::CheckReport {
        let any = |state: CheckState| self.done.iter().any(|step| step.state == state as i32);
        let state = match (any(CheckState::Failed), any(CheckState::Warning)) {
            (true, _) => CheckState::Failed,
            (false, true) => CheckState::Warning,
            (false, false) => CheckState::Ok,
        };
        pb::CheckReport { steps: self.done, state: state as i32, end_time: timestamp(now_ms) }
    }
}
