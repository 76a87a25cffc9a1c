//! What can go wrong in this service, and the one place that says how a caller hears of it.

use mms_proto::{ApiError, ErrorReason, FieldViolation, Role};
use mms_store::StoreError;
use tonic::Code;

use crate::job::{JobState, WrongState};

/// A failure of the scheduler.
#[derive(Debug, thiserror::Error)]
pub enum SchedulerError {
    /// The store failed.
    #[error("the store failed: {0}")]
    Store(#[from] StoreError),
    /// There is no such resource.
    #[error("{0} does not exist")]
    NotFound(String),
    /// The id is taken.
    #[error("{0} exists already: choose another id, or leave it out to have one made")]
    AlreadyExists(String),
    /// Somebody changed the resource.
    #[error("{0} has changed since it was read: read it again")]
    EtagMismatch(String),
    /// A request id was used for something else.
    #[error("request_id `{0}` was used with other content: use a new one")]
    RequestIdReused(String),
    /// The job is in a state that does not take this.
    #[error("{resource}: {source}")]
    WrongState {
        /// The job or task.
        resource: String,
        /// What it refused.
        source: WrongState,
    },
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
    /// Only an administrator may ask for this.
    #[error("{0} needs role ADMIN")]
    NeedsAdmin(&'static str, Role),
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
    /// The lease is lost.
    #[error("the lease of {0} is lost: drop the task")]
    Fenced(String),
    /// The worker must register.
    #[error("worker {0} is not registered with this instance: call RegisterWorker")]
    WorkerUnknown(String),
    /// The contract has it, this version does not.
    #[error("{0} is not implemented yet")]
    NotYet(&'static str),
    /// Fields break their rules.
    #[error("{} of the request's fields are not as they must be", .0.len())]
    Invalid(Vec<FieldViolation>),
    /// A page token of somebody else.
    #[error("the page_token was not made by this service for these arguments: start at the first page")]
    PageToken,
    /// Another service refused.
    #[error("{service} answered: {error}")]
    Peer {
        /// Which.
        service: &'static str,
        /// What it said.
        error: Box<ApiError>,
    },
}

/// One answer of this service.
pub type Result<T, E = SchedulerError> = std::result::Result<T, E>;

impl From<SchedulerError> for ApiError {
    fn from(error: SchedulerError) -> Self {
        use SchedulerError as E;
        let text = error.to_string();
        match error {
            E::Store(store) => store_error(&store, text),
            E::NotFound(resource) => Self::new(Code::NotFound, ErrorReason::NotFound, text).with("resource", resource),
            E::AlreadyExists(resource) => {
                Self::new(Code::AlreadyExists, ErrorReason::AlreadyExists, text).with("resource", resource)
            }
            E::EtagMismatch(resource) => {
                Self::new(Code::Aborted, ErrorReason::EtagMismatch, text).with("resource", resource)
            }
            E::RequestIdReused(id) => {
                Self::new(Code::AlreadyExists, ErrorReason::RequestIdReused, text).with("request_id", id)
            }
            E::WrongState { resource, source } => Self::new(Code::FailedPrecondition, ErrorReason::WrongState, text)
                .with("resource", resource)
                .with("state", source.state.to_string()),
            E::TaskNotFailed { resource, state } => Self::new(Code::FailedPrecondition, ErrorReason::WrongState, text)
                .with("resource", resource)
                .with("state", state),
            E::Overtaken(resource, state) => Self::new(Code::FailedPrecondition, ErrorReason::WrongState, text)
                .with("resource", resource)
                .with("state", state.to_string()),
            E::NeedsAdmin(feature, role) => Self::new(Code::PermissionDenied, ErrorReason::RoleTooLow, text)
                .with("method", feature)
                .with("role", role_text(role))
                .with("least_role", role_text(Role::Admin)),
            E::Blocked { resource, count } => Self::new(Code::FailedPrecondition, ErrorReason::Blocked, text)
                .with("table", resource)
                .with("count", count.to_string()),
            E::TargetOwned { target, job } => Self::new(Code::FailedPrecondition, ErrorReason::TargetOwned, text)
                .with("target", target)
                .with("job", job),
            E::Fenced(task) => Self::new(Code::Aborted, ErrorReason::Fenced, text).with("task", task),
            E::WorkerUnknown(worker) => {
                Self::new(Code::FailedPrecondition, ErrorReason::WorkerUnknown, text).with("worker", worker)
            }
            E::NotYet(feature) => Self::not_yet(feature),
            E::Invalid(violations) => Self::invalid(violations),
            E::PageToken => Self::new(Code::InvalidArgument, ErrorReason::InvalidPageToken, text),
            E::Peer { error, .. } => *error,
        }
    }
}

fn role_text(role: Role) -> &'static str {
    let name = role.as_str_name();
    name.strip_prefix("ROLE_").unwrap_or(name)
}

fn store_error(error: &StoreError, text: String) -> ApiError {
    tracing::error!(error = %error, "the store failed");
    ApiError::new(Code::Internal, ErrorReason::Internal, text)
}

impl From<SchedulerError> for tonic::Status {
    fn from(error: SchedulerError) -> Self {
        ApiError::from(error).into()
    }
}
