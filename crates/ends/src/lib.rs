//! The far ends of a data source, as its configuration in the contract describes them with the secrets in place: settings
//! of the outgoing client, workspace, storage, project. All services that reach an end build it here, so that what a check
//! has tried is what a worker uses.
//!
//! The sessions of the registry that all this is made from are held here too ([`Sessions`]). To far ends nothing is sent here, and
//! who may have the secrets is not decided here.

mod network;
mod project;
mod sessions;
mod storage;
mod traffic;
mod vending;
mod workspace;

pub use network::{connection, denied_hosts_fault, guard_addresses, host_override, is_denied_for_good};
pub use project::project;
pub use sessions::{Sessions, Terms};
pub use storage::{Storage, Storages, location_prefix, storage};
pub use traffic::follow_traffic;
pub use vending::{Vended, Vending};
pub use workspace::{sql, workspace};

/// Why there can be no client of an end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {what}")]
pub struct EndError {
    /// The field of the data source.
    pub field: &'static str,
    /// What is wrong with it.
    pub what: String,
}

impl EndError {
    fn of(field: &'static str) -> impl Fn(String) -> Self {
        move |what| Self { field, what }
    }
}
