//! The two services this one calls: the catalog for plans, the registry for uses. Owns how their failures are read;
//! decides nothing.

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

/// Clients of the other services.
#[derive(Clone)]
pub struct Peers {
    catalog: CatalogServiceClient<Client>,
    planning: PlanningServiceClient<Client>,
    scans: ScanServiceClient<Client>,
    sessions: SessionServiceClient<Client>,
}

const CATALOG: &str = "catalog";
const REGISTRY: &str = "registry";
/// Largest message taken from the catalog: a plan with its findings, or 1,000 files.
const MESSAGE_MAX: usize = 32 << 20;

/// What the catalog did wrong.
pub fn broken(text: &str) -> SchedulerError {
    PeerError::new(CATALOG, ApiError::internal(text)).into()
}

impl SchedulerError {
    /// Whether the same call may succeed later without anybody doing anything.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Peer(peer) if peer.error.is_transient())
    }

    /// Whether the registry refuses a use because the source was stopped or deleted.
    pub fn is_source_stopped(&self) -> bool {
        matches!(self, Self::Peer(PeerError { service: REGISTRY, error })
            if matches!(error.reason, ErrorReason::SourceNotStarted | ErrorReason::NotFound))
    }

    /// Whether the other service refuses what is said, whoever says it and whenever.
    pub fn is_refused_for_good(&self) -> bool {
        let for_good =
            |code| matches!(code, Code::InvalidArgument | Code::NotFound | Code::FailedPrecondition | Code::OutOfRange);
        matches!(self, Self::Peer(peer) if for_good(peer.error.code))
    }
}

impl Peers {
    /// Clients over two channels.
    pub fn new(catalog: Client, registry: Client) -> Self {
        Self {
            catalog: CatalogServiceClient::new(catalog.clone()).max_decoding_message_size(MESSAGE_MAX),
            scans: ScanServiceClient::new(catalog.clone()),
            planning: PlanningServiceClient::new(catalog).max_decoding_message_size(MESSAGE_MAX),
            sessions: SessionServiceClient::new(registry),
        }
    }

    /// One page of all tables of a data source.
    pub async fn tables(&self, source: &str, page_token: String) -> Result<catalog::ListTablesResponse> {
        let request = catalog::ListTablesRequest {
            parent: format!("dataSources/{source}/schemas/-"),
            page_size: 500,
            page_token,
            ..catalog::ListTablesRequest::default()
        };
        Ok(self.catalog.clone().list_tables(request).await.map_err(PeerError::of(CATALOG))?.into_inner())
    }

    /// One table.
    pub async fn table(&self, name: &str) -> Result<catalog::Table> {
        let request = catalog::GetTableRequest { name: name.to_owned(), ..catalog::GetTableRequest::default() };
        let answer = self.catalog.clone().get_table(request).await.map_err(PeerError::of(CATALOG))?.into_inner();
        Ok(answer.table.unwrap_or_default())
    }

    /// Pins and plans a table.
    pub async fn pin(&self, request: catalog::PinTableRequest) -> Result<Pinned> {
        let stream = self.planning.clone().pin_table(request).await.map_err(PeerError::of(CATALOG))?.into_inner();
        Ok(Pinned { stream })
    }

    /// Tells the catalog what became of tables.
    pub async fn report(&self, reports: Vec<catalog::MigrationReport>) -> Result<()> {
        let request = catalog::ReportMigrationRequest { reports };
        self.planning.clone().report_migration(request).await.map_err(PeerError::of(CATALOG))?;
        Ok(())
    }

    /// Has the catalog scan a scope; its name. None: another scan of the source runs.
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

    /// A scan as it stands.
    pub async fn scan(&self, name: &str) -> Result<catalog::Scan> {
        let request = catalog::GetScanRequest { name: name.to_owned() };
        let answer = self.scans.clone().get_scan(request).await.map_err(PeerError::of(CATALOG))?.into_inner();
        Ok(answer.scan.unwrap_or_default())
    }

    /// Takes or prolongs a use of a data source; answers with its configuration, without secrets.
    pub async fn acquire(&self, source: &str, holder: &str) -> Result<registry::AcquireUseResponse> {
        let request =
            registry::AcquireUseRequest { data_source: format!("dataSources/{source}"), holder: holder.to_owned() };
        Ok(self.sessions.clone().acquire_use(request).await.map_err(PeerError::of(REGISTRY))?.into_inner())
    }

    /// Gives a use back.
    pub async fn release(&self, source: &str, holder: &str) -> Result<()> {
        let request =
            registry::ReleaseUseRequest { data_source: format!("dataSources/{source}"), holder: holder.to_owned() };
        self.sessions.clone().release_use(request).await.map_err(PeerError::of(REGISTRY))?;
        Ok(())
    }
}

/// The messages of one PinTable call.
pub struct Pinned {
    stream: Streaming<catalog::PinTableResponse>,
}

impl Pinned {
    /// The next part; None at the end.
    pub async fn next(&mut self) -> Result<Option<catalog::pin_table_response::Part>> {
        let message = self.stream.message().await.map_err(PeerError::of(CATALOG))?;
        Ok(message.and_then(|message| message.part))
    }
}
