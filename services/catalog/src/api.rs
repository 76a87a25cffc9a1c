//! The gRPC services, one file each. Translates protobuf requests to the domain and its answers back. Makes no decisions.

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

/// Implements all gRPC services of the catalog.
#[derive(Clone)]
pub struct Api {
    core: Core,
}

impl Api {
    /// Creates the services over the shared parts.
    pub fn new(core: Core) -> Self {
        Self { core }
    }
}

/// Rejects a request whose fields break the rules of the contract, with all violations at once.
fn check<T: Message + Name>(request: &T) -> Result<(), Status> {
    mms_proto::validate(request).map_err(Status::from)
}

/// Parses a resource name; `field` names it in the error.
fn name<N: mms_proto::name::ResourceName>(field: &str, text: &str) -> Result<N, Status> {
    N::parse(text).map_err(|error| ApiError::invalid_field(field, error.reason).into())
}
