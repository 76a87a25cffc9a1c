//! The Storage API, version 1, as far as it writes: an Arrow stream for each attempt at a block, up into a session of one
//! partition, which publishes those attempts whose commit messages it is shown.
//!
//! It carries what the tunnel's Arrow cannot: timestamps in microseconds, so the years 0000 to 9999. It cannot carry their
//! nanoseconds, and it cannot publish that there are no rows. [`StorageApi::create_write`] makes a [`WriteSession`],
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

/// The schema that a table lies in where its project has none.
const NO_SCHEMA: &str = "default";

/// The Storage API of a project.
#[derive(Debug, Clone)]
pub struct StorageApi {
    project: Project,
    transport: Arc<Transport>,
}

impl Project {
    /// The Storage API, which is where the tunnel is.
    ///
    /// # Errors
    /// As [`Project::tunnel`].
    pub async fn storage_api(&self) -> Result<StorageApi, MaxComputeError> {
        Ok(StorageApi { project: self.clone(), transport: self.tunnel_transport().await? })
    }
}

impl StorageApi {
    /// A request about a table, with what every such request carries.
    fn call(&self, method: Method, table: &TableRef, below: &[&str]) -> Call {
        let schema = table.schema.as_ref().map_or(NO_SCHEMA, |schema| schema.as_str());
        let above = ["api", "storage", "v1", "projects", table.project.as_str(), "schemas", schema, "tables"];
        let path: Vec<&str> = above.into_iter().chain([table.table.as_str()]).chain(below.iter().copied()).collect();
        Call::new(method, &path)
            .param("curr_project", self.project.name().as_str())
            .param_if("quotaName", self.project.shared.config.tunnel_quota.clone())
    }
}
