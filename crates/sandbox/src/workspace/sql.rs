//! SQL on the workspace's cluster and warehouse: HiveServer2 over HTTP, for the few statements that a migration sends (`statement`), computed
//! over the Delta reader of this project (`query`), so no judge of it. What is judged here is the protocol: Arrow batches, LZ4,
//! files behind links that end, direct results, statements that take a while.
//!
//! The wire is read and written by Apache's Thrift crate, which our client does not use. It must never write anywhere, and
//! never keep more of a result than `RESULT_MAX`.

mod query;
mod result;
mod service;
mod statement;
mod thrift;

use std::time::Duration;

pub use service::{LINK_HEADER, Service};

/// How results are given; it can be changed while the workspace runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SqlSettings {
    /// Bytes of a result, packed, from which it is given as files behind links, to a client that takes links.
    pub links_from: usize,
    /// How long a statement may take before it is answered without its rows, to be asked for.
    pub direct_wait: Duration,
    /// Rows of a batch, and of a file.
    pub batch_rows: usize,
    /// So many links that are given out next have ended already.
    pub ended_links: u32,
    /// So many rows are missing at the end of what is given of each file.
    pub rows_lost: u64,
    /// So many rows are missing at the end of each result that has more, and every count agrees.
    pub rows_unsaid: u64,
}

impl Default for SqlSettings {
    fn default() -> Self {
        Self {
            links_from: 1 << 20,
            direct_wait: Duration::from_secs(5),
            batch_rows: 4096,
            ended_links: 0,
            rows_lost: 0,
            rows_unsaid: 0,
        }
    }
}
