//! One file a gRPC service: protobuf in, domain out, domain in, protobuf out. No decisions.

mod catalog;
mod lists;
mod planning;
mod scan;
mod update;
mod watch;

use mms_proto::ApiError;
use prost::{Message, Name};
use tonic::Status;

use crate::core::Core;

/// All gRPC services of the catalog.
#[derive(Clone)]
pub struct Api {
    core: Core,
}

impl Api {
    /// Services over the shared parts.
    pub fn new(core: Core) -> Self {
        Self { core }
    }
}

/// Refuses a request whose fields break their rules.
fn check<T: Message + Name>(request: &T) -> Result<(), Status> {
    mms_proto::validate(request).map_err(Status::from)
}

/// Parses a name that has kept its rule.
fn name<N: mms_proto::name::ResourceName>(field: &str, text: &str) -> Result<N, Status> {
    N::parse(text).map_err(|error| ApiError::invalid_field(field, error.reason).into())
}
