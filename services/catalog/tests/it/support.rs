//! A registry, a catalog and both far ends, all in this process, over a folder of Delta tables that a test writes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use mms_proto::catalog::v1 as pb;
use mms_proto::catalog::v1::catalog_service_client::CatalogServiceClient;
use mms_proto::catalog::v1::planning_service_client::PlanningServiceClient;
use mms_proto::catalog::v1::scan_service_client::ScanServiceClient;
use mms_proto::registry::v1 as registry;
use mms_proto::registry::v1::data_source_service_client::DataSourceServiceClient;
use mms_proto::types::v1::View;
use mms_sandbox::project::{Project, ProjectConfig};
use mms_sandbox::samples::{DeltaWriter, TableSpec};
use mms_sandbox::workspace::{Workspace, WorkspaceConfig};
use mms_server::{BoundServer, CancellationToken, Client, ClientConfig, FrameConfig, ServiceConfig, SuiteToken};
use tempfile::TempDir;
use tokio::task::JoinHandle;

pub const SOURCE: &str = "dataSources/lake";
const SERVICE_TOKEN: &str = "a-service-token-of-tests-only";
const WORKSPACE_TOKEN: &str = "dapi-tests";
const WRITTEN_MS: i64 = 1_700_000_000_000;

/// A served process that can be stopped.
pub struct Process {
    stop: CancellationToken,
    task: Option<JoinHandle<()>>,
    pub client: Client,
}

impl Process {
    async fn start<C, F, Fut>(folder: &Path, config: C, start: F) -> Self
    where
        C: ServiceConfig,
        F: FnOnce(mms_server::Context<C>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<mms_server::Services, mms_server::BoxError>> + Send,
    {
        let frame = FrameConfig {
            listen: "127.0.0.1:0".parse().unwrap(),
            data_dir: folder.join(C::SERVICE),
            service_token_file: Some(folder.join("service.token")),
            shutdown_grace_seconds: 5,
            ..FrameConfig::of::<C>()
        };
        let server = BoundServer::bind(C::SERVICE, frame).await.unwrap();
        let endpoint = ClientConfig::to(format!("http://{}", server.local_addr()));
        let client = Client::new(&endpoint, Some(&SuiteToken::new(SERVICE_TOKEN))).unwrap();
        let stop = CancellationToken::new();
        let token = stop.clone();
        let task = tokio::spawn(async move { Box::pin(server.serve(config, token, start)).await.unwrap() });
        Self { stop, task: Some(task), client }
    }

    pub async fn stop(&mut self) {
        self.stop.cancel();
        if let Some(task) = self.task.take() {
            task.await.unwrap();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub struct Stand {
    pub folder: TempDir,
    delta: PathBuf,
    pub registry: Process,
    pub catalog: Process,
    workspace: Workspace,
    project: Project,
}

fn secret_file(path: &Path, text: &str) {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

impl Stand {
    /// Everything but the data source.
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("delta")).unwrap();
        let delta = folder.path().join("delta");
        Self::over(folder, delta).await
    }

    /// Everything but the data source, over tables that are there already.
    pub async fn over(folder: TempDir, delta: PathBuf) -> Self {
        let root = folder.path().to_owned();
        secret_file(&root.join("service.token"), SERVICE_TOKEN);
        mms_registry::ensure_key_file(&root.join("key")).unwrap();
        let workspace = Workspace::start(WorkspaceConfig {
            page_size: 2,
            ..WorkspaceConfig::new(delta.clone(), "main", WORKSPACE_TOKEN)
        })
        .await
        .unwrap();
        let project =
            Project::start(ProjectConfig::new(root.join("project"), "target_project", "id", "key")).await.unwrap();
        let config = mms_registry::Config {
            encryption_key_file: Some(root.join("key")),
            allow_local_files: true,
            allow_loopback: true,
            ..mms_registry::Config::default()
        };
        let registry = Process::start(&root, config, mms_registry::start).await;
        let catalog = Self::catalog_process(&root, &registry).await;
        Self { folder, delta, registry, catalog, workspace, project }
    }

    async fn catalog_process(root: &Path, registry: &Process) -> Process {
        let config = mms_catalog::Config {
            registry: ClientConfig::to(registry.client.endpoint()),
            allow_loopback: true,
            ..mms_catalog::Config::default()
        };
        Process::start(root, config, mms_catalog::start).await
    }

    /// The catalog stopped and started again over its data.
    pub async fn restart_catalog(&mut self) {
        self.catalog.stop().await;
        self.catalog = Self::catalog_process(self.folder.path(), &self.registry).await;
    }

    /// The folder that the workspace serves.
    pub fn delta_root(&self) -> PathBuf {
        self.delta.clone()
    }

    pub fn sources(&self) -> DataSourceServiceClient<AsPerson> {
        DataSourceServiceClient::new(AsPerson::of(&self.registry))
    }

    pub fn scans(&self) -> ScanServiceClient<AsPerson> {
        ScanServiceClient::new(AsPerson::of(&self.catalog))
    }

    pub fn browse(&self) -> CatalogServiceClient<AsPerson> {
        CatalogServiceClient::new(AsPerson::of(&self.catalog))
    }

    pub fn planning(&self) -> PlanningServiceClient<Client> {
        PlanningServiceClient::new(self.catalog.client.clone())
    }

    /// A data source over both far ends, not started.
    pub async fn create_source(&self, settings: registry::MigrationSettings) {
        self.create_source_at(&self.workspace.url(), settings).await;
    }

    /// Where the workspace is.
    pub fn workspace_url(&self) -> String {
        self.workspace.url()
    }

    /// Where the target project is.
    pub fn project_endpoint(&self) -> &str {
        self.project.endpoint()
    }

    /// A data source whose workspace is reached at this address, not started.
    pub async fn create_source_at(&self, workspace_url: &str, settings: registry::MigrationSettings) {
        use registry::databricks_source::WorkspaceAuth;
        use registry::storage_access::Access;
        let root = self.delta_root().to_string_lossy().into_owned();
        let databricks = registry::DatabricksSource {
            workspace_url: workspace_url.to_owned(),
            catalog: "main".to_owned(),
            workspace_auth: Some(WorkspaceAuth::AccessToken(registry::AccessToken {
                token: WORKSPACE_TOKEN.to_owned(),
                is_set: false,
            })),
            storage: vec![registry::StorageAccess {
                location_prefix: String::new(),
                access: Some(Access::LocalFiles(registry::LocalFiles { root })),
            }],
            ..registry::DatabricksSource::default()
        };
        let max_compute = registry::MaxComputeConfig {
            endpoint: self.project.endpoint().to_owned(),
            account: Some(registry::max_compute_config::Account::AccessKey(registry::AccessKey {
                access_key_id: "id".to_owned(),
                access_key_secret: "key".to_owned(),
                ..registry::AccessKey::default()
            })),
            default_project: "target_project".to_owned(),
            ..registry::MaxComputeConfig::default()
        };
        let request = registry::CreateDataSourceRequest {
            data_source_id: "lake".to_owned(),
            data_source: Some(registry::DataSource {
                source: Some(databricks.into()),
                max_compute: Some(max_compute),
                settings: Some(settings),
                ..registry::DataSource::default()
            }),
            ..registry::CreateDataSourceRequest::default()
        };
        self.sources().create_data_source(request).await.unwrap();
    }

    /// The uid of the data source.
    pub async fn source_uid(&self) -> String {
        let request = registry::GetDataSourceRequest { name: SOURCE.to_owned() };
        self.sources().get_data_source(request).await.unwrap().into_inner().data_source.unwrap().uid
    }

    pub async fn start_source(&self) {
        let request = registry::StartDataSourceRequest { name: SOURCE.to_owned(), ..Default::default() };
        self.sources().start_data_source(request).await.unwrap();
        for _ in 0..200 {
            let request = registry::GetDataSourceRequest { name: SOURCE.to_owned() };
            let source = self.sources().get_data_source(request).await.unwrap().into_inner().data_source.unwrap();
            match source.state() {
                registry::DataSourceState::Started => return,
                registry::DataSourceState::Starting => tokio::time::sleep(Duration::from_millis(50)).await,
                other => panic!("{other:?}: {}", source.state_message),
            }
        }
        panic!("the data source did not start in time");
    }

    /// A started data source with the demo's character mappings.
    pub async fn with_source() -> Self {
        let stand = Self::start().await;
        stand.create_source(demo_settings()).await;
        stand.start_source().await;
        stand
    }

    /// Scans everything, or the scope, and returns the scan as it ended.
    pub async fn scan(&self, scope: pb::Scan) -> pb::Scan {
        let request = pb::CreateScanRequest { parent: SOURCE.to_owned(), scan: Some(scope), ..Default::default() };
        let scan = self.scans().create_scan(request).await.unwrap().into_inner().scan.unwrap();
        self.ended(&scan.name).await
    }

    /// The scan once it has ended.
    pub async fn ended(&self, name: &str) -> pb::Scan {
        let request = pb::WatchScanRequest { name: name.to_owned(), position: String::new() };
        let mut watch = self.scans().watch_scan(request).await.unwrap().into_inner();
        let mut last = None;
        let all = async {
            while let Some(answer) = watch.message().await.unwrap() {
                last = answer.scan;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), all).await.unwrap();
        last.unwrap()
    }

    pub async fn table(&self, schema: &str, table: &str) -> pb::Table {
        let name = format!("{SOURCE}/schemas/{schema}/tables/{table}");
        let answer = self.browse().get_table(pb::GetTableRequest { name, view: View::Full as i32 }).await.unwrap();
        answer.into_inner().table.unwrap()
    }

    /// The names of all tables that are there, page by page.
    pub async fn table_names(&self) -> Vec<String> {
        let (mut names, mut page_token) = (Vec::new(), String::new());
        loop {
            let parent = format!("{SOURCE}/schemas/-");
            let request = pb::ListTablesRequest { parent, page_size: 2, page_token, ..Default::default() };
            let page = self.browse().list_tables(request).await.unwrap().into_inner();
            names.extend(page.tables.into_iter().map(|table| format!("{}.{}", table.source_schema, table.source_name)));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return names;
            }
        }
    }

    /// What PinTable sends: the plan, and all files.
    pub async fn pin(&self, request: pb::PinTableRequest) -> (pb::PinnedTable, Vec<pb::UnitFiles>) {
        use pb::pin_table_response::Part;
        let mut stream = self.planning().pin_table(request).await.unwrap().into_inner();
        let first = stream.message().await.unwrap().unwrap().part;
        let Some(Part::Table(table)) = first else { panic!("{first:?}") };
        let mut files = Vec::new();
        while let Some(answer) = stream.message().await.unwrap() {
            match answer.part {
                Some(Part::Files(part)) => files.push(part),
                Some(Part::End(end)) => {
                    let sent: Vec<_> = files.iter().flat_map(|part: &pb::UnitFiles| &part.files).collect();
                    assert_eq!(end.file_count, sent.len() as i64);
                    assert_eq!(end.size_bytes, sent.iter().map(|file| file.size_bytes).sum::<i64>());
                    assert!(stream.message().await.unwrap().is_none(), "the end comes last");
                    return (table, files);
                }
                other => panic!("{other:?}"),
            }
        }
        panic!("the stream ended without its end");
    }

    pub async fn pin_table(&self, schema: &str, table: &str) -> (pb::PinnedTable, Vec<pb::UnitFiles>) {
        let name = format!("{SOURCE}/schemas/{schema}/tables/{table}");
        self.pin(pb::PinTableRequest { name, ..Default::default() }).await
    }
}

/// A client without the suite's token: on loopback it has role ADMIN.
pub type AsPerson = Client;

trait Anonymous {
    fn of(process: &Process) -> Client;
}

impl Anonymous for Client {
    fn of(process: &Process) -> Client {
        Client::new(&ClientConfig::to(process.client.endpoint()), None).unwrap()
    }
}

pub fn demo_settings() -> registry::MigrationSettings {
    let mapping = |prefix: &str| registry::CharacterMapping {
        other: "_".to_owned(),
        prefix: prefix.to_owned(),
        ..registry::CharacterMapping::default()
    };
    registry::MigrationSettings {
        table_names: Some(mapping("t_")),
        column_names: Some(mapping("")),
        ..registry::MigrationSettings::default()
    }
}

/// A table of `id` and `p`, partitioned by `p` if asked.
pub fn create_table(root: &Path, schema: &str, table: &str, partitioned: bool) -> DeltaWriter {
    let columns =
        Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, true), Field::new("p", DataType::Utf8, true)]));
    let mut spec = TableSpec::new(columns, WRITTEN_MS);
    if partitioned {
        spec.partition_columns = vec!["p".to_owned()];
    }
    DeltaWriter::create(&root.join(schema).join(table), spec).unwrap()
}

/// Adds one row for each value of `p`.
pub fn append(table: &mut DeltaWriter, values: &[Option<&str>]) -> u64 {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..values.len() as i64));
    let texts: ArrayRef = Arc::new(StringArray::from(values.to_vec()));
    let batch = RecordBatch::try_from_iter_with_nullable([("id", ids, true), ("p", texts, true)]).unwrap();
    table.append([Ok::<_, arrow::error::ArrowError>(batch)]).unwrap()
}
