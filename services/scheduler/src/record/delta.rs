//! What a change of a task means for its table and its job. Pure sums.

use mms_proto::types::v1::Verdict;

use super::counts::Counts;
use super::reason::Reason;
use super::task::Task;
use super::task_state::TaskState;

/// What a change of a task means for its table and its job. Numbers below 0 take away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskDelta {
    /// Somebody holds the task now.
    pub is_leased: bool,
    /// An attempt failed, whether it is tried again or not.
    pub attempt_failed: bool,
    /// Why it failed, if it has.
    pub failed_for: Option<Option<Reason>>,
    /// Tasks that are leased.
    pub leased: i32,
    /// Tasks that failed.
    pub failed: i32,
    /// Tasks that wait to look at their table, or do.
    pub at_look: i32,
    /// Tasks that are done.
    pub done: i32,
    /// Rows of tasks that are done.
    pub rows: i64,
    /// Their bytes.
    pub bytes: i64,
    /// Rows of them that verification counted in the target, if it counted them.
    pub counted: Option<i64>,
}

impl TaskDelta {
    /// What lies between two states of a task.
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

/// What is added when something becomes true, and taken away when it is true no longer.
pub fn flip(before: bool, after: bool) -> i32 {
    i32::from(after) - i32::from(before)
}

/// Rows that verification counted in the target.
fn counted_rows(task: &Task) -> Option<i64> {
    task.verification.filter(|found| found.verdict == Verdict::Equal)?.target_rows
}
