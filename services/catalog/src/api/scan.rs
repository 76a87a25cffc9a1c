//! ScanService: creates, shows, watches and cancels scans. A CreateScan repeated with the same request id answers with the scan
//! that the first call created.

use mms_proto::ApiError;
use mms_proto::catalog::v1 as pb;
use mms_proto::name::{DataSourceName, ResourceId, ResourceName, ScanName};
use mms_proto::types::v1 as types;
use mms_server::requests;
use pb::scan_service_server::ScanService;
use prost::Message;
use tonic::{Request, Response, Status};

use super::{Api, check, name};
use crate::convert;
use crate::error::{CatalogError, Result};
use crate::record::{Scan, SourceTable};
use crate::scan::{self, control};
use crate::store::ScanKey;
use crate::{forget, key};

const CREATE: &str = "CreateScan";

fn digest(request: &pb::CreateScanRequest) -> Vec<u8> {
    // The scan id is part of the content; the request id is not.
    pb::CreateScanRequest { request_id: String::new(), ..request.clone() }.encode_to_vec()
}

impl Api {
    pub(super) fn shown_scan(&self, key: &ScanKey) -> Result<pb::Scan> {
        let scan = self.core.store.read(|read| control::scan(read, key))?;
        Ok(convert::scan_to(key, scan))
    }

    /// The scan that an earlier call with the same request id created.
    async fn replay(&self, call: &requests::Call, digest: &[u8]) -> Result<Option<pb::Scan>> {
        let now = self.core.now_ms();
        let same = |seen: &requests::Request| seen.digest == digest;
        let made = self.core.store.read_durable(|read| call.replayed::<CatalogError>(read, now, same)).await?;
        let Some(requests::Request { resource: made, .. }) = made else { return Ok(None) };
        let name = ScanName::parse(&made).map_err(|_| CatalogError::NotFound(made))?;
        self.shown_scan(&key::scan_key(&name)).map(Some)
    }

    /// Creates and starts a scan, or returns the one that the same call created before.
    pub(super) async fn create_scan_now(&self, request: pb::CreateScanRequest) -> Result<pb::Scan, Status> {
        check(&request)?;
        let source: DataSourceName = name("parent", &request.parent)?;
        let digest = digest(&request);
        let call = requests::Call { method: CREATE, id: request.request_id.clone() };
        if let Some(made) = self.replay(&call, &digest).await? {
            return Ok(made);
        }
        let id = match request.scan_id.as_str() {
            "" => format!("s{}", uuid::Uuid::now_v7().simple()),
            given => given.to_owned(),
        };
        let id = ResourceId::new(id).map_err(|reason| ApiError::invalid_field("scan_id", reason))?;
        let key: ScanKey = (source.id().as_str().to_owned(), id.as_str().to_owned());
        // Fails when the data source does not exist or is not started. From here on the scan holds a use of it.
        let uid = self.core.peers.acquire(&key.0, &key::scan_name(&key)).await?;
        forget::adopt(&self.core.store, &key.0, &uid).await?;
        let asked = request.scan.unwrap_or_default();
        let (own, now) = (key.clone(), self.core.now_ms());
        let named = |table: types::SourceTable| SourceTable { schema: table.schema, table: table.table };
        let scan = Scan {
            uid: uuid::Uuid::now_v7().to_string(),
            schemas: asked.schemas,
            tables: asked.tables.into_iter().map(named).collect(),
            create_time_ms: now,
            ..Scan::default()
        };
        let made = self
            .core
            .store
            .commit(move |tx| {
                // Two calls with the same request id may run at once.
                if let Some(made) = call.replayed::<CatalogError>(tx, now, |seen| seen.digest == digest)? {
                    return Ok::<_, CatalogError>(Err(made.resource));
                }
                let scan = control::create(tx, &own, scan)?;
                let resource = key::scan_name(&own);
                call.remember(tx, &requests::Request { digest, resource, time_ms: now, ..Default::default() })?;
                Ok(Ok(scan))
            })
            .await;
        match made {
            Ok(Ok(made)) => {
                scan::start(&self.core, key.clone(), made.number);
                Ok(convert::scan_to(&key, made))
            }
            Ok(Err(other)) => {
                let own = ScanName::parse(&other).map_err(|_| CatalogError::NotFound(other))?;
                let own = key::scan_key(&own);
                if own != key {
                    scan::release(&self.core, &key).await?;
                }
                Ok(self.shown_scan(&own)?)
            }
            Err(error) => {
                // A use belongs to the scan of this name. Release it only if there is no such scan: then it was this call's.
                if self.shown_scan(&key).is_err() {
                    scan::release(&self.core, &key).await?;
                }
                Err(error.into())
            }
        }
    }
}

#[tonic::async_trait]
impl ScanService for Api {
    type WatchScanStream = super::watch::ScanStream;

    async fn create_scan(
        &self,
        request: Request<pb::CreateScanRequest>,
    ) -> Result<Response<pb::CreateScanResponse>, Status> {
        let scan = self.create_scan_now(request.into_inner()).await?;
        Ok(Response::new(pb::CreateScanResponse { scan: Some(scan) }))
    }

    async fn get_scan(&self, request: Request<pb::GetScanRequest>) -> Result<Response<pb::GetScanResponse>, Status> {
        check(request.get_ref())?;
        let key = key::scan_key(&name::<ScanName>("name", &request.get_ref().name)?);
        Ok(Response::new(pb::GetScanResponse { scan: Some(self.shown_scan(&key)?) }))
    }

    async fn list_scans(
        &self,
        request: Request<pb::ListScansRequest>,
    ) -> Result<Response<pb::ListScansResponse>, Status> {
        check(request.get_ref())?;
        self.scans(request.get_ref()).map(Response::new)
    }

    async fn watch_scan(
        &self,
        request: Request<pb::WatchScanRequest>,
    ) -> Result<Response<Self::WatchScanStream>, Status> {
        let request = request.into_inner();
        check(&request)?;
        let key = key::scan_key(&name::<ScanName>("name", &request.name)?);
        self.core.store.read(|read| control::scan(read, &key))?;
        Ok(Response::new(self.watch(key, &request.position)?))
    }

    async fn cancel_scan(
        &self,
        request: Request<pb::CancelScanRequest>,
    ) -> Result<Response<pb::CancelScanResponse>, Status> {
        check(request.get_ref())?;
        let key = key::scan_key(&name::<ScanName>("name", &request.get_ref().name)?);
        let (own, now) = (key.clone(), self.core.now_ms());
        let (scan, ended) = self.core.store.commit(move |tx| control::cancel(tx, &own, now)).await?;
        if ended {
            self.core.scans.cancel(&key);
            scan::release(&self.core, &key).await?;
        }
        Ok(Response::new(pb::CancelScanResponse { scan: Some(convert::scan_to(&key, scan)) }))
    }
}
