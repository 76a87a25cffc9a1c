//! Events of tasks. [`super::task`] decides what follows from them.

use super::lease::{Holder, LeaseEnd};
use super::reason::Reason;
use super::task_state::Step;
use super::verification::Verification;

/// What can happen to a task.
#[derive(Debug, Clone, PartialEq)]
pub enum TaskEvent {
    /// A worker leases it.
    Leased(Holder),
    /// Its lease ends before the task does.
    LeaseEnded(LeaseEnd),
    /// Its holder leaves a checkpoint for the next holder.
    CheckpointKept(Vec<u8>),
    /// A step has begun.
    StepBegun(Step),
    /// A step is done.
    StepDone {
        step: Step,
        /// Of DATA: rows read.
        rows: i64,
        /// Of DATA: bytes read.
        bytes: i64,
        /// Of VERIFICATION: what it came to.
        verification: Option<Verification>,
        /// Of SCHEMA: the generation of the table that exists.
        generation: Option<u64>,
    },
    /// The attempt failed.
    StepFailed {
        /// The step that is to be repeated. One before the present step takes the task back to it.
        step: Step,
        /// A retry cannot succeed.
        permanent: bool,
        /// Of VERIFICATION: source and target could be compared.
        compared: bool,
        /// Most attempts that the job allows.
        max_attempts: i32,
        reason: Reason,
        /// Of VERIFICATION: what it came to.
        verification: Option<Verification>,
    },
    /// The data source's credential was refused. The task loses no attempt, and the source waits.
    Refused {
        /// The step that is to be repeated, as with a failure.
        step: Step,
        reason: Reason,
    },
    /// A commit of the task was applied to a unit.
    UnitPublished {
        /// The generation of the table in which the unit was published.
        generation: u64,
        /// Position of the unit in the task.
        index: usize,
        /// Rows written.
        rows: i64,
        /// Bytes written.
        bytes: i64,
    },
    /// The rows of these units were deleted or replaced, or may have been. Does nothing if none is given.
    UnitsLost(Vec<usize>),
    /// The target table was deleted or is another one. All that was done at the target is to be repeated.
    TargetLost {
        /// Another task is to make the table first.
        blocked: bool,
    },
    /// The table exists, for which the task may have waited.
    TableMade,
    /// The table for which the task waits cannot be made, for this reason.
    TableFailed(Option<Reason>),
    /// A caller wants it retried.
    Retried,
    /// Its job was stopped and the task is not leased.
    JobStopped,
}

impl TaskEvent {
    /// The event in words, for error texts.
    pub fn text(&self) -> &'static str {
        match self {
            Self::Leased(_) => "a lease",
            Self::LeaseEnded(_) => "the end of a lease",
            Self::CheckpointKept(_) => "a checkpoint",
            Self::StepBegun(_) => "the begin of that step",
            Self::StepDone { .. } => "the end of that step",
            Self::StepFailed { .. } => "the failure of a step",
            Self::Refused { .. } => "the refusal of a credential",
            Self::UnitPublished { .. } => "a unit that was published",
            Self::UnitsLost(_) => "the loss of units",
            Self::TargetLost { .. } => "the loss of its table",
            Self::TableMade => "a table that was made",
            Self::TableFailed(_) => "a table that cannot be made",
            Self::Retried => "another try",
            Self::JobStopped => "the stop of its job",
        }
    }
}
