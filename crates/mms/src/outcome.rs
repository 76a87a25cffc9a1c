//! The outcome of a table in a job, one word for each state. Pure.

use std::fmt;

use mms_proto::scheduler::v1::{JobTable, TableDecision};
use mms_proto::types::v1::MigrationState;
use serde::Serialize;

/// The outcome of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Outcome {
    /// All of the table is at the target.
    Done,
    /// The target already has this version.
    Unchanged,
    /// It is of a kind that cannot be moved.
    Skipped,
    /// It is being pinned and planned.
    Planning,
    /// It is planned, and none of its tasks has started.
    Waiting,
    /// Its tasks run.
    Running,
    /// Its job was stopped when a part of it was at the target.
    PartDone,
    /// A finding or an error forbids moving it.
    Blocked,
    /// It could not be read, or one of its tasks failed.
    Failed,
}

impl Outcome {
    /// The outcome, from the job's record of a table.
    pub fn of(table: &JobTable) -> Self {
        match table.decision() {
            TableDecision::Unspecified => Self::Planning,
            TableDecision::Unchanged => Self::Unchanged,
            TableDecision::Skipped | TableDecision::Excluded => Self::Skipped,
            TableDecision::Blocked => Self::Blocked,
            TableDecision::Move => match table.state() {
                MigrationState::Done => Self::Done,
                MigrationState::Failed => Self::Failed,
                MigrationState::Doing => Self::Running,
                MigrationState::PartDone => Self::PartDone,
                MigrationState::Init | MigrationState::Unspecified if table.version.is_none() => Self::Planning,
                MigrationState::Init | MigrationState::Unspecified => Self::Waiting,
            },
        }
    }

    /// Whether nothing is left to do for the table.
    pub fn is_good(self) -> bool {
        matches!(self, Self::Done | Self::Unchanged | Self::Skipped)
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::Done => "DONE",
            Self::Unchanged => "UNCHANGED",
            Self::Skipped => "SKIPPED",
            Self::Planning => "PLANNING",
            Self::Waiting => "WAITING",
            Self::Running => "RUNNING",
            Self::PartDone => "PART_DONE",
            Self::Blocked => "BLOCKED",
            Self::Failed => "FAILED",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mms_proto::types::v1::SourceVersion;

    #[test]
    fn each_state_has_its_own_word() {
        let table = |decision: TableDecision, state: MigrationState, planned: bool| {
            let version = planned.then(SourceVersion::default);
            JobTable { decision: decision.into(), state: state.into(), version, ..JobTable::default() }
        };
        use {MigrationState as S, TableDecision as D};
        let cases = [
            (table(D::Unspecified, S::Init, false), "PLANNING"),
            (table(D::Move, S::Init, false), "PLANNING"),
            (table(D::Move, S::Init, true), "WAITING"),
            (table(D::Move, S::Doing, true), "RUNNING"),
            (table(D::Move, S::PartDone, true), "PART_DONE"),
            (table(D::Unchanged, S::Done, true), "UNCHANGED"),
            (table(D::Skipped, S::Init, false), "SKIPPED"),
            (table(D::Blocked, S::Failed, true), "BLOCKED"),
            (table(D::Move, S::Done, true), "DONE"),
            (table(D::Move, S::Failed, true), "FAILED"),
        ];
        for (table, word) in cases {
            let outcome = Outcome::of(&table);
            assert_eq!(outcome.to_string(), word);
            assert_eq!(serde_json::json!(outcome), word, "in JSON too");
        }
    }
}
