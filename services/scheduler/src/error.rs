//! The errors of this service, and the one place that turns them into a status.

use mms_proto::{ApiError, ErrorReason, FieldViolation};
use mms_server::PeerError;
use mms_server::requests::Reused;
use mms_store::StoreError;
use tonic::Code;

use crate::record::{JobState, NotTaken, WrongState};

/// An error of the scheduler.
#[derive(Debug, thiserror::Error)]
pub enum SchedulerError {
    /// The store failed.
    #[error("the store failed: {0}")]
    Store(#[from] StoreError),
    /// There is no such resource.
    #[error("{0} does not exist")]
    NotFound(String),
    /// An earlier call with the same request id made the resource, which was deleted since.
    #[error(
        "{0} was made by an earlier call with this request_id, and deleted since: use a new request_id to make another"
    )]
    MadeAndDeleted(String),
    /// The id is taken.
    #[error("{0} exists already: choose another id, or leave it out to have one made")]
    AlreadyExists(String),
    /// The resource has changed since the caller read it.
    #[error("{0} has changed since it was read: read it again")]
    EtagMismatch(String),
    /// The request id was used for a request with other content.
    #[error(transparent)]
    RequestIdReused(#[from] Reused),
    /// The job's state does not allow the call.
    #[error("{resource}: {source}")]
    WrongState {
        /// Name of the job.
        resource: String,
        /// The state, and what was to be done.
        source: WrongState,
    },
    /// An event was raised that a record does not accept: a bug of this service.
    #[error(transparent)]
    NotTaken(#[from] NotTaken),
    /// The task has not failed, so it cannot be retried.
    #[error("{resource} is {state}, and only a failed task can be retried")]
    TaskNotFailed {
        /// Name of the task.
        resource: String,
        /// Its state.
        state: String,
    },
    /// Another call has ended the change that this call had begun: the job, and its state now.
    #[error("{0} was stopped meanwhile: start it again to continue")]
    Overtaken(String, JobState),
    /// The plan has blocked tables, and the approval does not accept them.
    #[error(
        "{count} tables of {resource} are blocked: correct what ListFindings names, or approve with accept_blocked"
    )]
    Blocked {
        /// Name of the job.
        resource: String,
        /// Number of blocked tables.
        count: i32,
    },
    /// Another live job has claimed the target table or unit.
    #[error("{target} is being written by {job}: wait for it to end, or stop it")]
    TargetOwned {
        /// The target table or unit.
        target: String,
        /// Name of the job that has claimed it.
        job: String,
    },
    /// A newer version is at the target, and the job may not write an older one over it.
    #[error(
        "version {there} of {table} is at {target}, and this job would write version {own} over it: make a new job, which pins \
         the newest version, or set older_version to OVERWRITE"
    )]
    TargetNewer {
        /// The source table, as "schema.table".
        table: String,
        /// The target table.
        target: String,
        /// The version at the target.
        there: i64,
        /// The version of the job.
        own: i64,
    },
    /// The intent may not be cancelled: not its kind, or not yet.
    #[error(
        "{intent} of {task} cannot be cancelled: only one that drops a table or partitions can be, once nobody has held a lease of a task \
         of that table for 20 minutes; any other is resolved by the next task there"
    )]
    IntentStands {
        /// Name of the intent.
        intent: String,
        /// Name of the task that opened it.
        task: String,
    },
    /// The worker has lost the lease of this task.
    #[error("the lease of {0} is lost: drop the task")]
    Fenced(String),
    /// The worker process must register.
    #[error("worker {0} is not registered with this instance: call RegisterWorker")]
    WorkerUnknown(String),
    /// The scan that precedes a timer's job has failed or was cancelled.
    #[error("{scan} ended as {state}: {error}")]
    ScanNotDone {
        /// Name of the scan.
        scan: String,
        /// Its state.
        state: &'static str,
        /// Its error.
        error: String,
    },
    /// The contract has it, but this version does not implement it.
    #[error("{0} is not implemented yet")]
    NotYet(&'static str),
    /// Fields of the request break their rules; all of them are listed.
    #[error("{} of the request's fields are not as they must be", .0.len())]
    Invalid(Vec<FieldViolation>),
    /// Another service answered with an error, or did not answer.
    #[error(transparent)]
    Peer(#[from] PeerError),
}

/// The result of most functions of this service.
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
                tracing::error!(%fault, "an event was raised that a record does not accept: a bug of this service");
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
