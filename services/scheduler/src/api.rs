//! The gRPC services: messages in, calls of the domain, messages out. No decisions.

mod change;
mod intents;
mod job;
mod job_reads;
mod lineage;
#[cfg(test)]
mod lists_tests;
mod timer;
mod watch;
mod worker;
mod worker_reads;

use mms_proto::ApiError;
use prost::{Message, Name};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::scheduler::Scheduler;

/// All gRPC services of the scheduler.
#[derive(Clone)]
pub struct Api {
    scheduler: Scheduler,
    /// Cancelled when the process shuts down: waiting calls then end.
    stop: CancellationToken,
}

impl Api {
    /// The services over the shared parts. Waiting calls end when `stop` is cancelled.
    pub fn new(scheduler: Scheduler, stop: CancellationToken) -> Self {
        Self { scheduler, stop }
    }
}

/// Rejects a request whose fields break the rules of the contract.
fn check<T: Message + Name>(request: &T) -> Result<(), Status> {
    mms_proto::validate(request).map_err(Status::from)
}

/// Parses a resource name whose field rules were checked.
fn name<N: mms_proto::name::ResourceName>(field: &str, text: &str) -> Result<N, Status> {
    N::parse(text).map_err(|error| ApiError::invalid_field(field, error.reason).into())
}
