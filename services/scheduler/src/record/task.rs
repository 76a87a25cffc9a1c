//! The record of a task. [`Task::apply`] is the only way to change it: an event leads to a state that the task may have,
//! or is rejected and changes nothing. The whole service may read the record, but its fields are private to this file, so
//! that no other code can set a state. Pure: no store, no clock.

use mms_proto::ErrorReason;
use mms_proto::types::v1::MigrationState;
use mms_store::Known;

use super::lease::{Epoch, Holder, LeaseEnd};
use super::reason::{NotTaken, Reason};
use super::task_event::TaskEvent;
use super::task_state::{self, AfterFailure, EXPIRIES_MAX, Failure, Step, TaskState};
use super::unit::Unit;
use super::verification::Verification;
use crate::key::{JobKey, TableKey};
use crate::moment::Moment;

/// The parts of a task that never change.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TaskPlan {
    /// Source schema and table: with the job, the key of its [`super::JobTable`].
    #[prost(string, tag = "1")]
    pub schema: String,
    #[prost(string, tag = "2")]
    pub table: String,
    #[prost(message, repeated, tag = "3")]
    pub steps: Vec<Known<Step>>,
    #[prost(bool, tag = "4")]
    pub makes_table: bool,
    #[prost(int64, tag = "5")]
    pub create_time_ms: i64,
}

/// The parts of a task that change.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TaskLife {
    #[prost(message, required, tag = "1")]
    pub state: Known<TaskState>,
    #[prost(message, optional, tag = "2")]
    pub reason: Option<Reason>,
    #[prost(message, repeated, tag = "3")]
    pub units: Vec<Unit>,
    /// It waits for the task that makes the table.
    #[prost(bool, tag = "4")]
    pub blocked: bool,
    /// Leases so far.
    #[prost(int32, tag = "5")]
    pub attempt: i32,
    /// Failed attempts since the last retry by a caller.
    #[prost(int32, tag = "6")]
    pub failures: i32,
    /// Expired leases since then.
    #[prost(int32, tag = "7")]
    pub expiries: i32,
    /// It is not leased before this time, in Unix milliseconds; 0 for no wait.
    #[prost(int64, tag = "8")]
    pub retry_time_ms: i64,
    /// The worker that holds its lease.
    #[prost(message, optional, tag = "9")]
    pub holder: Option<Holder>,
    /// Epoch of its present or last lease.
    #[prost(message, required, tag = "10")]
    pub epoch: Epoch,
    #[prost(bytes = "vec", tag = "11")]
    pub checkpoint: Vec<u8>,
    #[prost(int64, tag = "12")]
    pub rows_done: i64,
    #[prost(int64, tag = "13")]
    pub bytes_done: i64,
    #[prost(message, optional, tag = "14")]
    pub verification: Option<Verification>,
    #[prost(int64, tag = "15")]
    pub start_time_ms: i64,
    #[prost(int64, tag = "16")]
    pub end_time_ms: i64,
    /// Lines of its log so far.
    #[prost(uint64, tag = "17")]
    pub next_log: u64,
    #[prost(uint64, tag = "18")]
    pub revision: u64,
    /// No worker works on it although one did: it was taken back, or its job was stopped or brought back, and it was
    /// not leased since.
    #[prost(bool, tag = "19")]
    pub parked: bool,
    /// The generation of the target table that SCHEMA found and its units are published in; 0 for none yet.
    #[prost(uint64, tag = "20")]
    pub generation: u64,
    /// When its data source's credential was last refused to it, in Unix milliseconds; 0 if it has read since.
    #[prost(int64, tag = "21")]
    pub refused_ms: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Task {
    #[prost(message, required, tag = "1")]
    planned: TaskPlan,
    #[prost(message, required, tag = "2")]
    life: TaskLife,
}

impl std::ops::Deref for Task {
    type Target = TaskLife;

    fn deref(&self) -> &TaskLife {
        &self.life
    }
}

impl Task {
    /// A task as planned. `blocked`: it waits for the task that makes the table.
    pub fn new(planned: TaskPlan, units: Vec<Unit>, blocked: bool) -> Self {
        Self { planned, life: TaskLife { units, blocked, ..TaskLife::default() } }
    }

    /// The same task, whose units at the target are in this generation of the target.
    pub fn in_generation(mut self, generation: u64) -> Self {
        if self.life.units.iter().any(|unit| unit.published) {
            self.life.generation = generation;
        }
        self
    }

    /// The parts that never change.
    pub fn planned(&self) -> &TaskPlan {
        &self.planned
    }

    /// The key of its table, given the key of its job.
    pub fn table_key(&self, job: &JobKey) -> TableKey {
        TableKey { job: job.clone(), schema: self.planned.schema.clone(), table: self.planned.table.clone() }
    }

    /// Its steps, in order.
    pub fn steps(&self) -> Vec<Step> {
        self.planned.steps.iter().map(|step| **step).collect()
    }

    /// The first step that is not done; None if all are.
    pub fn next_step(&self) -> Option<Step> {
        self.state.next_step(&self.steps())
    }

    /// Whether it has this step and has done it.
    pub fn has_done(&self, step: Step) -> bool {
        task_state::is_done(*self.state, step, &self.steps())
    }

    /// Whether only its LOOK step is left.
    pub fn is_at_look(&self) -> bool {
        !self.state.is_failed() && self.next_step() == Some(Step::Look)
    }

    /// Whether what it did counts in this generation of the target table.
    pub fn is_of_generation(&self, generation: u64) -> bool {
        self.generation == 0 || self.generation == generation
    }

    /// Whether another task makes its table.
    pub fn needs_maker(&self) -> bool {
        !self.planned.makes_table && self.steps().contains(&Step::Schema)
    }

    /// Whether a worker holds its lease.
    pub fn leased(&self) -> bool {
        self.holder.is_some()
    }

    /// The id of the worker that holds its lease.
    pub fn worker(&self) -> Option<&str> {
        self.holder.as_ref().map(|holder| &*holder.worker)
    }

    /// Whether a step other than LOOK can be leased once its job runs and its retry time has come.
    pub fn is_ready(&self) -> bool {
        self.is_free() && !self.is_at_look()
    }

    /// Whether its LOOK step can be leased once every other task of its job has ended.
    pub fn is_ready_to_look(&self) -> bool {
        self.is_free() && self.is_at_look()
    }

    fn is_free(&self) -> bool {
        !self.leased() && !self.blocked && self.state.is_ready()
    }

    /// Bytes of the source files that it is to move.
    pub fn bytes_total(&self) -> i64 {
        self.units.iter().filter(|unit| !unit.at_target).map(|unit| unit.source_bytes).sum()
    }

    /// Rows of those files; None unless the log records all counts.
    pub fn rows_total(&self) -> Option<i64> {
        self.units.iter().filter(|unit| !unit.at_target).map(|unit| unit.source_rows).sum()
    }

    /// The state that the catalog is told.
    pub fn told(&self) -> MigrationState {
        let at_work = self.leased() || (self.attempt > 0 && !self.parked);
        self.told_if(at_work)
    }

    /// The state that the catalog is told if no worker works on the task.
    pub fn told_idle(&self) -> MigrationState {
        self.told_if(false)
    }

    /// Whether the catalog was told that it is being worked on.
    pub fn is_at_work(&self) -> bool {
        self.told() == MigrationState::Doing
    }

    fn told_if(&self, at_work: bool) -> MigrationState {
        match *self.state {
            TaskState::Done => MigrationState::Done,
            state if state.is_failed() => MigrationState::Failed,
            _ if at_work => MigrationState::Doing,
            _ => MigrationState::Init,
        }
    }

    /// Notes the store revision of the change that is being stored.
    pub fn stored_in(&mut self, revision: u64) {
        self.life.revision = revision;
    }

    /// Returns the number for the next line of its log, and counts it.
    pub fn take_line(&mut self) -> u64 {
        self.life.next_log += 1;
        self.life.next_log
    }

    /// Applies an event.
    ///
    /// # Errors
    /// If the task does not accept the event in its present state. The task is then unchanged.
    pub fn apply(&mut self, at: &Moment, event: TaskEvent) -> Result<(), NotTaken> {
        use TaskEvent as E;
        let (state, steps, leased) = (*self.life.state, self.steps(), self.leased());
        let not_taken = NotTaken { what: "task", stands: self.stands(), event: event.text() };
        let life = &mut self.life;
        match event {
            E::Leased(holder) if !leased && !life.blocked && state.is_ready() => life.lease(at, holder),
            E::LeaseEnded(why) if leased => life.end_lease(&steps, why),
            E::CheckpointKept(checkpoint) if leased => life.checkpoint = checkpoint,
            E::StepBegun(step) if leased => match task_state::begin(state, step, &steps) {
                Some(next) => life.state = next.into(),
                None => return Err(not_taken),
            },
            E::StepDone { step, rows, bytes, verification, generation } if leased => {
                let Some(next) = task_state::finish(state, step, &steps) else { return Err(not_taken) };
                life.finish(at, step, next, (rows, bytes), verification);
                if generation.is_some_and(|now| life.generation != 0 && now != life.generation) {
                    // What was there when it was planned was in a table that is gone.
                    life.units.iter_mut().for_each(|unit| unit.published = false);
                }
                life.generation = generation.unwrap_or(life.generation);
            }
            E::StepFailed { step, permanent, compared, max_attempts, reason, verification } if leased => {
                // At most the next step: those before a later one are still to be done.
                let step = state.next_step(&steps).map_or(step, |next| step.min(next));
                life.fail(at, step, (permanent, compared), max_attempts, reason);
                life.verification = verification.or(life.verification);
            }
            E::Refused { step, reason } if leased => {
                let step = state.next_step(&steps).map_or(step, |next| step.min(next));
                life.refuse(at, step, reason);
            }
            E::UnitPublished { generation, index, rows, bytes } => match life.units.get_mut(index) {
                Some(unit) => {
                    (unit.published, unit.published_rows, unit.published_bytes) = (true, rows, bytes);
                    (life.generation, life.refused_ms) = (generation, 0);
                }
                None => return Err(not_taken),
            },
            E::UnitsLost(units) => life.lose(&units),
            E::TargetLost { blocked } => life.lose_target(blocked),
            E::TableMade => life.blocked = false,
            E::TableFailed(reason) if life.blocked && state == TaskState::Init => {
                life.state = TaskState::SchemaFailed.into();
                (life.reason, life.end_time_ms) = (reason, at.now_ms);
            }
            // If its target table was lost, SCHEMA is to be repeated too.
            E::Retried if state.is_failed() && life.begins_anew() => life.again(TaskState::Init),
            E::Retried if state.is_failed() => life.again(state.rest()),
            E::JobStopped if !leased => life.parked = true,
            _ => return Err(not_taken),
        }
        Ok(())
    }

    fn stands(&self) -> String {
        let held = self.worker().map(|worker| format!(", held by {worker}")).unwrap_or_default();
        let waits = if self.blocked { ", waiting for its table" } else { "" };
        format!("{:?}{held}{waits}", self.state)
    }
}

impl TaskLife {
    fn lease(&mut self, at: &Moment, holder: Holder) {
        self.holder = Some(holder);
        self.epoch = Epoch { incarnation: at.incarnation.number, counter: self.epoch.counter + 1 };
        self.attempt += 1;
        (self.retry_time_ms, self.parked) = (0, false);
        if self.start_time_ms == 0 {
            self.start_time_ms = at.now_ms;
        }
    }

    /// The task returns to its last completed step. One that has lost too many leases fails.
    fn end_lease(&mut self, steps: &[Step], why: LeaseEnd) {
        self.holder = None;
        self.state = self.state.rest().into();
        self.parked = why == LeaseEnd::Stopped;
        if !why.is_loss() {
            return;
        }
        self.expiries += 1;
        if self.expiries >= EXPIRIES_MAX {
            let failed = self.state.next_step(steps).unwrap_or(Step::Schema).failed();
            let text = format!(
                "{EXPIRIES_MAX} leases expired: look into the logs of the workers that held it, then RetryTask"
            );
            self.state = failed.into();
            self.reason = Some(Reason::new(ErrorReason::LeaseExpired, text));
        }
    }

    fn finish(
        &mut self,
        at: &Moment,
        step: Step,
        next: TaskState,
        (rows, bytes): (i64, i64),
        verification: Option<Verification>,
    ) {
        self.state = next.into();
        if step == Step::Data {
            (self.rows_done, self.bytes_done, self.refused_ms) = (rows, bytes, 0);
        }
        self.verification = verification.or(self.verification);
        if next == TaskState::Done {
            (self.holder, self.reason, self.end_time_ms) = (None, None, at.now_ms);
            self.checkpoint.clear();
        }
    }

    /// The task loses its lease and no attempt. It waits 20 s, so that other tasks try the credential first.
    fn refuse(&mut self, at: &Moment, step: Step, reason: Reason) {
        (self.holder, self.reason, self.state) = (None, Some(reason), step.failed().rest().into());
        (self.refused_ms, self.retry_time_ms) = (at.now_ms, at.now_ms.saturating_add(20_000));
        self.generation = if step == Step::Schema { 0 } else { self.generation };
    }

    fn fail(
        &mut self,
        at: &Moment,
        step: Step,
        (permanent, compared): (bool, bool),
        max_attempts: i32,
        reason: Reason,
    ) {
        self.holder = None;
        self.failures += 1;
        let what = match *reason.reason {
            _ if permanent => Failure::Permanent,
            ErrorReason::StorageDenied
            | ErrorReason::CredentialExpired
            | ErrorReason::ExternalUseDenied
            | ErrorReason::ExternalAccessOff => Failure::OfPeople,
            _ => Failure::Passing,
        };
        self.reason = Some(reason);
        // A count that failed is no evidence against what was published.
        let undecided = step == Step::Verification && !compared;
        if step == Step::Schema {
            self.generation = 0;
        }
        if matches!(step, Step::Schema | Step::Verification) && !undecided {
            // What was published differs from the source, or the table that it was written to is missing (a worker that
            // misses it in DATA reports that SCHEMA failed). So all units are moved again.
            self.units.iter_mut().for_each(|unit| unit.published = false);
        }
        match task_state::after_failure(step, what, self.failures, max_attempts, at.spread) {
            AfterFailure::Again(state, pause) => {
                self.state = if undecided { TaskState::DataDone } else { state }.into();
                self.retry_time_ms = at.now_ms.saturating_add(i64::try_from(pause.as_millis()).unwrap_or(i64::MAX));
            }
            AfterFailure::GivenUp(state) => (self.state, self.end_time_ms) = (state.into(), at.now_ms),
        }
    }

    /// Takes units back. The task is repeated from its first step, because their partitions may be missing.
    fn lose(&mut self, units: &[usize]) {
        if units.is_empty() {
            return;
        }
        for index in units {
            if let Some(unit) = self.units.get_mut(*index) {
                unit.published = false;
            }
        }
        if self.state.is_ready() || self.state == TaskState::Done {
            (self.state, self.verification) = (TaskState::Init.into(), None);
            (self.end_time_ms, self.parked) = (0, true);
        }
    }

    /// Whether a retry begins with the first step: the target table was lost, or published units were.
    fn begins_anew(&self) -> bool {
        self.generation == 0 || (self.state == TaskState::LookFailed && self.units.iter().any(|unit| !unit.published))
    }

    /// Takes back all that was done at the target.
    fn lose_target(&mut self, blocked: bool) {
        self.units.iter_mut().for_each(|unit| unit.published = false);
        (self.generation, self.holder, self.verification) = (0, None, None);
        self.checkpoint.clear();
        if !self.state.is_failed() {
            // Failures stay counted: somebody may drop the table each time it is made.
            (self.state, self.blocked, self.parked) = (TaskState::Init.into(), blocked, true);
            (self.retry_time_ms, self.end_time_ms) = (0, 0);
        }
    }

    /// Continues from a state, with all its attempts available again.
    fn again(&mut self, state: TaskState) {
        self.state = state.into();
        (self.failures, self.expiries, self.retry_time_ms, self.end_time_ms) = (0, 0, 0, 0);
        self.parked = true;
    }
}

#[cfg(test)]
#[path = "task_tests.rs"]
mod tests;
