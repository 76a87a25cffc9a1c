//! Jobs, and the one way in which a job changes: [`Job::apply`]. What it keeps of its life can be read as if it were the
//! job's own, and nothing but this file can write it. Pure: no store.

use mms_proto::ErrorReason;
use mms_store::Known;

use super::breaker::{Breaker, BreakerBounds, Happened};
use super::counts::Counts;
use super::job_state::{Change, JobEvent, JobState, WrongState};
use super::reason::Reason;
use super::spec::{Limits, Spec};
use crate::moment::Moment;

/// What a job was asked for. Of its spec, [`JobEvent::SpecChanged`] changes when and how tasks go; all else stays.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Asked {
    #[prost(string, tag = "1")]
    pub uid: String,
    #[prost(string, tag = "2")]
    pub display_name: String,
    #[prost(message, required, tag = "3")]
    pub spec: Spec,
    /// Waits for approval once planned.
    #[prost(bool, tag = "4")]
    pub review: bool,
    #[prost(string, tag = "5")]
    pub creator: String,
    #[prost(int64, tag = "6")]
    pub create_time_ms: i64,
    /// The id of the timer that made it; empty: somebody did.
    #[prost(string, tag = "7")]
    pub timer: String,
}

/// That somebody approved the plan.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Approval {
    #[prost(string, tag = "1")]
    pub approver: String,
    #[prost(int64, tag = "2")]
    pub time_ms: i64,
}

/// A change that is carried through in pieces.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct UnderWay {
    #[prost(message, required, tag = "1")]
    pub change: Known<Change>,
    /// The only task that it is for.
    #[prost(uint32, optional, tag = "2")]
    pub task: Option<u32>,
    /// What failed is planned again first.
    #[prost(bool, tag = "3")]
    pub repin: bool,
}

/// What has become of a job so far.
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
    /// Revision of the last change; the etag.
    #[prost(uint64, tag = "6")]
    pub revision: u64,
    /// Known when the scope is listed.
    #[prost(message, required, tag = "7")]
    pub limits: Limits,
    /// The scope has been turned into tables.
    #[prost(bool, tag = "8")]
    pub scope_listed: bool,
    /// The number of the next task.
    #[prost(uint32, tag = "9")]
    pub next_task: u32,
    #[prost(message, optional, tag = "10")]
    pub approval: Option<Approval>,
    #[prost(message, optional, tag = "11")]
    pub under_way: Option<UnderWay>,
    /// The logs of its tasks are gone: their time was up.
    #[prost(bool, tag = "12")]
    pub logs_dropped: bool,
    /// What its circuit breaker counted since it was last started.
    #[prost(message, optional, tag = "13")]
    pub breaker: Option<Breaker>,
    /// When a task of it was leased last; 0: none was.
    #[prost(int64, tag = "14")]
    pub served_ms: i64,
}

/// A job.
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
    /// A job that is to be planned.
    pub fn new(asked: Asked) -> Self {
        Self { asked, life: JobLife::default() }
    }

    /// What it was asked for.
    pub fn asked(&self) -> &Asked {
        &self.asked
    }

    /// Its uid, by which it is told from another job of the same id.
    pub fn uid(&self) -> &str {
        &self.asked.uid
    }

    /// What it is to do.
    pub fn spec(&self) -> &Spec {
        &self.asked.spec
    }

    /// The revision in which it is stored, which is its etag.
    pub fn stored_in(&mut self, revision: u64) {
        self.life.revision = revision;
    }

    /// What is under way with it.
    pub fn change(&self) -> Option<Change> {
        let stopping = (self.state == JobState::Stopping).then_some(Change::Stop);
        self.under_way.map(|under_way| *under_way.change).or(stopping)
    }

    /// Whether it is coming back: it claims its targets though it has ended.
    pub fn comes_back(&self) -> bool {
        matches!(self.change(), Some(Change::Start | Change::Retry))
    }

    /// Whether what failed of it is planned again before it comes back.
    pub fn repins(&self) -> bool {
        self.under_way.is_some_and(|under_way| under_way.repin)
    }

    /// Whether it is going away: it is gone for everybody.
    pub fn goes_away(&self) -> bool {
        self.change() == Some(Change::Delete)
    }

    /// Whether it claims its target units.
    pub fn owns_units(&self) -> bool {
        self.state.owns_units() || self.comes_back()
    }

    /// Whether it has come to an end, and nothing is under way that would change that.
    pub fn is_at_rest(&self) -> bool {
        self.state.is_ended() && self.change().is_none()
    }

    /// Whether what is not done of it is not to be done for now.
    pub fn is_halted(&self) -> bool {
        self.state == JobState::Stopped
    }

    /// Whether its plan is complete.
    pub fn is_planned(&self) -> bool {
        self.scope_listed && self.counts.all_planned()
    }

    /// Whether tasks of its planned tables may be leased: also while others are still planned, unless somebody is to look at the
    /// whole plan first.
    pub fn dispatches(&self) -> bool {
        self.state.dispatches() || (self.state == JobState::Planning && self.scope_listed && self.is_approved())
    }

    /// Whether its plan may run: nobody is to look at it, or somebody did.
    pub fn is_approved(&self) -> bool {
        !self.asked.review || self.approval.is_some()
    }

    /// What happened to it. On an error nothing has changed.
    ///
    /// # Errors
    /// When it does not take the event where it stands.
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
                    // What is planned anew is looked at anew.
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

    /// The state after an event. Starting, retrying and deleting only begin: what is to be done first is carried through
    /// in pieces, and then it [comes back](JobEvent::CameBack) or is gone.
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
            // Approval and start are idempotent while the job works.
            (S::Waiting | S::Running, E::Approved { .. }) => Ok(state),
            (S::Planning | S::Waiting | S::Running, E::Start) => Ok(state),
            (S::Waiting, E::TaskChanged { delta, .. }) if delta.is_leased => Ok(S::Running),
            (_, E::TaskChanged { .. }) => Ok(state),
            // It had ended, and stays so.
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

    /// Counts what happened to a task; why the job is to pause, if it is.
    fn broken(&mut self, at: &Moment, what: Happened) -> Option<Reason> {
        let bounds = self.asked.spec.breaker.unwrap_or(BreakerBounds::DEFAULT);
        self.life.breaker.get_or_insert_default().count(&bounds, at.now_ms, what)
    }

    /// Ends it when all its tasks have; also one that is paused, as long as nobody goes on with it.
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

/// Why a job that has come to an end is not simply done.
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
