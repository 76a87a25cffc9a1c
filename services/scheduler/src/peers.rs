//! Calls the catalog for tables, plans and scans, and the registry for uses of data sources. Classifies their errors;
//! decides nothing else.

use mms_proto::catalog::v1 as catalog;
use mms_proto::catalog::v1::catalog_service_client::CatalogServiceClient;
use mms_proto::catalog::v1::planning_service_client::PlanningServiceClient;
use mms_proto::catalog::v1::scan_service_client::ScanServiceClient;
use mms_proto::registry::v1 as registry;
use mms_proto::registry::v1::session_service_client::SessionServiceClient;
use mms_proto::{ApiError, ErrorReason};
use mms_server::{Client, PeerError};
use tonic::{Code, Streaming};

use crate::error::{Result, SchedulerError};

/// Clients of the two services.
#[derive(Clone)]
pub struct Peers {
    catalog: CatalogServiceClient<Client>,
    planning: PlanningServiceClient<Client>,
    scans: ScanServiceClient<Client>,
    sessions: SessionServiceClient<Client>,
}

const CATALOG: &str = "catalog";
const REGISTRY: &str = "registry";
/// Largest message accepted from the catalog: a plan with its findings, or 1,000 files.
const MESSAGE_MAX: usize = 32 << 20;

/// An answer of the catalog that breaks the contract.
pub fn broken(text: &str) -> SchedulerError {
    PeerError::new(CATALOG, ApiError::internal(text)).into()
}

impl SchedulerError {
    /// Whether the same call may succeed later without anybody acting.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Peer(peer) if peer.error.is_transient())
    }

    /// Whether the registry rejects a use because the data source is not started or does not exist.
    pub fn is_source_stopped(&self) -> bool {
        matches!(self, Self::Peer(PeerError { service: REGISTRY, error })
            if matches!(error.reason, ErrorReason::SourceNotStarted | ErrorReason::NotFound))
    }

    /// Whether the other service would reject the same request every time.
    pub fn is_refused_for_good(&self) -> bool {
        let for_good =
            |code| matches!(code, Code::InvalidArgument | Code::NotFound | Code::FailedPrecondition | Code::OutOfRange);
        matches!(self, Self::Peer(peer) if for_good(peer.error.code))
    }
}

impl Peers {
    /// Clients over a channel to each service.
    pub fn new(catalog: Client, registry: Client) -> Self {
        Self {
            catalog: CatalogServiceClient::new(catalog.clone()).max_decoding_message_size(MESSAGE_MAX),
            scans: ScanServiceClient::new(catalog.clone()),
            planning: PlanningServiceClient::new(catalog).max_decoding_message_size(MESSAGE_MAX),
            sessions: SessionServiceClient::new(registry),
        }
    }

    /// One page of the tables of a data source, in all its schemas.
    pub async fn tables(&self, source: &str, page_token: String) -> Result<catalog::ListTablesResponse> {
        let request = catalog::ListTablesRequest {
            parent: format!("dataSources/{source}/schemas/-"),
            page_size: 500,
            page_token,
            ..catalog::ListTablesRequest::default()
        };
        Ok(self.catalog.clone().list_tables(request).await.map_err(PeerError::of(CATALOG))?.into_inner())
    }

    /// One table, by its resource name.
    pub async fn table(&self, name: &str) -> Result<catalog::Table> {
        let request = catalog::GetTableRequest { name: name.to_owned(), ..catalog::GetTableRequest::default() };
        let answer = self.catalog.clone().get_table(request).await.map_err(PeerError::of(CATALOG))?.into_inner();
        Ok(answer.table.unwrap_or_default())
    }

    /// Pins and plans a table; the answer is a stream.
    pub async fn pin(&self, request: catalog::PinTableRequest) -> Result<Pinned> {
        let stream = self.planning.clone().pin_table(request).await.map_err(PeerError::of(CATALOG))?.into_inner();
        Ok(Pinned { stream })
    }

    /// Delivers migration reports to the catalog.
    pub async fn report(&self, reports: Vec<catalog::MigrationReport>) -> Result<()> {
        let request = catalog::ReportMigrationRequest { reports };
        self.planning.clone().report_migration(request).await.map_err(PeerError::of(CATALOG))?;
        Ok(())
    }

    /// Requests a scan, with `id` as its request id. Returns its name, or None if another scan of the data source runs.
    pub async fn request_scan(&self, source: &str, scope: catalog::Scan, id: &str) -> Result<Option<String>> {
        let request = catalog::RequestScanRequest {
            data_source: format!("dataSources/{source}"),
            scan: Some(scope),
            request_id: id.to_owned(),
        };
        match self.planning.clone().request_scan(request).await.map_err(PeerError::of(CATALOG)) {
            Ok(answer) => Ok(Some(answer.into_inner().scan.unwrap_or_default().name)),
            Err(refused) if refused.error.reason == ErrorReason::ScanRunning => Ok(None),
            Err(refused) => Err(refused.into()),
        }
    }

    /// A scan, by its resource name.
    pub async fn scan(&self, name: &str) -> Result<catalog::Scan> {
        let request = catalog::GetScanRequest { name: name.to_owned() };
        let answer = self.scans.clone().get_scan(request).await.map_err(PeerError::of(CATALOG))?.into_inner();
        Ok(answer.scan.unwrap_or_default())
    }

    /// Acquires or renews a use of a data source. Returns its configuration without secrets.
    pub async fn acquire(&self, source: &str, holder: &str) -> Result<registry::AcquireUseResponse> {
        let request =
            registry::AcquireUseRequest { data_source: format!("dataSources/{source}"), holder: holder.to_owned() };
        Ok(self.sessions.clone().acquire_use(request).await.map_err(PeerError::of(REGISTRY))?.into_inner())
    }

    /// Releases a use of a data source.
    pub async fn release(&self, source: &str, holder: &str) -> Result<()> {
        let request =
            registry::ReleaseUseRequest { data_source: format!("dataSources/{source}"), holder: holder.to_owned() };
        self.sessions.clone().release_use(request).await.map_err(PeerError::of(REGISTRY))?;
        Ok(())
    }
}

/// The stream of one PinTable call.
pub struct Pinned {
    stream: Streaming<catalog::PinTableResponse>,
}

impl Pinned {
    /// The next part; None at the end of the stream.
    pub async fn next(&mut self) -> Result<Option<catalog::pin_table_response::Part>> {
        let message = self.stream.message().await.map_err(PeerError::of(CATALOG))?;
        Ok(message.and_then(|message| message.part))
    }
}
