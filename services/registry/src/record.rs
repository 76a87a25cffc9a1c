//! The records that this service stores: its own prost messages, never those of the contract, so that the contract and the stored
//! form can change independently. Only [`Sealed`] contains secrets, encrypted.
//!
//! The numbers of enums are the contract's.

mod databricks;
mod max_compute;
mod network;
mod report;
mod seal;
mod settings;
mod source;

pub use databricks::{Databricks, ServicePrincipal, Storage, StorageAccess, WorkspaceAuth};
pub use max_compute::{Account, MaxCompute};
pub use network::NetworkConnection;
pub use report::{CheckReport, CheckStep};
pub use seal::Sealed;
pub use settings::{CharacterMapping, Clock, Concurrency, Rate, Schedule, Settings, TableBound};
pub use source::{Change, DataSource, Trim, Use};
