//! Writes the logs of tasks: one line per event, the last 1,000 of each task.

use mms_proto::scheduler::v1::LogLevel;
use mms_store::Tx;

use crate::error::Result;
use crate::key::{LogKey, TaskKey};
use crate::moment::Moment;
use crate::record::{Log, Task};
use crate::store::LOGS;

/// Most lines kept of a task's log.
const LOGS_MAX: u64 = 1_000;
/// Most characters kept of a line.
const LOG_CHARS_MAX: usize = 4_000;

/// A line for a task's log.
#[derive(Debug, Clone)]
pub struct Line {
    pub level: LogLevel,
    /// Id of the worker that wrote it; empty for this service.
    pub worker: String,
    pub message: String,
}

impl Line {
    /// A line of this service, at level INFO.
    pub fn own(message: impl Into<String>) -> Self {
        Self { level: LogLevel::Info, worker: String::new(), message: message.into() }
    }
}

/// Appends a line to a task's log, and deletes the oldest if there are too many.
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
