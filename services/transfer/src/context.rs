//! What every step of an attempt works with: the task, its lease, and how to report on it. Decides nothing and knows no step.

use std::sync::Arc;

use mms_proto::scheduler::v1 as pb;
use tokio_util::sync::CancellationToken;

use crate::codecs::Codecs;
use crate::counters::Counters;
use crate::error::Result;
use crate::pace::Pace;
use crate::peers::Peers;
use crate::progress::Progress;

/// Who this worker is to the scheduler.
#[derive(Debug, Clone)]
pub struct Me {
    /// `workers/{worker}`.
    pub worker: String,
    /// The id of this process: a worker that was started again has another.
    pub instance: String,
}

/// How rows are moved.
#[derive(Debug, Clone)]
pub struct Settings {
    pub codecs: Arc<Codecs>,
    /// Bytes of Arrow data after which a block ends.
    pub block_bytes: u64,
    /// Bytes that a task may hold of the file it reads.
    pub slot_memory_bytes: u64,
    /// Whether a table's files may lie on this machine.
    pub allow_local_files: bool,
}

pub struct Run {
    pub me: Me,
    pub peers: Peers,
    pub settings: Settings,
    pub counters: Counters,
    pub spec: pb::TaskSpec,
    /// The lease's epoch: the scheduler accepts only reports of the present one.
    pub epoch: pb::Epoch,
    pub progress: Arc<Progress>,
    /// The bound on its rate of reading.
    pub pace: Arc<Pace>,
    /// Cancelled when the attempt has to stop after the current unit.
    pub wind_down: CancellationToken,
}

/// The most characters of one line of a task's log.
const LINE_CHARS_MAX: usize = 4_000;

/// The units that are published, by index.
pub type Published = std::collections::BTreeMap<i32, pb::UnitResult>;

/// What the scheduler is told of a task.
pub struct Report {
    pub event: pb::task_report::Event,
    /// Lines for the task's log.
    pub lines: Vec<String>,
    /// Outcomes of the task's intents that the scheduler has not been told yet.
    pub outcomes: Vec<pb::IntentOutcome>,
}

impl Report {
    /// Reports that a step is done.
    pub fn of(done: pb::StepDone, lines: Vec<String>) -> Self {
        Self { event: pb::task_report::Event::StepDone(done), lines, outcomes: Vec::new() }
    }

    /// Reports that the attempt failed.
    pub fn failed(why: pb::AttemptFailed) -> Self {
        Self { event: pb::task_report::Event::Failed(why), lines: Vec::new(), outcomes: Vec::new() }
    }
}

impl Run {
    /// Sends a report. True if it ended the lease although steps are left.
    pub async fn report(&self, report: Report) -> Result<bool> {
        let line = |text: String| pb::LogLine {
            level: pb::LogLevel::Info as i32,
            message: text.chars().take(LINE_CHARS_MAX).collect(),
        };
        let report = pb::TaskReport {
            task: self.spec.name.clone(),
            epoch: Some(self.epoch),
            event: Some(report.event),
            lines: report.lines.into_iter().map(line).collect(),
            outcomes: report.outcomes,
        };
        self.peers
            .report(&pb::ReportTasksRequest {
                worker: self.me.worker.clone(),
                instance: self.me.instance.clone(),
                reports: vec![report],
            })
            .await
    }
}
