//! SQL on a cluster or a warehouse, by the protocol of Databricks JDBC: HiveServer2's Thrift messages over HTTP, with rows as
//! Arrow batches, in files behind links, or, from older servers and Spark's own, as columns.
//!
//! It must never send a token anywhere but to its own workspace, trust a length or a count from the wire, return a value that
//! is not exactly the server's, or repeat a statement by itself. Every session's time zone is UTC.

mod compute;
mod decode;
mod message;
mod session;
mod statement;
pub mod text;
mod wire;

pub use crate::HttpPath;
pub use compute::{ClusterStart, ready_cluster};
pub use session::Session;
pub use statement::{Rows, Statement};
