//! What this service keeps: its own prost messages, never those of the contract, so that the contract and the disk can
//! change apart from each other. Shapes only. A secret is in none of them but [`Sealed`], encrypted.
//!
//! Numbers of enums are the contract's.

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
