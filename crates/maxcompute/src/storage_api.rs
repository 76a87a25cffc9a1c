//! The write side of the Storage API, version 1. A session covers one partition or a table. Each attempt at a block is an Arrow
//! stream, and the commit publishes the attempts whose commit messages it names.
//!
//! It carries what the tunnel's Arrow cannot: timestamps in microseconds, which cover the years 0000 to 9999. It cannot carry
//! nanoseconds, and it cannot publish that there are no rows. [`StorageApi::create_write`] creates a [`WriteSession`], and
//! [`WriteSession::open_block`] a [`StreamWriter`].

mod session;
mod wire;

use std::sync::Arc;

use mms_http::Method;

pub use session::{Attempt, StreamReceipt, StreamWriter, WriteSession};

use crate::error::MaxComputeError;
use crate::project::Project;
use crate::table::TableRef;
use crate::transport::{Call, Transport};

/// The schema that stands in a request for a table of a project without schemas.
const NO_SCHEMA: &str = "default";

/// The Storage API of a project.
#[derive(Debug, Clone)]
pub struct StorageApi {
    project: Project,
    transport: Arc<Transport>,
}

impl Project {
    /// The Storage API, which is reached at the tunnel's endpoint.
    ///
    /// # Errors
    /// As [`Project::tunnel`].
    pub async fn storage_api(&self) -> Result<StorageApi, MaxComputeError> {
        Ok(StorageApi { project: self.clone(), transport: self.tunnel_transport().await? })
    }
}

impl StorageApi {
    /// A request for a table, with the path and parameters that every such request has.
    fn call(&self, method: Method, table: &TableRef, below: &[&str]) -> Call {
        let schema = table.schema.as_ref().map_or(NO_SCHEMA, |schema| schema.as_str());
        let above = ["api", "storage", "v1", "projects", table.project.as_str(), "schemas", schema, "tables"];
        let path: Vec<&str> = above.into_iter().chain([table.table.as_str()]).chain(below.iter().copied()).collect();
        Call::new(method, &path)
            .param("curr_project", self.project.name().as_str())
            .param_if("quotaName", self.project.shared.config.tunnel_quota.clone())
    }
}
