//! What can go wrong in this service, and the one place that says how a caller hears of it.

use mms_proto::{ApiError, ErrorReason, FieldViolation};
use mms_server::PeerError;
use mms_server::requests::Reused;
use mms_store::StoreError;
use tonic::Code;

use crate::record::{JobState, NotTaken, WrongState};

/// A failure of the scheduler.
#[derive(Debug, thiserror::Error)]
pub enum SchedulerError {
    /// The store failed.
    #[error("the store failed: {0}")]
    Store(#[from] StoreError),
    /// There is no such resource.
    #[error("{0} does not exist")]
    NotFound(String),
    /// The call was made before, and what it made is gone.
    #[error("{0} was made by this very call, and deleted since: use a new request_id to make another")]
    MadeAndDeleted(String),
    /// The id is taken.
    #[error("{0} exists already: choose another id, or leave it out to have one made")]
    AlreadyExists(String),
    /// Somebody changed the resource.
    #[error("{0} has changed since it was read: read it again")]
    EtagMismatch(String),
    /// A request id was used for something else.
    #[error(transparent)]
    RequestIdReused(#[from] Reused),
    /// The job is in a state that does not take this.
    #[error("{resource}: {source}")]
    WrongState {
        /// The job or task.
        resource: String,
        /// What it refused.
        source: WrongState,
    },
    /// A record was to change in a way that it does not: a fault of this service.
    #[error(transparent)]
    NotTaken(#[from] NotTaken),
    /// The task is in a state that does not take this.
    #[error("{resource} is {state}, and only a failed task can be tried again")]
    TaskNotFailed {
        /// The task.
        resource: String,
        /// Its state.
        state: String,
    },
    /// What was under way with a job was ended by another call.
    #[error("{0} was stopped meanwhile: start it again if it is to go on")]
    Overtaken(String, JobState),
    /// The plan has blockers.
    #[error("{count} tables of {resource} are blocked: mend what ListFindings names, or approve with accept_blocked")]
    Blocked {
        /// The job.
        resource: String,
        /// Blocked tables.
        count: i32,
    },
    /// Another live job owns a target unit.
    #[error("{target} is being written by {job}: wait for it to end, or stop it")]
    TargetOwned {
        /// The unit.
        target: String,
        /// The owner.
        job: String,
    },
    /// A newer version is at the target.
    #[error(
        "version {there} of {table} is at {target}, and this job would write version {own} over it: make a new job, which pins \
         the newest version, or set older_version to OVERWRITE"
    )]
    TargetNewer {
        /// The source table.
        table: String,
        /// Where it goes.
        target: String,
        /// The version there.
        there: i64,
        /// The job's version.
        own: i64,
    },
    /// An intent is not one that may be dropped.
    #[error(
        "{intent} of {task} cannot be cancelled: only one that drops a table or partitions can be, once nobody has held a lease of a task \
         of that table for 20 minutes; any other is resolved by the next task there"
    )]
    IntentStands {
        /// The intent.
        intent: String,
        /// Its task.
        task: String,
    },
    /// The lease is lost.
    #[error("the lease of {0} is lost: drop the task")]
    Fenced(String),
    /// The worker must register.
    #[error("worker {0} is not registered with this instance: call RegisterWorker")]
    WorkerUnknown(String),
    /// The scan that comes before a job did not go well.
    #[error("{scan} ended as {state}: {error}")]
    ScanNotDone {
        /// The scan.
        scan: String,
        /// How it ended.
        state: &'static str,
        /// Why.
        error: String,
    },
    /// The contract has it, this version does not.
    #[error("{0} is not implemented yet")]
    NotYet(&'static str),
    /// Fields break their rules.
    #[error("{} of the request's fields are not as they must be", .0.len())]
    Invalid(Vec<FieldViolation>),
    /// Another service refused.
    #[error(transparent)]
    Peer(#[from] PeerError),
}

/// One answer of this service.
pub type Result<T, E = SchedulerError> = std::result::Result<T, E>;

impl From<SchedulerError> for ApiError {
    fn from(error: SchedulerError) -> Self {
        use SchedulerError as E;
        let text = error.to_string();
        match error {
            E::Store(StoreError::DiskFull { .. }) => Self::storage_full("scheduler"),
            E::Store(store) => {
                tracing::error!(error = %store, "the store failed");
                Self::store_failed("scheduler", store.has_ended())
            }
            E::NotFound(resource) => Self::not_found(resource),
            E::MadeAndDeleted(resource) => {
                Self::new(Code::NotFound, ErrorReason::NotFound, text).with("resource", resource)
            }
            E::AlreadyExists(resource) => Self::already_exists(resource, text),
            E::EtagMismatch(resource) => Self::etag_mismatch(resource),
            E::RequestIdReused(reused) => Self::request_id_reused(reused.0),
            E::WrongState { resource, source } => Self::wrong_state(resource, source.state, text),
            E::NotTaken(fault) => {
                tracing::error!(%fault, "a record was to change in a way that it does not");
                Self::internal(text)
            }
            E::TaskNotFailed { resource, state } => Self::wrong_state(resource, state, text),
            E::Overtaken(resource, state) => Self::wrong_state(resource, state, text),
            E::Blocked { resource, count } => Self::new(Code::FailedPrecondition, ErrorReason::Blocked, text)
                .with("resource", resource)
                .with("count", count.to_string()),
            E::TargetOwned { target, job } => Self::new(Code::FailedPrecondition, ErrorReason::TargetOwned, text)
                .with("target", target)
                .with("job", job),
            E::TargetNewer { target, there, .. } => Self::new(Code::FailedPrecondition, ErrorReason::TargetNewer, text)
                .with("target", target)
                .with("version", there.to_string()),
            E::IntentStands { intent, .. } => Self::wrong_state(intent, "OPEN", text),
            E::Fenced(task) => Self::new(Code::Aborted, ErrorReason::Fenced, text).with("task", task),
            E::WorkerUnknown(worker) => {
                Self::new(Code::FailedPrecondition, ErrorReason::WorkerUnknown, text).with("worker", worker)
            }
            E::ScanNotDone { scan, .. } => {
                Self::new(Code::FailedPrecondition, ErrorReason::SourceFailed, text).with("scan", scan)
            }
            E::NotYet(feature) => Self::not_yet(feature),
            E::Invalid(violations) => Self::invalid(violations),
            E::Peer(peer) => *peer.error,
        }
    }
}

impl From<SchedulerError> for tonic::Status {
    fn from(error: SchedulerError) -> Self {
        ApiError::from(error).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_store_says_stays_here() {
        let broken = StoreError::Corrupt { what: "database in /var/lib/mms".into() };
        let stopped = StoreError::Stopped { cause: std::sync::Arc::new(broken.clone()) };
        let cases = [(broken, Code::Internal), (stopped, Code::Unavailable), (StoreError::Closed, Code::Unavailable)];
        for (error, code) in cases {
            let told = ApiError::from(SchedulerError::from(error));
            assert_eq!((told.code, told.retry_after.is_some()), (code, code == Code::Unavailable));
            assert!(!told.message.contains("/var"), "{}", told.message);
        }
    }
}
