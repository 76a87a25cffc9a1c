//! SQL on a cluster or a warehouse, by the protocol that Databricks JDBC speaks: HiveServer2's Thrift messages over HTTP, with
//! rows as Arrow batches, in files behind links, or, of older servers and Spark's own, as columns.
//!
//! What it must never do: send a token anywhere but to its own workspace, believe a length or a count of the wire, give a value
//! that is not exactly the server's, or repeat a statement by itself. Every session's time zone is UTC.

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
