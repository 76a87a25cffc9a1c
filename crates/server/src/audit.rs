//! AuditService of every process: what changed here, and who did it. Nothing of it is done yet.

use mms_proto::ApiError;
use mms_proto::audit::v1 as pb;
use pb::audit_service_server::AuditService;
use tonic::{Request, Response, Status};

/// The audit of this process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Audit;

#[tonic::async_trait]
impl AuditService for Audit {
    async fn list_audit_entries(
        &self,
        _: Request<pb::ListAuditEntriesRequest>,
    ) -> Result<Response<pb::ListAuditEntriesResponse>, Status> {
        Err(ApiError::not_yet("ListAuditEntries").into())
    }
}
