//! The tunnel: moves rows as Arrow batches, up in the blocks of a session and down in ranges.
//!
//! Upload: [`Tunnel::create_upload`] creates an [`UploadSession`], and [`UploadSession::open_block`] a [`BlockWriter`], which
//! streams. Nothing is visible before [`UploadSession::commit`]. Download: [`Tunnel::create_download`].

mod auto;
pub(crate) mod block;
mod codec;
mod download;
mod encode;
mod frame;
mod line;
pub(crate) mod schema;
mod upload;
mod wire;

use std::sync::Arc;

use mms_http::Method;

pub use auto::{AutoCodec, Cost, Reason};
pub use block::{BlockAdvice, BlockError, BlockReceipt, BlockWriter};
pub use codec::Codec;
pub use download::{ArrowReader, DownloadSession};
pub use encode::{BlockEncoder, Encoded, Pieces};
pub use frame::{CHUNK_BYTES, FrameError, Unframer};
pub use schema::{BatchMismatch, arrow_schema, arrow_type, check_batch};
pub use upload::{PartitionMode, SessionInfo, UploadSession, WriteMode};

use crate::error::MaxComputeError;
use crate::project::Project;
use crate::table::{PartitionSpec, TableRef};
use crate::transport::{Call, Transport};

/// The tunnel of a project.
#[derive(Debug, Clone)]
pub struct Tunnel {
    project: Project,
    transport: Arc<Transport>,
}

impl Project {
    /// The tunnel. If its endpoint is not configured, the service is asked for it once.
    ///
    /// # Errors
    /// The service's refusal to name the endpoint.
    pub async fn tunnel(&self) -> Result<Tunnel, MaxComputeError> {
        Ok(Tunnel { project: self.clone(), transport: self.tunnel_transport().await? })
    }
}

impl Tunnel {
    /// The endpoint to which blocks are sent.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        self.transport.endpoint()
    }

    /// A request for a table, or for one of its partitions, with the parameters that every such request has.
    fn call(&self, method: Method, table: &TableRef, partition: Option<&PartitionSpec>) -> Call {
        let mut path = vec!["projects", table.project.as_str()];
        if let Some(schema) = &table.schema {
            path.extend(["schemas", schema.as_str()]);
        }
        path.extend(["tables", table.table.as_str()]);
        Call::new(method, &path)
            .param("curr_project", self.project.name().as_str())
            .param_if("partition", partition.map(ToString::to_string))
            .param_if("quotaName", self.project.shared.config.tunnel_quota.clone())
            .header("x-odps-tunnel-version", "6")
            .header("odps-tunnel-date-transform", "v1")
            .header("odps-tunnel-sdk-support-schema-evolution", "true")
    }
}

/// Rejects partitions that `k=v,k=v` cannot express.
pub(crate) fn check_partition(table: &TableRef, partition: Option<&PartitionSpec>) -> Result<(), MaxComputeError> {
    let checked = partition.map_or(Ok(()), PartitionSpec::check);
    checked.map_err(|source| MaxComputeError::PartitionValue { table: table.to_string(), source })
}
