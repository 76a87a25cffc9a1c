//! Between the contract's messages and this service's records. Shapes only, no decisions. Secrets pass through neither
//! way: they were taken out before.

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
