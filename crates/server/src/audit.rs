//! The AuditService that every process serves: what was changed here, and by whom. Not implemented yet: every call is
//! answered NOT_YET.

use mms_proto::ApiError;
use mms_proto::audit::v1 as pb;
use pb::audit_service_server::AuditService;
use tonic::{Request, Response, Status};

/// The audit service of this process.
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
