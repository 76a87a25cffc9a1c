//! The steps of a check: each is told as it changes, bounded in time, and kept for the report. Knows no single step.

use std::future::Future;
use std::time::{Duration, Instant};

use mms_http::redact::redact_text;
use mms_proto::registry::v1 as pb;
use pb::{CheckState, CheckStepId};
use tokio::sync::mpsc;

use mms_proto::time::{duration, timestamp};

/// Longest single step.
const STEP_LIMIT: Duration = Duration::from_secs(30);

/// What a step came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub state: CheckState,
    pub message: String,
    pub remedy: String,
}

impl Finding {
    /// It works.
    pub fn ok(message: impl Into<String>) -> Self {
        Self { state: CheckState::Ok, message: message.into(), remedy: String::new() }
    }

    /// It works, and something is worth knowing.
    pub fn warning(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { state: CheckState::Warning, message: message.into(), remedy: remedy.into() }
    }

    /// It does not work.
    pub fn failed(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { state: CheckState::Failed, message: message.into(), remedy: remedy.into() }
    }

    /// It was not tried.
    pub fn skipped(message: impl Into<String>) -> Self {
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
    pub async fn step(&mut self, id: CheckStepId, work: impl Future<Output = Finding>) -> Result<bool, Gone> {
        self.step_of(id, "", work).await
    }

    /// The same, of a step that looks at several things: this one.
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

    /// A step whose outcome is known.
    pub async fn note(&mut self, id: CheckStepId, finding: Finding) -> Result<bool, Gone> {
        self.step(id, async { finding }).await
    }

    /// Steps that are not tried, and why.
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

    /// What all of it came to.
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
