//! Runs of timers. A run waits, and then comes to one end, in the commit that makes its job if it makes one.

use mms_proto::scheduler::v1::TimerRunState;
use mms_store::Known;

use super::reason::{NotTaken, Reason};

/// One run of a timer.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TimerRun {
    #[prost(string, tag = "1")]
    uid: String,
    /// 0: somebody triggered it.
    #[prost(int64, tag = "2")]
    due_time_ms: i64,
    #[prost(int64, tag = "3")]
    start_time_ms: i64,
    #[prost(message, required, tag = "4")]
    state: Known<TimerRunState>,
    #[prost(message, optional, tag = "5")]
    reason: Option<Reason>,
    /// The name of the scan that it made; empty: none.
    #[prost(string, tag = "6")]
    scan: String,
    /// The id of the job that it made; empty: none.
    #[prost(string, tag = "7")]
    job: String,
}

/// What can become of a run that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunEvent {
    /// A scan runs for it.
    Scanning {
        /// Its name.
        scan: String,
    },
    /// Its job is made.
    Made {
        /// The job's id.
        job: String,
    },
    /// It makes none, by the timer's policies.
    Skipped(Reason),
    /// It can make none.
    Failed(Reason),
}

impl TimerRun {
    /// A run that waits. `due_time_ms` 0: somebody triggered it.
    pub fn new(uid: String, due_time_ms: i64, start_time_ms: i64) -> Self {
        Self { uid, due_time_ms, start_time_ms, state: TimerRunState::Waiting.into(), ..Self::default() }
    }

    /// Its uid.
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// The id of the job that it makes: whoever begins with it again makes no other.
    pub fn job_to_make(&self) -> String {
        format!("j{}", self.uid.replace('-', ""))
    }

    /// When it was due; 0: somebody triggered it.
    pub fn due_time_ms(&self) -> i64 {
        self.due_time_ms
    }

    /// When it began.
    pub fn start_time_ms(&self) -> i64 {
        self.start_time_ms
    }

    /// What came of it.
    pub fn state(&self) -> TimerRunState {
        *self.state
    }

    /// Why it made no job.
    pub fn reason(&self) -> Option<&Reason> {
        self.reason.as_ref()
    }

    /// The scan that it made; empty: none.
    pub fn scan(&self) -> &str {
        &self.scan
    }

    /// The job that it made; empty: none.
    pub fn job(&self) -> &str {
        &self.job
    }

    /// What became of it. On an error nothing has changed.
    ///
    /// # Errors
    /// When it has ended.
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
