//! What can happen to a task. What follows from it is in [`super::task`].

use super::lease::{Holder, LeaseEnd};
use super::reason::Reason;
use super::task_state::Step;
use super::verification::Verification;

/// What can happen to a task.
#[derive(Debug, Clone, PartialEq)]
pub enum TaskEvent {
    /// Somebody takes it.
    Leased(Holder),
    /// Its lease ends before it does.
    LeaseEnded(LeaseEnd),
    /// Its holder leaves this for its successor.
    CheckpointKept(Vec<u8>),
    /// A step began.
    StepBegun(Step),
    /// A step is done.
    StepDone {
        /// Which.
        step: Step,
        /// Of DATA: rows read.
        rows: i64,
        /// Of DATA: bytes read.
        bytes: i64,
        /// Of VERIFICATION: what it came to.
        verification: Option<Verification>,
        /// Of SCHEMA: the generation of the table that is there.
        generation: Option<u64>,
    },
    /// The attempt failed.
    StepFailed {
        /// Where: the step that is to be done again. One before the step at hand takes the task back to it.
        step: Step,
        /// It will not pass by itself.
        permanent: bool,
        /// Of VERIFICATION: both sides were compared.
        compared: bool,
        /// Attempts that its job gives it.
        max_attempts: i32,
        /// Why.
        reason: Reason,
        /// Of VERIFICATION: what it came to.
        verification: Option<Verification>,
    },
    /// The source's credential was refused: nobody's attempt, and the source waits.
    Refused {
        /// In which step, as with a failure.
        step: Step,
        /// Why.
        reason: Reason,
    },
    /// A commit of it was applied to a unit.
    UnitPublished {
        /// The generation of the table that it was published in.
        generation: u64,
        /// Which, by its place in the task.
        index: usize,
        /// Rows written.
        rows: i64,
        /// Bytes written.
        bytes: i64,
    },
    /// The rows of these units are gone or replaced, or may be; of none: nothing happened.
    UnitsLost(Vec<usize>),
    /// The target table is gone, or another: all that was done there is to be done again.
    TargetLost {
        /// The table is yet to be made by another task.
        blocked: bool,
    },
    /// The table is made, for which it may have waited.
    TableMade,
    /// The table for which it waits cannot be made, for this reason.
    TableFailed(Option<Reason>),
    /// Somebody wants it tried again.
    Retried,
    /// Its job was stopped, and nobody holds it.
    JobStopped,
}

impl TaskEvent {
    /// As words.
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
