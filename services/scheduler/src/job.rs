//! The states of a job and what moves it between them. Pure: no clock, no store.

use crate::record;

/// Where a job stands. The numbers are kept on disk and are those of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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

/// What can happen to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobEvent {
    /// All tables are planned; `review` as asked at creation.
    Planned {
        /// Somebody must approve first.
        review: bool,
    },
    /// Planning cannot be done at all.
    PlanFailed,
    /// Somebody approved the plan.
    Approved,
    /// A task was leased.
    Leased,
    /// No task is left that could run.
    Ended {
        /// Something failed or is blocked.
        failed: bool,
    },
    /// Somebody stops it.
    Stop,
    /// No task of it runs any more.
    Stopped,
    /// Somebody goes on with it. `planned`: its plan is complete; `approved`: it may run, as nobody is to look at its
    /// plan or somebody did.
    Start {
        /// All tables are planned.
        planned: bool,
        /// It needs no approval, or has it.
        approved: bool,
    },
    /// Somebody deletes it: what has come to an end goes away, and has no state after.
    Delete,
    /// Somebody retries what failed. `planned` as above.
    Retry {
        /// All tables are planned.
        planned: bool,
    },
}

impl JobEvent {
    /// What was to be done, as a word for people.
    fn done(self) -> &'static str {
        match self {
            Self::Planned { .. } | Self::PlanFailed => "planned",
            Self::Approved => "approved",
            Self::Leased => "worked on",
            Self::Ended { .. } => "ended",
            Self::Stop | Self::Stopped => "stopped",
            Self::Start { .. } => "started",
            Self::Delete => "deleted",
            Self::Retry { .. } => "tried again",
        }
    }
}

/// An event that a state does not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a job that is {state} cannot be {}: {}", event.done(), state.advice())]
pub struct WrongState {
    /// The state it is in.
    pub state: JobState,
    /// What was to happen.
    pub event: JobEvent,
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

    /// The state of a stored job; None for a number that this version does not know.
    pub fn of(job: &record::Job) -> Option<Self> {
        Self::ALL.into_iter().find(|state| *state as i32 == job.state)
    }

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

    /// The state after an event.
    ///
    /// # Errors
    /// [`WrongState`] when this state does not take it.
    pub fn after(self, event: JobEvent) -> Result<Self, WrongState> {
        use JobEvent as E;
        let planned = |planned: bool| if planned { Self::Waiting } else { Self::Planning };
        let stopping = if self == Self::Stopped { Self::Stopped } else { Self::Stopping };
        match (self, event) {
            (Self::Planning, E::Planned { review: true }) => Ok(Self::PendingReview),
            (Self::Planning, E::Planned { review: false }) | (Self::PendingReview, E::Approved) => Ok(Self::Waiting),
            (Self::Planning, E::PlanFailed) => Ok(Self::Failed),
            (Self::Waiting | Self::Running, E::Leased) => Ok(Self::Running),
            // Approval and start are idempotent while the job works.
            (Self::Waiting | Self::Running, E::Approved | E::Start { .. }) => Ok(self),
            (Self::Planning, E::Start { .. }) => Ok(self),
            (Self::Waiting | Self::Running, E::Ended { failed: true }) => Ok(Self::Failed),
            (Self::Waiting | Self::Running, E::Ended { failed: false }) => Ok(Self::Done),
            (
                Self::Planning
                | Self::PendingReview
                | Self::Waiting
                | Self::Running
                | Self::Paused
                | Self::Stopping
                | Self::Stopped,
                E::Stop,
            ) => Ok(stopping),
            (Self::Stopping, E::Stopped) => Ok(Self::Stopped),
            (Self::Stopped | Self::Paused, E::Start { planned: true, approved: false }) => Ok(Self::PendingReview),
            (Self::Stopped | Self::Paused, E::Start { planned: done, .. }) => Ok(planned(done)),
            (Self::Failed, E::Retry { planned: done }) => Ok(planned(done)),
            _ => Err(WrongState { state: self, event }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_event() -> impl Strategy<Value = JobEvent> {
        prop_oneof![
            any::<bool>().prop_map(|review| JobEvent::Planned { review }),
            Just(JobEvent::PlanFailed),
            Just(JobEvent::Approved),
            Just(JobEvent::Leased),
            any::<bool>().prop_map(|failed| JobEvent::Ended { failed }),
            Just(JobEvent::Stop),
            Just(JobEvent::Stopped),
            Just(JobEvent::Delete),
            any::<bool>().prop_map(|planned| JobEvent::Start { planned, approved: false }),
            any::<bool>().prop_map(|planned| JobEvent::Retry { planned }),
        ]
    }

    proptest! {
        #[test]
        fn done_is_for_good(event in any_event()) {
            prop_assert!(JobState::Done.after(event).is_err());
        }

        #[test]
        fn nothing_runs_without_a_plan_and_approval(events in proptest::collection::vec(any_event(), 0..40)) {
            let (mut state, mut planned, mut approved) = (JobState::Planning, false, false);
            for event in events {
                // Whoever raises Start and Retry says truthfully whether the plan is complete and approved.
                let event = match event {
                    JobEvent::Start { .. } => JobEvent::Start { planned, approved },
                    JobEvent::Retry { .. } => JobEvent::Retry { planned },
                    other => other,
                };
                let Ok(next) = state.after(event) else { continue };
                match event {
                    JobEvent::Planned { review } => { planned = true; approved = !review; }
                    JobEvent::Approved => approved = true,
                    _ => {}
                }
                state = next;
                prop_assert!(!state.dispatches() || (planned && approved), "{state} after {event:?}");
            }
        }
    }

    #[test]
    fn a_stop_is_idempotent_and_every_living_job_takes_it() {
        for state in JobState::ALL {
            let stops = state.after(JobEvent::Stop);
            assert_eq!(stops.is_ok(), !matches!(state, JobState::Done | JobState::Failed), "{state}");
        }
    }
}
