//! States and events of jobs. [`super::job`] decides what follows from an event, and alone sets states.

use super::counts::Counts;
use super::delta::TaskDelta;
use super::reason::Reason;
use super::spec::{Limits, SpecChange};

/// The state of a job. The numbers are stored on disk and are those of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum JobState {
    /// Its tables are being listed, pinned and planned.
    Planning = 1,
    /// It is planned and waits for approval.
    PendingReview = 2,
    /// Its tasks can be leased; none was since it was planned or started.
    Waiting = 3,
    /// Tasks are leased.
    Running = 4,
    /// No task is leased, for a reason; running ones continue.
    Paused = 5,
    /// No task is leased, and running ones are being fenced.
    Stopping = 6,
    /// Somebody, or the service, has stopped it.
    Stopped = 7,
    /// All of it is done.
    Done = 8,
    /// All of it has ended, and something has failed or was blocked.
    Failed = 9,
}

/// A change that concerns all tasks of a job and takes several commits. The numbers are stored on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum Change {
    /// It continues after a stop or a pause.
    Start = 1,
    /// Failed tasks and blocked tables are retried.
    Retry = 2,
    /// It is deleted.
    Delete = 3,
    /// It is being stopped. Never stored as a change: the state STOPPING stands for it.
    Stop = 4,
}

/// What can happen to a job.
#[derive(Debug, Clone, PartialEq)]
pub enum JobEvent {
    /// The tables of an interrupted listing are being deleted.
    Unlisted,
    /// Some tables of its scope are stored.
    Listed {
        /// How many, without those that its lists exclude.
        tables: i32,
    },
    /// All tables of its scope are stored; the limits are those that hold for the job.
    ScopeListed(Box<Limits>),
    /// The data source's settings have changed; the limits are those that now hold for the job.
    LimitsChanged(Box<Limits>),
    /// A caller has changed when and how its tasks run.
    SpecChanged(SpecChange),
    /// A piece of a table's plan is stored, which adds this to what is to be done.
    TablePlanned(Counts),
    /// All tables are planned.
    Planned,
    /// It cannot be planned at all, for this reason.
    PlanFailed(Reason),
    /// A caller has approved the plan.
    Approved { approver: String },
    /// One of its tasks changed.
    TaskChanged {
        delta: TaskDelta,
        /// Tables that became done with it; -1 if one no longer is.
        tables_done: i32,
        /// Tables that got their first failed task with it; -1 if one has none any more.
        tables_failed: i32,
    },
    /// A caller stops it, or the service does.
    Stop {
        /// Why the service stops it; None for a caller.
        why: Option<Reason>,
    },
    /// No task of it is leased any more, after a stop.
    Stopped,
    /// A caller starts it.
    Start,
    /// A caller retries all that failed, or one task.
    Retry {
        /// The number of the task; None for all.
        task: Option<u32>,
        /// Tables with failed tasks are planned again first, with their newest version.
        repin: bool,
    },
    /// Some of its tables are to be planned again.
    Unplanned {
        /// Those of them that were blocked.
        blocked: i32,
        /// Those of them that had failed tasks.
        failed: i32,
    },
    /// Tasks of a table that is planned again were dropped, which takes this away from what is to be done.
    TasksDropped(Counts),
    /// A start or a retry is complete.
    CameBack,
    /// A start or a retry is rejected, because another job has taken a target, or a newer version is there.
    Refused,
    /// A caller deletes it after it has ended.
    Delete,
    /// The logs of its tasks were deleted because their retention has ended.
    LogsDropped,
}

impl JobEvent {
    /// What was to be done with the job, as a participle for error texts.
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
            Self::Retry { .. } => "retried",
            Self::CameBack | Self::Refused => "brought back",
            Self::Delete => "deleted",
            Self::LogsDropped => "rid of its logs",
        }
    }
}

/// An event that a job does not accept in its present state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a job that is {state} cannot be {done}: {}", state.advice())]
pub struct WrongState {
    pub state: JobState,
    /// What was to be done with the job, as a participle.
    done: &'static str,
}

impl WrongState {
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
            Self::PendingReview => "ApproveJob starts its plan, StopJob discards it",
            Self::Stopping => "wait until it is STOPPED",
            Self::Paused | Self::Stopped => "StartJob continues it",
            Self::Failed => "RetryJob retries what failed",
            Self::Done => "make a new job",
        }
    }

    /// Whether work goes on by itself: tables are planned or tasks are leased.
    pub fn is_live(self) -> bool {
        matches!(self, Self::Planning | Self::Waiting | Self::Running)
    }

    /// Whether tasks may be leased.
    pub fn dispatches(self) -> bool {
        matches!(self, Self::Waiting | Self::Running)
    }

    /// Whether it has ended. A start or a retry can bring back a stopped or failed job.
    pub fn is_ended(self) -> bool {
        matches!(self, Self::Stopped | Self::Done | Self::Failed)
    }

    /// Whether it claims its target units.
    pub fn owns_units(self) -> bool {
        !self.is_ended()
    }
}
