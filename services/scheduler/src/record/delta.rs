//! Computes how a change of a task changes the counts of its table and its job. Pure.

use mms_proto::types::v1::Verdict;

use super::counts::Counts;
use super::reason::Reason;
use super::task::Task;
use super::task_state::TaskState;

/// What a change of a task adds to its table and its job. Negative numbers take away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskDelta {
    /// The task is leased now.
    pub is_leased: bool,
    /// An attempt failed, whether or not it is retried.
    pub attempt_failed: bool,
    /// The reason of the task, if it is in a failed state now.
    pub failed_for: Option<Option<Reason>>,
    /// Leased tasks.
    pub leased: i32,
    /// Failed tasks.
    pub failed: i32,
    /// Tasks with only their LOOK step left.
    pub at_look: i32,
    /// Done tasks.
    pub done: i32,
    /// Rows of done tasks.
    pub rows: i64,
    /// Bytes of done tasks.
    pub bytes: i64,
    /// Rows of done tasks that verification counted at the target; None if it did not.
    pub counted: Option<i64>,
}

impl TaskDelta {
    /// The difference between two states of a task.
    pub fn between(before: &Task, after: &Task) -> Self {
        let is_done = |task: &Task| task.state == TaskState::Done;
        let done = flip(is_done(before), is_done(after));
        let task = if done < 0 { before } else { after };
        let counted = counted_rows(task).filter(|_| done != 0);
        Self {
            is_leased: after.leased(),
            attempt_failed: after.failures > before.failures,
            failed_for: after.state.is_failed().then(|| after.reason.clone()),
            leased: flip(before.leased(), after.leased()),
            failed: flip(before.state.is_failed(), after.state.is_failed()),
            at_look: flip(before.is_at_look(), after.is_at_look()),
            done,
            rows: i64::from(done) * task.rows_done,
            bytes: i64::from(done) * task.bytes_done,
            counted: counted.map(|rows| i64::from(done) * rows),
        }
    }
}

/// What a task adds to the counts of its job.
pub fn counts_of(task: &Task) -> Counts {
    let done = task.state == TaskState::Done;
    Counts {
        tasks_total: 1,
        tasks_running: i32::from(task.leased()),
        tasks_done: i32::from(done),
        tasks_failed: i32::from(task.state.is_failed()),
        tasks_at_look: i32::from(task.is_at_look()),
        rows_total: task.rows_total().unwrap_or(0),
        rows_done: i64::from(done) * task.rows_done,
        bytes_total: task.bytes_total(),
        bytes_done: i64::from(done) * task.bytes_done,
        ..Counts::default()
    }
}

/// 1 if something became true, -1 if it became false, else 0.
pub fn flip(before: bool, after: bool) -> i32 {
    i32::from(after) - i32::from(before)
}

/// Rows that verification counted at the target.
fn counted_rows(task: &Task) -> Option<i64> {
    task.verification.filter(|found| found.verdict == Verdict::Equal)?.target_rows
}
