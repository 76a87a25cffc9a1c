//! One file a gRPC service: protobuf in, domain out, domain in, protobuf out. No decisions.

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

/// A stream of answers.
pub(crate) type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// All gRPC services of the registry.
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
fn check<T: prost::Message + prost::Name>(request: &T) -> Result<(), Status> {
    mms_proto::validate(request).map_err(Status::from)
}

/// The id in a name that has kept its rule.
fn id(name: &str) -> String {
    name.split('/').next_back().unwrap_or_default().to_owned()
}

/// The id that a caller chose, or a new one with this letter in front.
fn chosen_id(field: &str, given: &str, letter: char, uid: uuid::Uuid) -> Result<String, Status> {
    let id = if given.is_empty() { format!("{letter}{}", uid.simple()) } else { given.to_owned() };
    let id = ResourceId::new(id).map_err(|reason| ApiError::invalid_field(field, reason))?;
    Ok(id.as_str().to_owned())
}

/// The display name that an id gives.
fn default_display_name(given: String, id: &str) -> String {
    if given.is_empty() { id.replace('-', "") } else { given }
}

/// A page ends after the item with which it reaches this many bytes, well below the size of a message.
const BYTES_MAX: usize = 6 << 20;
