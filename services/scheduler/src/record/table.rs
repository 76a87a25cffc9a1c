//! The record of a job's table: what was decided about it and what its tasks have done so far. [`JobTable::apply`] is
//! the only way to change it: an event that does not fit is rejected and changes nothing. The whole service may read
//! the record, but its fields are private to this file. Pure: no store, no clock.

use std::ops::Range;

use mms_proto::FindingReason;
use mms_proto::scheduler::v1::{DecisionReason, TableDecision};
use mms_proto::types::v1::ReadPath;
use mms_store::Known;

use super::delta::TaskDelta;
use super::intent::DroppedPartition;
use super::reason::{NotTaken, Reason};
use super::target::{DeltaTable, Finding, Target, TargetName, Version};
use crate::moment::Moment;

/// The decision about a table, and what its plan found.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TablePlan {
    #[prost(message, required, tag = "1")]
    pub decision: Known<TableDecision>,
    #[prost(message, required, tag = "2")]
    pub decision_reason: Known<DecisionReason>,
    #[prost(string, tag = "3")]
    pub decision_message: String,
    #[prost(message, optional, tag = "4")]
    pub version: Option<Version>,
    #[prost(message, optional, tag = "5")]
    pub target: Option<Target>,
    #[prost(message, repeated, tag = "6")]
    pub findings: Vec<Finding>,
    /// Why the table cannot be moved.
    #[prost(message, optional, tag = "7")]
    pub reason: Option<Reason>,
    #[prost(int64, optional, tag = "8")]
    pub source_rows: Option<i64>,
    #[prost(int64, tag = "9")]
    pub source_bytes: i64,
    #[prost(string, tag = "10")]
    pub location: String,
    /// None if the table was not planned.
    #[prost(message, optional, tag = "11")]
    pub delta: Option<DeltaTable>,
    /// The job takes only some of the table's partitions.
    #[prost(bool, tag = "12")]
    pub of_part: bool,
    /// Target partitions that are dropped at the end, because their source is gone.
    #[prost(message, repeated, tag = "13")]
    pub gone: Vec<DroppedPartition>,
    /// Digest of the rules by which the target's rows are made; empty if the catalog gave none.
    #[prost(bytes = "vec", tag = "14")]
    pub rules_digest: Vec<u8>,
    /// The read path as the catalog sent it. Read it by [`TablePlan::path`], which knows the default.
    #[prost(message, required, tag = "15")]
    pub read_path: Known<ReadPath>,
}

impl TablePlan {
    /// A plan with only a decision, its reason and a message.
    pub fn new(decision: TableDecision, reason: DecisionReason, message: impl Into<String>) -> Self {
        Self {
            decision: decision.into(),
            decision_reason: reason.into(),
            decision_message: message.into(),
            ..Self::default()
        }
    }

    /// How its rows are read. A plan that was made before there was a choice reads from files.
    pub fn path(&self) -> ReadPath {
        match *self.read_path {
            ReadPath::Unspecified => ReadPath::Storage,
            path => path,
        }
    }

    /// The target table, if it is known.
    pub fn target_name(&self) -> Option<&TargetName> {
        self.target.as_ref()?.name.as_ref()
    }

    pub fn moves(&self) -> bool {
        self.decision == TableDecision::Move
    }
}

/// The parts of a job's table that change.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TableLife {
    #[prost(message, required, tag = "1")]
    pub plan: TablePlan,
    #[prost(bool, tag = "2")]
    pub planned: bool,
    /// Number of the first task. The numbers of a table's tasks are consecutive.
    #[prost(uint32, tag = "3")]
    pub first_task: u32,
    #[prost(int32, tag = "4")]
    pub task_count: i32,
    #[prost(int64, tag = "5")]
    pub unit_count: i64,
    #[prost(int32, tag = "6")]
    pub tasks_done: i32,
    #[prost(int32, tag = "7")]
    pub tasks_failed: i32,
    #[prost(int64, tag = "8")]
    pub rows_done: i64,
    #[prost(int64, tag = "9")]
    pub bytes_done: i64,
    /// Rows of done tasks that verification counted at the target; None if it counted none.
    #[prost(int64, optional, tag = "10")]
    pub target_rows: Option<i64>,
    /// Why the table cannot be moved, or why the last of its failed tasks failed.
    #[prost(message, optional, tag = "11")]
    pub reason: Option<Reason>,
    #[prost(int64, tag = "12")]
    pub start_time_ms: i64,
    #[prost(int64, tag = "13")]
    pub end_time_ms: i64,
    #[prost(uint64, tag = "14")]
    pub revision: u64,
    /// Digest of the target as the last LOOK step saw it. Empty if there was none, or if tasks were reset since.
    #[prost(bytes = "vec", tag = "15")]
    pub target_digest: Vec<u8>,
    /// Tasks that wait for the task that creates the table have not been told its outcome yet.
    #[prost(bool, tag = "16")]
    pub untold: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct JobTable {
    #[prost(message, required, tag = "1")]
    life: TableLife,
}

/// What can happen to a table of a job.
#[derive(Debug, Clone, PartialEq)]
pub enum TableEvent {
    /// Some of its tasks are stored; more will follow.
    TasksStored {
        /// Their numbers, which continue those stored before.
        tasks: Range<u32>,
        /// The target table.
        target: Option<Box<Target>>,
    },
    /// Its last tasks were dropped, because it is planned again.
    TasksDropped {
        /// How many.
        tasks: i32,
    },
    /// It is planned completely.
    Planned {
        plan: Box<TablePlan>,
        /// The numbers of its last tasks.
        tasks: Range<u32>,
        /// The number of its target units.
        units: i64,
    },
    /// One of its tasks changed.
    TaskChanged(TaskDelta),
    /// The LOOK step has found everything that was published at the target.
    Looked {
        /// Rows that were counted; None if the job moves no rows.
        rows: Option<i64>,
        /// Digest of the target, which changes when somebody writes to it.
        digest: Vec<u8>,
        /// The finding about partitions that the job did not publish.
        surplus: Option<Finding>,
    },
    /// It is to be planned again, because what blocked it may have passed, or because its tasks have failed and a retry
    /// wants the newest version.
    Unplanned,
    /// Whether tasks that wait for the task that creates the table still have to be told its outcome.
    Untold(bool),
}

impl std::ops::Deref for JobTable {
    type Target = TableLife;

    fn deref(&self) -> &TableLife {
        &self.life
    }
}

impl JobTable {
    /// A table of a job's scope, not planned yet.
    pub fn new(plan: TablePlan) -> Self {
        Self { life: TableLife { plan, ..TableLife::default() } }
    }

    pub fn into_plan(self) -> TablePlan {
        self.life.plan
    }

    /// Notes the store revision of the change that is being stored.
    pub fn stored_in(&mut self, revision: u64) {
        self.life.revision = revision;
    }

    /// Whether the table is planned and has failed tasks.
    pub fn has_failed(&self) -> bool {
        self.planned && self.tasks_failed > 0
    }

    /// The numbers of its tasks. For a table that is not planned these are the tasks left of an earlier or unfinished
    /// plan.
    pub fn tasks(&self) -> Range<u32> {
        self.first_task..self.first_task + self.task_count.unsigned_abs()
    }

    /// Whether all its tasks are done.
    pub fn is_done(&self) -> bool {
        self.tasks_done == self.task_count
    }

    /// Whether all its tasks have ended.
    pub fn is_ended(&self) -> bool {
        self.tasks_done + self.tasks_failed == self.task_count
    }

    /// Applies an event.
    ///
    /// # Errors
    /// If the table does not accept the event in its present state. The table is then unchanged.
    pub fn apply(&mut self, at: &Moment, event: TableEvent) -> Result<(), NotTaken> {
        match event {
            TableEvent::TasksStored { tasks, target } if self.is_continued_by(&tasks) => {
                (self.life.first_task, self.life.task_count) = self.with(&tasks);
                self.life.plan.target = target.map(|target| *target);
                Ok(())
            }
            TableEvent::TasksDropped { tasks } if !self.life.planned && tasks <= self.life.task_count => {
                self.life.task_count -= tasks;
                Ok(())
            }
            TableEvent::Planned { plan, tasks, units } if self.is_continued_by(&tasks) => {
                let (first_task, task_count) = self.with(&tasks);
                let (reason, revision) = (plan.reason.clone(), self.life.revision);
                self.life = TableLife {
                    plan: *plan,
                    planned: true,
                    first_task,
                    task_count,
                    unit_count: units,
                    reason,
                    revision,
                    ..TableLife::default()
                };
                Ok(())
            }
            TableEvent::TaskChanged(delta) if self.life.planned => {
                self.roll(&delta, at.now_ms);
                Ok(())
            }
            TableEvent::Looked { rows, digest, surplus } if self.life.planned => {
                let life = &mut self.life;
                (life.target_rows, life.target_digest) = (rows.or(life.target_rows), digest);
                life.plan.findings.retain(|found| found.reason != FindingReason::TargetPartitionSurplus);
                life.plan.findings.extend(surplus);
                Ok(())
            }
            TableEvent::Unplanned if self.life.planned && self.life.plan.decision == TableDecision::Blocked => {
                *self = Self::new(TablePlan::new(
                    TableDecision::Move,
                    DecisionReason::Retried,
                    "planned again: a caller retried the job",
                ));
                Ok(())
            }
            TableEvent::Unplanned if self.has_failed() => {
                let text = "planned again with its newest version: a caller retried the job";
                // Kept, because the claims of its tasks on this target are released when they are dropped.
                let TableLife { first_task, task_count, revision, .. } = self.life;
                let target = self.life.plan.target.take();
                let plan = TablePlan { target, ..TablePlan::new(TableDecision::Move, DecisionReason::Retried, text) };
                self.life = TableLife { plan, first_task, task_count, revision, ..TableLife::default() };
                Ok(())
            }
            TableEvent::Untold(untold) if self.life.planned => {
                self.life.untold = untold;
                Ok(())
            }
            event => Err(self.not_taken(&event)),
        }
    }

    /// Whether the table is not planned, and these tasks continue those that are stored.
    fn is_continued_by(&self, tasks: &Range<u32>) -> bool {
        !self.life.planned && (self.life.task_count == 0 || tasks.start == self.tasks().end)
    }

    /// The number of its first task and the number of its tasks, including these.
    fn with(&self, tasks: &Range<u32>) -> (u32, i32) {
        let first = if self.life.task_count == 0 { tasks.start } else { self.life.first_task };
        (first, self.life.task_count.saturating_add(i32::try_from(tasks.len()).unwrap_or(i32::MAX)))
    }

    fn not_taken(&self, event: &TableEvent) -> NotTaken {
        let planned = if self.life.planned { "planned" } else { "not planned" };
        let event = match event {
            TableEvent::Planned { .. } => "a plan",
            TableEvent::TasksStored { .. } => "tasks",
            TableEvent::TasksDropped { .. } => "to lose tasks",
            TableEvent::Untold(_) => "what came of its maker",
            TableEvent::TaskChanged(_) => "a change of a task",
            TableEvent::Looked { .. } => "a look at its target",
            TableEvent::Unplanned => "to be planned again",
        };
        NotTaken { what: "table", stands: format!("{planned}, {:?}", self.life.plan.decision), event }
    }

    fn roll(&mut self, delta: &TaskDelta, now_ms: i64) {
        let life = &mut self.life;
        if life.start_time_ms == 0 && delta.is_leased {
            life.start_time_ms = now_ms;
        }
        life.tasks_done += delta.done;
        life.tasks_failed += delta.failed;
        life.rows_done += delta.rows;
        life.bytes_done += delta.bytes;
        if delta.done < 0 {
            life.target_digest.clear();
        }
        if let Some(counted) = delta.counted {
            life.target_rows = Some(life.target_rows.unwrap_or(0) + counted);
        }
        life.reason = match (&delta.failed_for, life.tasks_failed) {
            (Some(reason), _) => reason.clone(),
            (None, 0) => None,
            (None, _) => life.reason.take(),
        };
        self.life.end_time_ms = if self.is_ended() { now_ms } else { 0 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::schema;

    #[test]
    fn a_table_is_planned_once_and_again_only_when_it_was_blocked() {
        let store = mms_store::Store::in_memory(schema()).expect("a store of memory");
        let at = Moment { now_ms: 5, spread: 0.5, incarnation: store.incarnation() };
        let plan = |decision| TableEvent::Planned {
            plan: Box::new(TablePlan::new(decision, DecisionReason::Named, "")),
            tasks: 3..5,
            units: 2,
        };
        let task = |done| TableEvent::TaskChanged(TaskDelta { done, ..TaskDelta::default() });
        let mut table = JobTable::new(TablePlan::new(TableDecision::Move, DecisionReason::Named, ""));
        table.apply(&at, task(1)).expect_err("it has no tasks");
        table.apply(&at, TableEvent::Unplanned).expect_err("it is not planned");
        table.apply(&at, plan(TableDecision::Blocked)).expect("listed");
        table.apply(&at, plan(TableDecision::Move)).expect_err("planned twice");
        table.apply(&at, TableEvent::Unplanned).expect("it was blocked");
        table.apply(&at, plan(TableDecision::Move)).expect("to be planned again");
        table.apply(&at, TableEvent::Unplanned).expect_err("it is moved");
        assert_eq!((table.tasks(), table.is_done(), table.end_time_ms), (3..5, false, 0));
        table.apply(&at, task(2)).expect("its tasks");
        assert_eq!((table.is_done(), table.end_time_ms), (true, 5));
    }

    #[test]
    fn tasks_follow_each_other_and_those_of_a_failed_table_are_dropped_before_it_is_planned_again() {
        let store = mms_store::Store::in_memory(schema()).expect("a store of memory");
        let at = Moment { now_ms: 5, spread: 0.5, incarnation: store.incarnation() };
        let stored = |tasks| TableEvent::TasksStored { tasks, target: None };
        let planned = |tasks| TableEvent::Planned {
            plan: Box::new(TablePlan::new(TableDecision::Move, DecisionReason::Named, "")),
            tasks,
            units: 2,
        };
        let mut table = JobTable::new(TablePlan::new(TableDecision::Move, DecisionReason::Named, ""));
        table.apply(&at, stored(3..5)).expect("the first");
        table.apply(&at, stored(6..7)).expect_err("there is a gap");
        table.apply(&at, stored(5..6)).expect("the next");
        table.apply(&at, planned(6..8)).expect("the last");
        assert_eq!((table.planned, table.tasks()), (true, 3..8));
        table.apply(&at, TableEvent::TasksDropped { tasks: 1 }).expect_err("it is planned");
        table.apply(&at, TableEvent::Unplanned).expect_err("nothing has failed");
        let failed = TaskDelta { failed: 1, ..TaskDelta::default() };
        table.apply(&at, TableEvent::TaskChanged(failed)).expect("its task");
        table.apply(&at, TableEvent::Unplanned).expect("it has failed");
        assert_eq!((table.planned, table.tasks(), table.tasks_failed), (false, 3..8, 0));
        table.apply(&at, TableEvent::TasksDropped { tasks: 5 }).expect("they are its");
        table.apply(&at, planned(9..10)).expect("planned anew");
        assert_eq!(table.tasks(), 9..10);
    }
}
