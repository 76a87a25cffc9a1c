//! The logs of tasks: one line for each thing that happened, the last thousand of them.

use mms_proto::scheduler::v1::LogLevel;
use mms_store::Tx;

use crate::error::Result;
use crate::key::{LogKey, TaskKey};
use crate::moment::Moment;
use crate::record::{Log, Task};
use crate::store::LOGS;

/// Lines of a task's log that are kept.
const LOGS_MAX: u64 = 1_000;
/// Characters of one line that are kept.
const LOG_CHARS_MAX: usize = 4_000;

/// A line for a task's log.
#[derive(Debug, Clone)]
pub struct Line {
    /// How grave it is.
    pub level: LogLevel,
    /// Who says it; empty: this service.
    pub worker: String,
    /// What was done or found.
    pub message: String,
}

impl Line {
    /// A line of this service, of something that is as it should be.
    pub fn own(message: impl Into<String>) -> Self {
        Self { level: LogLevel::Info, worker: String::new(), message: message.into() }
    }
}

/// Writes a line into a task's log; the oldest goes when there are too many.
pub fn write(tx: &mut Tx<'_>, at: &Moment, key: &TaskKey, task: &mut Task, line: &Line) -> Result<()> {
    let own = |sequence| LogKey { task: key.clone(), sequence };
    let sequence = task.take_line();
    let stored = Log {
        time_ms: at.now_ms,
        attempt: if line.worker.is_empty() { 0 } else { task.attempt },
        worker: line.worker.clone(),
        state: task.state,
        message: line.message.chars().take(LOG_CHARS_MAX).collect(),
        step: task.state.step().map(Into::into),
        level: line.level.into(),
    };
    tx.put(&LOGS, &own(sequence), &stored)?;
    if let Some(oldest) = sequence.checked_sub(LOGS_MAX).filter(|n| *n > 0) {
        tx.delete(&LOGS, &own(oldest))?;
    }
    Ok(())
}
