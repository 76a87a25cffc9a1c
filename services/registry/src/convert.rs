//! Converts between the contract's messages and this service's records. Must never decide anything, and never see a secret:
//! secrets are split off before.

mod databricks;
mod max_compute;
mod network;
mod report;
mod settings;
mod source;
mod value;

pub use network::{network_from, network_to};
pub use report::report_from;
pub use source::{configure, source_to};
pub use value::etag;
