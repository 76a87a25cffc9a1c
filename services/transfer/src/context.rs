//! What every step of an attempt works with: the task, the lease it is done under, and the way to report on it. Decides
//! nothing, and knows no step.

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
    /// This process.
    pub instance: String,
}

/// How rows are moved here.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Compression of blocks.
    pub codecs: Arc<Codecs>,
    /// Bytes after which a block ends.
    pub block_bytes: u64,
    /// Bytes that may be held of a file that is read.
    pub slot_memory_bytes: u64,
    /// Whether tables may lie on this machine.
    pub allow_local_files: bool,
}

/// What an attempt works with.
pub struct Run {
    /// Who we are.
    pub me: Me,
    /// The other services.
    pub peers: Peers,
    /// How rows are moved.
    pub settings: Settings,
    /// What is counted.
    pub counters: Counters,
    /// The task.
    pub spec: pb::TaskSpec,
    /// The lease's epoch.
    pub epoch: pb::Epoch,
    /// How far it is.
    pub progress: Arc<Progress>,
    /// How fast it may read.
    pub pace: Arc<Pace>,
    /// Finish the unit at hand, then give the lease back.
    pub wind_down: CancellationToken,
}

/// Characters of a line for a task's log.
const LINE_CHARS_MAX: usize = 4_000;

/// Units that are published, by their index, with rows.
pub type Published = std::collections::BTreeMap<i32, pb::UnitResult>;

/// What is said of a task.
pub struct Report {
    /// What happened.
    pub event: pb::task_report::Event,
    /// Lines for its log.
    pub lines: Vec<String>,
    /// What became of intents of it, if the scheduler does not know yet.
    pub outcomes: Vec<pb::IntentOutcome>,
}

impl Report {
    /// A step that is done.
    pub fn of(done: pb::StepDone, lines: Vec<String>) -> Self {
        Self { event: pb::task_report::Event::StepDone(done), lines, outcomes: Vec::new() }
    }

    /// An attempt that failed.
    pub fn failed(why: pb::AttemptFailed) -> Self {
        Self { event: pb::task_report::Event::Failed(why), lines: Vec::new(), outcomes: Vec::new() }
    }
}

impl Run {
    /// Reports on this task, and answers whether that ended the lease although steps are left.
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
