//! Where a job can stand, and what can happen to it. What follows from that is in [`super::job`], which alone sets states.

use super::counts::Counts;
use super::delta::TaskDelta;
use super::reason::Reason;
use super::spec::{Limits, SpecChange};

/// Where a job stands. The numbers are kept on disk and are those of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum JobState {
    /// Its tables are pinned and planned.
    Planning = 1,
    /// Planned, waits for approval.
    PendingReview = 2,
    /// No task has been leased yet.
    Waiting = 3,
    /// Tasks run.
    Running = 4,
    /// No tasks start, for a reason.
    Paused = 5,
    /// No task starts, and running ones are fenced.
    Stopping = 6,
    /// Stopped by somebody.
    Stopped = 7,
    /// All of it is done.
    Done = 8,
    /// Everything ended, something failed.
    Failed = 9,
}

/// What is under way with a job and concerns all its tasks. The numbers are kept on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum Change {
    /// It goes on after a stop.
    Start = 1,
    /// What failed is tried again.
    Retry = 2,
    /// It goes away.
    Delete = 3,
    /// It comes to a stop. Not kept as a change: the state STOPPING says it.
    Stop = 4,
}

/// What can happen to a job.
#[derive(Debug, Clone, PartialEq)]
pub enum JobEvent {
    /// What an interrupted listing of its scope left is dropped.
    Unlisted,
    /// So many tables of its scope are stored, those that lists leave out not counted.
    Listed {
        /// Tables.
        tables: i32,
    },
    /// All tables of its scope are stored, and the limits that hold for it are known.
    ScopeListed(Box<Limits>),
    /// Its data source's settings changed, and with them the limits that hold for it.
    LimitsChanged(Box<Limits>),
    /// Somebody says anew when and how its tasks go.
    SpecChanged(SpecChange),
    /// A table is planned, which adds this much to what is to be done.
    TablePlanned(Counts),
    /// All tables are planned.
    Planned,
    /// Planning cannot be done at all, for this reason.
    PlanFailed(Reason),
    /// Somebody approved the plan.
    Approved {
        /// Who.
        approver: String,
    },
    /// A task of it changed.
    TaskChanged {
        /// How.
        delta: TaskDelta,
        /// Tables that are done with it, or, if less than 0, are no longer.
        tables_done: i32,
        /// Tables that have their first failed task with it, or none any more.
        tables_failed: i32,
    },
    /// Somebody stops it; or the service does, for a reason.
    Stop {
        /// The service's.
        why: Option<Reason>,
    },
    /// No task of it runs any more.
    Stopped,
    /// Somebody goes on with it.
    Start,
    /// Somebody retries what failed, or only one task.
    Retry {
        /// The number of the task; None: all.
        task: Option<u32>,
        /// What failed is planned again first, with the newest version of its table.
        repin: bool,
    },
    /// Tables are to be planned again.
    Unplanned {
        /// How many that were blocked.
        blocked: i32,
        /// How many of which tasks have failed.
        failed: i32,
    },
    /// Tasks of a table that is to be planned again are gone, which takes this much away.
    TasksDropped(Counts),
    /// All of it is as a start or a retry wants it.
    CameBack,
    /// It cannot come back, as somebody else has its targets.
    Refused,
    /// Somebody deletes it: what has come to an end goes away.
    Delete,
    /// The logs of its tasks are gone, as their time was up.
    LogsDropped,
}

impl JobEvent {
    /// What was to be done, as a word for people.
    fn done(&self) -> &'static str {
        match self {
            Self::Unlisted | Self::Listed { .. } | Self::ScopeListed(_) => "listed",
            Self::LimitsChanged(_) | Self::SpecChanged(_) => "changed",
            Self::TablePlanned(_)
            | Self::Planned
            | Self::PlanFailed(_)
            | Self::Unplanned { .. }
            | Self::TasksDropped(_) => "planned",
            Self::Approved { .. } => "approved",
            Self::TaskChanged { .. } => "worked on",
            Self::Stop { .. } | Self::Stopped => "stopped",
            Self::Start => "started",
            Self::Retry { .. } => "tried again",
            Self::CameBack | Self::Refused => "brought back",
            Self::Delete => "deleted",
            Self::LogsDropped => "rid of its logs",
        }
    }
}

/// An event that a state does not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a job that is {state} cannot be {done}: {}", state.advice())]
pub struct WrongState {
    /// The state it is in.
    pub state: JobState,
    /// What was to happen, as a word for people.
    done: &'static str,
}

impl WrongState {
    /// This state does not take this event.
    pub fn new(state: JobState, event: &JobEvent) -> Self {
        Self { state, done: event.done() }
    }
}

impl std::fmt::Display for JobState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Planning => "PLANNING",
            Self::PendingReview => "PENDING_REVIEW",
            Self::Waiting => "WAITING",
            Self::Running => "RUNNING",
            Self::Paused => "PAUSED",
            Self::Stopping => "STOPPING",
            Self::Stopped => "STOPPED",
            Self::Done => "DONE",
            Self::Failed => "FAILED",
        })
    }
}

impl JobState {
    /// Every state.
    #[cfg(test)]
    pub const ALL: [Self; 9] = [
        Self::Planning,
        Self::PendingReview,
        Self::Waiting,
        Self::Running,
        Self::Paused,
        Self::Stopping,
        Self::Stopped,
        Self::Done,
        Self::Failed,
    ];

    /// What can be done with a job in this state.
    fn advice(self) -> &'static str {
        match self {
            Self::Planning | Self::Waiting | Self::Running => "wait for its end, or StopJob",
            Self::PendingReview => "ApproveJob starts its plan, StopJob drops it",
            Self::Stopping => "wait until it is STOPPED",
            Self::Paused | Self::Stopped => "StartJob goes on with it",
            Self::Failed => "RetryJob runs again what failed",
            Self::Done => "make a new job",
        }
    }

    /// Whether work goes on by itself: it is planned or dispatched.
    pub fn is_live(self) -> bool {
        matches!(self, Self::Planning | Self::Waiting | Self::Running)
    }

    /// Whether tasks may be leased.
    pub fn dispatches(self) -> bool {
        matches!(self, Self::Waiting | Self::Running)
    }

    /// Whether it has come to an end (from which somebody can bring it back).
    pub fn is_ended(self) -> bool {
        matches!(self, Self::Stopped | Self::Done | Self::Failed)
    }

    /// Whether it claims its target units.
    pub fn owns_units(self) -> bool {
        !self.is_ended()
    }
}
