//! Builds the clients of a data source's two ends from its configuration in the contract, secrets included: settings of the
//! outgoing client, workspace, storage, project. Every service that reaches an end builds its client here, so that a worker uses
//! exactly what a check has tried.
//!
//! Owns also the registry sessions that these clients are built from ([`Sessions`]). It must never send anything to an end, and
//! it does not decide who may have the secrets.

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

/// Why no client of an end can be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {what}")]
pub struct EndError {
    /// The field of the data source that is wrong.
    pub field: &'static str,
    /// What is wrong with the value.
    pub what: String,
}

impl EndError {
    fn of(field: &'static str) -> impl Fn(String) -> Self {
        move |what| Self { field, what }
    }
}
