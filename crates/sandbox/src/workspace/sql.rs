//! SQL on the workspace's cluster and warehouse: HiveServer2 over HTTP, for the few statements that a migration sends
//! (`statement`).
//! Rows come from this project's own Delta reader (`query`), so tests judge the protocol here, never the rows: Arrow
//! batches, LZ4, files behind links that expire, direct results, statements that take a while.
//!
//! Apache's Thrift crate reads and writes the wire; our client does not use it. This module must never write into the
//! folder, and never keep a result of more than `RESULT_MAX`.

mod query;
mod result;
mod service;
mod statement;
mod thrift;

use std::time::Duration;

pub use service::{LINK_HEADER, Service};

/// How results are returned. It can be changed while the workspace runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SqlSettings {
    /// The size of a result in memory, in bytes, from which it is returned as files behind links, if the client accepts
    /// links.
    pub links_from: usize,
    /// How long a statement may take before it is answered without its rows, which the client must then fetch.
    pub direct_wait: Duration,
    /// Rows of a batch and of a result file.
    pub batch_rows: usize,
    /// How many of the next links are issued as already expired.
    pub ended_links: u32,
    /// How many rows are left out at the end of each batch and file, to simulate a loss.
    pub rows_lost: u64,
    /// How many rows are left out at the end of each result that has more, while every count that is told agrees.
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
