//! The record of a job. [`Job::apply`] is the only way to change it: an event leads to a state that the job may have,
//! or is rejected and changes nothing. The whole service may read the record, but its fields are private to this file,
//! so that no other code can set a state. Pure: no store, no clock.

use mms_proto::ErrorReason;
use mms_store::Known;

use super::breaker::{Breaker, BreakerBounds, Happened};
use super::counts::Counts;
use super::job_state::{Change, JobEvent, JobState, WrongState};
use super::reason::Reason;
use super::spec::{Limits, Spec};
use crate::moment::Moment;

/// What a job was created with. [`JobEvent::SpecChanged`] changes when and how its tasks run; all else stays as it is.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Asked {
    #[prost(string, tag = "1")]
    pub uid: String,
    #[prost(string, tag = "2")]
    pub display_name: String,
    #[prost(message, required, tag = "3")]
    pub spec: Spec,
    /// The job waits for approval once it is planned.
    #[prost(bool, tag = "4")]
    pub review: bool,
    #[prost(string, tag = "5")]
    pub creator: String,
    #[prost(int64, tag = "6")]
    pub create_time_ms: i64,
    /// Id of the timer that made the job; empty if a caller did.
    #[prost(string, tag = "7")]
    pub timer: String,
}

/// The approval of a job's plan.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Approval {
    #[prost(string, tag = "1")]
    pub approver: String,
    #[prost(int64, tag = "2")]
    pub time_ms: i64,
}

/// A change of a job that is done in several commits.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct UnderWay {
    #[prost(message, required, tag = "1")]
    pub change: Known<Change>,
    /// The number of the only task that the change is for; None for all.
    #[prost(uint32, optional, tag = "2")]
    pub task: Option<u32>,
    /// Tables with failed tasks are planned again first.
    #[prost(bool, tag = "3")]
    pub repin: bool,
}

/// The parts of a job that change.
#[derive(Clone, PartialEq, prost::Message)]
pub struct JobLife {
    #[prost(message, required, tag = "1")]
    pub state: Known<JobState>,
    #[prost(message, optional, tag = "2")]
    pub reason: Option<Reason>,
    #[prost(int64, tag = "3")]
    pub start_time_ms: i64,
    #[prost(int64, tag = "4")]
    pub end_time_ms: i64,
    #[prost(message, required, tag = "5")]
    pub counts: Counts,
    /// Store revision of the last change, which is the etag.
    #[prost(uint64, tag = "6")]
    pub revision: u64,
    /// Set when the scope is listed.
    #[prost(message, required, tag = "7")]
    pub limits: Limits,
    /// All tables of the scope are stored.
    #[prost(bool, tag = "8")]
    pub scope_listed: bool,
    /// The number of the next task.
    #[prost(uint32, tag = "9")]
    pub next_task: u32,
    #[prost(message, optional, tag = "10")]
    pub approval: Option<Approval>,
    #[prost(message, optional, tag = "11")]
    pub under_way: Option<UnderWay>,
    /// The logs of its tasks were deleted because their retention has ended.
    #[prost(bool, tag = "12")]
    pub logs_dropped: bool,
    /// What the circuit breaker has counted since the job was last started.
    #[prost(message, optional, tag = "13")]
    pub breaker: Option<Breaker>,
    /// When a task of the job was last leased, in Unix milliseconds; 0 if none was.
    #[prost(int64, tag = "14")]
    pub served_ms: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Job {
    #[prost(message, required, tag = "1")]
    asked: Asked,
    #[prost(message, required, tag = "2")]
    life: JobLife,
}

impl std::ops::Deref for Job {
    type Target = JobLife;

    fn deref(&self) -> &JobLife {
        &self.life
    }
}

impl Job {
    /// A job in state PLANNING.
    pub fn new(asked: Asked) -> Self {
        Self { asked, life: JobLife::default() }
    }

    pub fn asked(&self) -> &Asked {
        &self.asked
    }

    /// The uid, which distinguishes it from another job with the same id.
    pub fn uid(&self) -> &str {
        &self.asked.uid
    }

    pub fn spec(&self) -> &Spec {
        &self.asked.spec
    }

    /// Notes the store revision of the change that is being stored.
    pub fn stored_in(&mut self, revision: u64) {
        self.life.revision = revision;
    }

    /// The change that is under way, if any.
    pub fn change(&self) -> Option<Change> {
        let stopping = (self.state == JobState::Stopping).then_some(Change::Stop);
        self.under_way.map(|under_way| *under_way.change).or(stopping)
    }

    /// Whether a start or a retry is under way. The job then claims its targets although it has ended.
    pub fn comes_back(&self) -> bool {
        matches!(self.change(), Some(Change::Start | Change::Retry))
    }

    /// Whether its retry plans tables with failed tasks again.
    pub fn repins(&self) -> bool {
        self.under_way.is_some_and(|under_way| under_way.repin)
    }

    /// Whether a deletion is under way. Callers no longer see the job then.
    pub fn goes_away(&self) -> bool {
        self.change() == Some(Change::Delete)
    }

    /// Whether the job claims its target units.
    pub fn owns_units(&self) -> bool {
        self.state.owns_units() || self.comes_back()
    }

    /// Whether the job has ended and no change is under way.
    pub fn is_at_rest(&self) -> bool {
        self.state.is_ended() && self.change().is_none()
    }

    /// Whether the job was stopped, so that its unfinished tasks wait for a start.
    pub fn is_halted(&self) -> bool {
        self.state == JobState::Stopped
    }

    /// Whether its plan is complete.
    pub fn is_planned(&self) -> bool {
        self.scope_listed && self.counts.all_planned()
    }

    /// Whether tasks of its planned tables may be leased. That is so while other tables are still being planned, unless
    /// the whole plan needs approval first.
    pub fn dispatches(&self) -> bool {
        self.state.dispatches() || (self.state == JobState::Planning && self.scope_listed && self.is_approved())
    }

    /// Whether its plan may run: it needs no approval, or has it.
    pub fn is_approved(&self) -> bool {
        !self.asked.review || self.approval.is_some()
    }

    /// Applies an event.
    ///
    /// # Errors
    /// If the job does not accept the event in its present state. The job is then unchanged.
    pub fn apply(&mut self, at: &Moment, event: JobEvent) -> Result<(), WrongState> {
        use JobEvent as E;
        let next = self.after(&event)?;
        let begins = |change: Change| UnderWay { change: change.into(), ..UnderWay::default() };
        let approves = self.state != next;
        let mut broken = None;
        let life = &mut self.life;
        match event {
            E::Unlisted => life.counts.tables_total = 0,
            E::Listed { tables } => life.counts.tables_total += tables,
            E::ScopeListed(limits) => (life.limits, life.scope_listed) = (*limits, true),
            E::LimitsChanged(limits) => life.limits = *limits,
            E::SpecChanged(change) => {
                self.asked.spec.take(change);
                life.limits.heed(&self.asked.spec);
            }
            E::TablePlanned(adds) => {
                life.next_task += adds.tasks_total.unsigned_abs();
                life.counts += adds;
            }
            E::PlanFailed(reason) => (life.reason, life.end_time_ms) = (Some(reason), at.now_ms),
            E::Approved { approver } if approves => {
                life.approval = Some(Approval { approver, time_ms: at.now_ms });
            }
            E::TaskChanged { delta, tables_done, tables_failed } => {
                life.counts += Counts {
                    tables_done,
                    tables_failed,
                    tasks_at_look: delta.at_look,
                    tasks_running: delta.leased,
                    tasks_done: delta.done,
                    tasks_failed: delta.failed,
                    rows_done: delta.rows,
                    bytes_done: delta.bytes,
                    ..Counts::default()
                };
                if delta.is_leased && life.start_time_ms == 0 {
                    life.start_time_ms = at.now_ms;
                }
                if delta.leased > 0 {
                    life.served_ms = at.now_ms;
                }
                let (done, failed) = (delta.done, delta.failed);
                let succeeded = delta.done > 0 || delta.at_look > 0;
                broken = self.broken(at, Happened { attempt_failed: delta.attempt_failed, succeeded, done, failed });
            }
            E::TasksDropped(counts) => life.counts += -counts,
            E::Stop { why } => (life.under_way, life.reason) = (None, why.or(life.reason.take())),
            E::Refused => life.under_way = None,
            E::Stopped => life.end_time_ms = at.now_ms,
            E::Start if !life.state.is_live() => life.under_way = Some(begins(Change::Start)),
            E::Retry { task, repin } => {
                life.under_way = Some(UnderWay { task, repin, ..begins(Change::Retry) });
            }
            E::Delete => life.under_way = Some(begins(Change::Delete)),
            E::Unplanned { blocked, failed } => {
                life.counts.tables_blocked -= blocked;
                life.counts.tables_failed -= failed;
                life.counts.tables_planned -= blocked + failed;
            }
            E::CameBack => {
                if life.state == JobState::Failed && next == JobState::Planning {
                    // Tables that are planned again need a new approval.
                    life.approval = None;
                }
                (life.under_way, life.reason, life.end_time_ms, life.logs_dropped) = (None, None, 0, false);
                life.breaker = None;
            }
            E::LogsDropped => life.logs_dropped = true,
            E::Planned | E::Approved { .. } | E::Start => {}
        }
        self.life.state = next.into();
        self.settle(at);
        if let Some(why) = broken.filter(|_| self.dispatches()) {
            (self.life.state, self.life.reason) = (JobState::Paused.into(), Some(why));
        }
        Ok(())
    }

    /// The state after an event. Start, retry and delete only begin a change, which takes several commits; then the job
    /// [comes back](JobEvent::CameBack) or is deleted.
    fn after(&self, event: &JobEvent) -> Result<JobState, WrongState> {
        use JobEvent as E;
        use JobState as S;
        let state = *self.state;
        let ready = match self.is_approved() {
            true if self.counts.tasks_running > 0 => S::Running,
            true => S::Waiting,
            false => S::PendingReview,
        };
        let back = if self.is_planned() { ready } else { S::Planning };
        match (state, event) {
            (
                S::Planning,
                E::Unlisted | E::Listed { .. } | E::ScopeListed(_) | E::TablePlanned(_) | E::TasksDropped(_),
            ) => Ok(state),
            (S::Planning | S::PendingReview | S::Waiting | S::Running | S::Paused, E::LimitsChanged(_))
                if self.scope_listed =>
            {
                Ok(state)
            }
            (S::Done, E::SpecChanged(_)) => Err(WrongState::new(state, event)),
            (_, E::SpecChanged(_)) if !self.goes_away() => Ok(state),
            (S::Planning, E::Planned) if self.is_planned() => Ok(ready),
            (S::Planning, E::PlanFailed(_)) => Ok(S::Failed),
            (S::PendingReview, E::Approved { .. }) => Ok(S::Waiting),
            // Approval and start are idempotent while the job is waiting or running.
            (S::Waiting | S::Running, E::Approved { .. }) => Ok(state),
            (S::Planning | S::Waiting | S::Running, E::Start) => Ok(state),
            (S::Waiting, E::TaskChanged { delta, .. }) if delta.is_leased => Ok(S::Running),
            (_, E::TaskChanged { .. }) => Ok(state),
            // A job that had ended before the start or retry stays in that state.
            (_, E::Stop { .. } | E::Refused) if self.comes_back() => Ok(state),
            (S::Planning | S::PendingReview | S::Waiting | S::Running | S::Paused | S::Stopping, E::Stop { .. }) => {
                Ok(S::Stopping)
            }
            (S::Stopped, E::Stop { .. }) if !self.goes_away() => Ok(state),
            (S::Stopping, E::Stopped) => Ok(S::Stopped),
            (S::Stopped | S::Paused, E::Start) if !self.goes_away() => Ok(state),
            (S::Failed, E::Retry { .. }) if !self.goes_away() => Ok(state),
            (S::Failed, E::Unplanned { .. }) if self.comes_back() => Ok(state),
            (S::Stopped | S::Paused | S::Failed, E::CameBack) if self.comes_back() => Ok(back),
            (S::Stopped | S::Done | S::Failed, E::Delete) if !self.comes_back() => Ok(state),
            (S::Stopped | S::Done | S::Failed, E::LogsDropped) => Ok(state),
            _ => Err(WrongState::new(state, event)),
        }
    }

    /// Counts what happened to a task. Returns why the job is to pause, if it is.
    fn broken(&mut self, at: &Moment, what: Happened) -> Option<Reason> {
        let bounds = self.asked.spec.breaker.unwrap_or(BreakerBounds::DEFAULT);
        self.life.breaker.get_or_insert_default().count(&bounds, at.now_ms, what)
    }

    /// Ends the job if all its tasks have ended; also a paused one, unless it is being started.
    fn settle(&mut self, at: &Moment) {
        let paused = self.life.state == JobState::Paused && self.life.under_way.is_none();
        let life = &mut self.life;
        let counts = life.counts;
        if !(life.state.dispatches() || paused) || !counts.all_ended() || !counts.all_planned() {
            return;
        }
        let failed = counts.tasks_failed > 0 || counts.tables_blocked > 0;
        life.state = if failed { JobState::Failed } else { JobState::Done }.into();
        life.end_time_ms = at.now_ms;
        life.reason = outcome(&counts);
    }
}

/// The reason of an ended job, or None if all of it was moved.
fn outcome(counts: &Counts) -> Option<Reason> {
    let (failed, blocked, skipped) = (counts.tasks_failed, counts.tables_blocked, counts.tables_skipped);
    let (reason, message) = match (failed, blocked) {
        (0, 0) if skipped > 0 => {
            let text = format!("{skipped} skipped: tables of kinds that cannot be moved; ListJobTables says which");
            (ErrorReason::TablesSkipped, text)
        }
        (0, 0) => return None,
        (0, blocked) => {
            let text = format!("{blocked} tables could not be moved: ListJobTables says which and why");
            (ErrorReason::TablesBlocked, text)
        }
        (failed, 0) => {
            let text = format!("{failed} tasks failed: ListTasks says why; RetryJob runs them again");
            (ErrorReason::TasksFailed, text)
        }
        (failed, blocked) => {
            let text = format!("{failed} tasks failed, {blocked} tables cannot be carried: see ListJobTables");
            (ErrorReason::TasksFailed, text)
        }
    };
    Some(Reason::new(reason, message))
}

#[cfg(test)]
#[path = "job_tests.rs"]
mod tests;
