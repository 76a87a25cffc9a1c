//! The gRPC services, one file each. Translates protobuf requests to the domain and its answers back. Makes no decisions.

mod change;
mod check;
mod network;
mod session;
mod source;
mod watch;

use std::pin::Pin;

use futures::Stream;
use mms_proto::ApiError;
use mms_proto::name::ResourceId;
use tonic::Status;

use crate::core::Core;

/// A stream of answers, as the generated servers take it.
pub(crate) type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Implements all gRPC services of the registry.
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
fn check<T: prost::Message + prost::Name>(request: &T) -> Result<(), Status> {
    mms_proto::validate(request).map_err(Status::from)
}

/// The id at the end of a valid resource name.
fn id(name: &str) -> String {
    name.split('/').next_back().unwrap_or_default().to_owned()
}

/// The id that the caller chose, or a new one that begins with `letter`.
fn chosen_id(field: &str, given: &str, letter: char, uid: uuid::Uuid) -> Result<String, Status> {
    let id = if given.is_empty() { format!("{letter}{}", uid.simple()) } else { given.to_owned() };
    let id = ResourceId::new(id).map_err(|reason| ApiError::invalid_field(field, reason))?;
    Ok(id.as_str().to_owned())
}

/// The display name that the caller gave, or one made from the id.
fn default_display_name(given: String, id: &str) -> String {
    if given.is_empty() { id.replace('-', "") } else { given }
}

/// A page ends with the item that makes it reach this many bytes, which is well below the message limit.
const BYTES_MAX: usize = 6 << 20;
