//! SessionService: the only service that hands out secrets.

use mms_proto::registry::v1 as pb;
use mms_proto::time::{duration, timestamp};
use mms_server::list::{Asked, List};
use mms_store::{Read, Scope};
use pb::session_service_server::SessionService;
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use super::{Api, BYTES_MAX, check, id};
use crate::convert::source_to;
use crate::error::{RegistryError, Result};
use crate::record::Use;
use crate::store::USES;
use crate::{run, source, vend};

#[tonic::async_trait]
impl SessionService for Api {
    async fn open_session(
        &self,
        request: Request<pb::OpenSessionRequest>,
    ) -> Result<Response<pb::OpenSessionResponse>, Status> {
        check(request.get_ref())?;
        let request = request.into_inner();
        let purposes: Vec<pb::SessionPurpose> = request.purposes().collect();
        let session = run::open_session(&self.core, &id(&request.data_source), &request.holder, &purposes).await?;
        Ok(Response::new(pb::OpenSessionResponse { session: Some(session) }))
    }

    async fn renew_session(
        &self,
        request: Request<pb::RenewSessionRequest>,
    ) -> Result<Response<pb::RenewSessionResponse>, Status> {
        check(request.get_ref())?;
        let request = request.into_inner();
        let changed = run::renew_session(&self.core, &request.session_token, &request.etag).await?;
        let expire_after = duration(self.core.leases.session_term());
        Ok(Response::new(pb::RenewSessionResponse { expire_after, changed }))
    }

    async fn close_session(
        &self,
        request: Request<pb::CloseSessionRequest>,
    ) -> Result<Response<pb::CloseSessionResponse>, Status> {
        check(request.get_ref())?;
        self.core.leases.close(&request.get_ref().session_token, Instant::now());
        Ok(Response::new(pb::CloseSessionResponse {}))
    }

    async fn vend_credentials(
        &self,
        request: Request<pb::VendCredentialsRequest>,
    ) -> Result<Response<pb::VendCredentialsResponse>, Status> {
        check(request.get_ref())?;
        let request = request.into_inner();
        Ok(Response::new(vend::vend(&self.core, &request.session_token, &request.table).await?))
    }

    async fn acquire_use(
        &self,
        request: Request<pb::AcquireUseRequest>,
    ) -> Result<Response<pb::AcquireUseResponse>, Status> {
        check(request.get_ref())?;
        let request = request.into_inner();
        let id = id(&request.data_source);
        let record = run::acquire(&self.core, &id, &request.holder).await?;
        Ok(Response::new(pb::AcquireUseResponse {
            expire_after: duration(self.core.leases.use_term()),
            data_source: Some(source_to(&id, &record)),
        }))
    }

    async fn release_use(
        &self,
        request: Request<pb::ReleaseUseRequest>,
    ) -> Result<Response<pb::ReleaseUseResponse>, Status> {
        check(request.get_ref())?;
        let request = request.into_inner();
        run::release(&self.core, &id(&request.data_source), &request.holder).await?;
        Ok(Response::new(pb::ReleaseUseResponse {}))
    }

    async fn list_uses(&self, request: Request<pb::ListUsesRequest>) -> Result<Response<pb::ListUsesResponse>, Status> {
        check(request.get_ref())?;
        let request = request.into_inner();
        let id = id(&request.parent);
        let asked = Asked {
            of: ["uses", &request.parent],
            filter: &request.filter,
            order_by: &request.order_by,
            page_size: request.page_size,
            page_token: &request.page_token,
        };
        let list = List::<pb::Use>::of(&asked, BYTES_MAX)?;
        self.core.store.read(|read| source::get(read, &id).map(drop))?;
        let (now, now_ms) = (Instant::now(), self.core.now_ms());
        let records = |after: Option<&(String, String)>, limit: usize| {
            let page = self.core.store.read(|read| {
                Ok::<_, RegistryError>(read.page(&USES, &Scope::prefix(&(id.clone(),)), after, limit)?)
            })?;
            Ok::<_, Status>((page.items, page.next.is_some()))
        };
        let show = |key: &(String, String), held: Use| {
            let left = self.core.leases.use_left(key, now).unwrap_or_default();
            Ok(Some(pb::Use {
                holder: key.1.clone(),
                acquire_time: timestamp(held.acquire_ms),
                expire_time: timestamp(now_ms.saturating_add(i64::try_from(left.as_millis()).unwrap_or(0))),
            }))
        };
        let cursor = |holder: &str| Some((id.clone(), holder.to_owned()));
        let (uses, next_page_token) = list.page(|key: &(String, String)| key.1.clone(), cursor, records, show)?;
        Ok(Response::new(pb::ListUsesResponse { uses, next_page_token, total_size: None }))
    }
}
