//! The record of a timer. [`Timer::apply`] is the only way to change it: an event that does not fit is rejected and
//! changes nothing. At most one run of a timer waits, and only an active timer has a next time. The whole service may
//! read the record, but its fields are private to this file. Pure: no store, no clock.

use mms_proto::scheduler::v1::{MissedPolicy, OverlapPolicy, TimerState};
use mms_schedule::Schedule;
use mms_store::Known;

use super::reason::{NotTaken, Reason};
use super::spec::Spec;
use crate::moment::Moment;

/// What a caller has set of a timer, with defaults filled in.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Told {
    #[prost(string, tag = "1")]
    pub display_name: String,
    /// The schedule, in its text form.
    #[prost(string, tag = "2")]
    pub schedule: String,
    /// The spec of the jobs that it makes.
    #[prost(message, required, tag = "3")]
    pub spec: Spec,
    #[prost(bool, tag = "4")]
    pub scan_first: bool,
    #[prost(message, required, tag = "5")]
    pub overlap: Known<OverlapPolicy>,
    #[prost(message, required, tag = "6")]
    pub missed: Known<MissedPolicy>,
}

/// The parts of a timer that change.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TimerLife {
    #[prost(message, required, tag = "1")]
    pub told: Told,
    #[prost(message, required, tag = "2")]
    pub state: Known<TimerState>,
    /// Why the timer is STOPPED.
    #[prost(message, optional, tag = "3")]
    pub reason: Option<Reason>,
    /// The caller whose rights its runs have.
    #[prost(string, tag = "4")]
    pub maker: String,
    #[prost(int64, tag = "5")]
    pub update_time_ms: i64,
    /// Store revision of the last change, which is the etag.
    #[prost(uint64, tag = "6")]
    pub revision: u64,
    /// When it runs next, in Unix milliseconds; 0 if not by itself.
    #[prost(int64, tag = "7")]
    pub next_time_ms: i64,
    /// Number of its newest run; 0 for none.
    #[prost(uint64, tag = "8")]
    pub last_run: u64,
    /// Number of the run that waits to make its job.
    #[prost(uint64, optional, tag = "9")]
    pub waiting: Option<u64>,
    /// Id of the job that was made last; empty for none.
    #[prost(string, tag = "10")]
    pub last_job: String,
}

/// A schedule that makes jobs.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Timer {
    #[prost(string, tag = "1")]
    uid: String,
    #[prost(int64, tag = "2")]
    create_time_ms: i64,
    #[prost(message, required, tag = "3")]
    life: TimerLife,
}

/// What can happen to a timer.
#[derive(Debug, Clone, PartialEq)]
pub enum TimerEvent {
    /// A caller has changed its settings.
    Told {
        told: Box<Told>,
        /// The caller whose rights its runs have from now on; None if unchanged.
        maker: Option<String>,
    },
    /// A caller has resumed it.
    Resumed,
    /// A caller has paused it.
    Paused,
    /// The service has stopped it.
    Stopped(Reason),
    /// Its next time has come.
    Due,
    /// A run was made, which waits or has ended at once.
    RunBegan {
        /// Whether the run waits.
        waits: bool,
    },
    /// The run that waited has ended.
    RunEnded {
        /// Id of the job that it made, if it made one.
        job: Option<String>,
    },
}

impl std::ops::Deref for Timer {
    type Target = TimerLife;

    fn deref(&self) -> &TimerLife {
        &self.life
    }
}

impl Timer {
    /// An active timer, which runs at its next scheduled time.
    pub fn new(uid: String, at: &Moment, told: Told, maker: String) -> Self {
        let life = TimerLife { told, maker, state: TimerState::Active.into(), ..TimerLife::default() };
        let mut timer = Self { uid, create_time_ms: at.now_ms, life };
        timer.life.update_time_ms = at.now_ms;
        timer.life.next_time_ms = timer.next_after(at.now_ms);
        timer
    }

    /// The uid, which distinguishes it from another timer with the same id.
    pub fn uid(&self) -> &str {
        &self.uid
    }

    pub fn create_time_ms(&self) -> i64 {
        self.create_time_ms
    }

    /// The schedule. None if this machine no longer knows its time zone.
    pub fn schedule(&self) -> Option<Schedule> {
        self.life.told.schedule.parse().ok()
    }

    /// Notes the store revision of the change that is being stored.
    pub fn stored_in(&mut self, revision: u64) {
        self.life.revision = revision;
    }

    /// Whether its next time has come.
    pub fn is_due(&self, now_ms: i64) -> bool {
        self.life.next_time_ms != 0 && self.life.next_time_ms <= now_ms
    }

    fn next_after(&self, ms: i64) -> i64 {
        self.schedule().and_then(|schedule| schedule.next_after(ms)).unwrap_or(0)
    }

    /// Applies an event.
    ///
    /// # Errors
    /// If the timer does not accept the event in its present state. The timer is then unchanged.
    pub fn apply(&mut self, at: &Moment, event: TimerEvent) -> Result<(), NotTaken> {
        use TimerEvent as E;
        use TimerState as S;
        match (*self.life.state, event) {
            (state, E::Told { told, maker }) => {
                let moved = told.schedule != self.life.told.schedule;
                self.life.told = *told;
                if let Some(maker) = maker {
                    self.life.maker = maker;
                }
                self.life.update_time_ms = at.now_ms;
                if state == S::Active && moved {
                    self.life.next_time_ms = self.next_after(at.now_ms);
                }
            }
            (S::Active, E::Resumed) | (S::Paused, E::Paused) => {}
            (_, E::Resumed) => {
                (self.life.state, self.life.reason) = (S::Active.into(), None);
                self.life.update_time_ms = at.now_ms;
                self.life.next_time_ms = self.next_after(at.now_ms);
            }
            (_, E::Paused) => {
                (self.life.state, self.life.reason, self.life.next_time_ms) = (S::Paused.into(), None, 0);
                self.life.update_time_ms = at.now_ms;
            }
            (_, E::Stopped(reason)) => {
                (self.life.state, self.life.reason, self.life.next_time_ms) = (S::Stopped.into(), Some(reason), 0);
            }
            (S::Active, E::Due) if self.is_due(at.now_ms) => self.life.next_time_ms = self.next_after(at.now_ms),
            (_, E::RunBegan { waits }) if !waits || self.life.waiting.is_none() => {
                self.life.last_run += 1;
                if waits {
                    self.life.waiting = Some(self.life.last_run);
                }
            }
            (_, E::RunEnded { job }) if self.life.waiting.is_some() => {
                self.life.waiting = None;
                if let Some(job) = job {
                    self.life.last_job = job;
                }
            }
            (_, E::Due) => return Err(self.not_taken("its time")),
            (_, E::RunBegan { .. }) => return Err(self.not_taken("a second run that waits")),
            (_, E::RunEnded { .. }) => return Err(self.not_taken("the end of a run")),
        }
        Ok(())
    }

    fn not_taken(&self, event: &'static str) -> NotTaken {
        let stands =
            format!("{:?}, next at {}, waiting {:?}", *self.life.state, self.life.next_time_ms, self.life.waiting);
        NotTaken { what: "timer", stands, event }
    }
}

#[cfg(test)]
#[path = "timer_tests.rs"]
mod tests;
