//! Runs of timers. A run waits and then ends once; if it makes a job, the end and the job are in one commit.

use mms_proto::scheduler::v1::TimerRunState;
use mms_store::Known;

use super::reason::{NotTaken, Reason};

/// One run of a timer.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TimerRun {
    #[prost(string, tag = "1")]
    uid: String,
    /// Unix milliseconds; 0 if somebody triggered the run.
    #[prost(int64, tag = "2")]
    due_time_ms: i64,
    #[prost(int64, tag = "3")]
    start_time_ms: i64,
    #[prost(message, required, tag = "4")]
    state: Known<TimerRunState>,
    #[prost(message, optional, tag = "5")]
    reason: Option<Reason>,
    /// Name of the scan that the run has started; empty for none.
    #[prost(string, tag = "6")]
    scan: String,
    /// Id of the job that the run has made; empty for none.
    #[prost(string, tag = "7")]
    job: String,
}

/// What can happen to a run that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunEvent {
    /// It has started a scan and waits for its end.
    Scanning {
        /// Resource name of the scan.
        scan: String,
    },
    /// It has made its job.
    Made {
        /// Id of the job.
        job: String,
    },
    /// The timer's policies say that it makes no job.
    Skipped(Reason),
    /// It cannot make a job.
    Failed(Reason),
}

impl TimerRun {
    /// A run that waits. `due_time_ms` is 0 if somebody triggered it.
    pub fn new(uid: String, due_time_ms: i64, start_time_ms: i64) -> Self {
        Self { uid, due_time_ms, start_time_ms, state: TimerRunState::Waiting.into(), ..Self::default() }
    }

    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// The id of the job that this run makes. It follows from the run's uid, so that a repeated attempt cannot make a
    /// second job.
    pub fn job_to_make(&self) -> String {
        format!("j{}", self.uid.replace('-', ""))
    }

    /// When the run was due, in Unix milliseconds; 0 if somebody triggered it.
    pub fn due_time_ms(&self) -> i64 {
        self.due_time_ms
    }

    pub fn start_time_ms(&self) -> i64 {
        self.start_time_ms
    }

    pub fn state(&self) -> TimerRunState {
        *self.state
    }

    /// Why the run made no job.
    pub fn reason(&self) -> Option<&Reason> {
        self.reason.as_ref()
    }

    /// Name of the scan that the run has started; empty for none.
    pub fn scan(&self) -> &str {
        &self.scan
    }

    /// Id of the job that the run has made; empty for none.
    pub fn job(&self) -> &str {
        &self.job
    }

    /// Applies an event.
    ///
    /// # Errors
    /// If the run has ended. The run is then unchanged.
    pub fn apply(&mut self, event: RunEvent) -> Result<(), NotTaken> {
        if self.state() != TimerRunState::Waiting {
            return Err(NotTaken {
                what: "run of a timer",
                stands: format!("{:?}", self.state()),
                event: "anything more",
            });
        }
        match event {
            RunEvent::Scanning { scan } => self.scan = scan,
            RunEvent::Made { job } => (self.state, self.job) = (TimerRunState::Done.into(), job),
            RunEvent::Skipped(reason) => (self.state, self.reason) = (TimerRunState::Skipped.into(), Some(reason)),
            RunEvent::Failed(reason) => (self.state, self.reason) = (TimerRunState::Failed.into(), Some(reason)),
        }
        Ok(())
    }
}
