//! A registry on loopback, and both far ends. What is stored lies in a folder of the test's own.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use mms_proto::registry::v1 as pb;
use mms_registry::Config;
use mms_sandbox::project::{Project, ProjectConfig};
use mms_sandbox::workspace::{Client as OAuthClient, Vending, Workspace, WorkspaceConfig};
use mms_server::{BoundServer, CancellationToken, Client, ClientConfig, FrameConfig, SuiteToken};
use pb::data_source_service_client::DataSourceServiceClient;
use pb::network_connection_service_client::NetworkConnectionServiceClient;
use pb::session_service_client::SessionServiceClient;
use secrecy::SecretString;
use tempfile::TempDir;
use tokio::task::JoinHandle;

pub const TOKEN: &str = "dapi-canary-0000-workspace-token";
/// The OAuth client of the workspace.
pub const CLIENT: &str = "00000000-1111-2222-3333-444444444444";
pub const CLIENT_SECRET: &str = "dose-canary-2222-client-secret";
/// The storage account that the workspace vends for.
pub const STORAGE_ACCOUNT: &str = "lakeaccount";
pub const KEY: &str = "canary-1111-access-key-secret";
const SERVICE_TOKEN: &str = "service-token-of-the-tests";

pub struct Registry {
    pub address: SocketAddr,
    stop: CancellationToken,
    task: Option<JoinHandle<()>>,
}

pub fn config(dir: &Path) -> Config {
    let key = dir.join("main.key");
    mms_registry::ensure_key_file(&key).unwrap();
    Config {
        encryption_key_file: Some(key),
        secret_file_roots: vec![std::env::temp_dir()],
        secret_variable_prefixes: vec!["MMS_TEST_".into()],
        allow_local_files: true,
        allow_loopback: true,
        ..Config::default()
    }
}

impl Registry {
    pub async fn open(dir: &Path) -> Self {
        Self::with(dir, config(dir)).await
    }

    pub async fn with(dir: &Path, config: Config) -> Self {
        let token = dir.join("service.token");
        write_private(&token, SERVICE_TOKEN);
        let frame = FrameConfig {
            data_dir: dir.join("data"),
            service_token_file: Some(token),
            tokens_file: Some(dir.join("tokens.toml")).filter(|tokens| tokens.exists()),
            shutdown_grace_seconds: 5,
            ..FrameConfig::default()
        };
        // A registry that was just stopped may hold its folder for a moment longer.
        for _ in 0..100 {
            let server = BoundServer::bind("registry", frame.clone()).await.unwrap();
            let (address, stop) = (server.local_addr(), CancellationToken::new());
            let (config, stopped) = (config.clone(), stop.clone());
            let task = tokio::spawn(async move {
                Box::pin(server.serve(config, stopped, mms_registry::start)).await.unwrap();
            });
            let registry = Self { address, stop, task: Some(task) };
            let asked = registry.sources().list_config_items(pb::ListConfigItemsRequest::default()).await;
            if asked.is_ok() || asked.is_err_and(|refused| refused.code() == tonic::Code::Unauthenticated) {
                return registry;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the registry does not start");
    }

    pub async fn shut(mut self) {
        self.stop.cancel();
        self.task.take().unwrap().await.unwrap();
    }

    fn client(&self, token: Option<SuiteToken>) -> Client {
        Client::new(&ClientConfig::to(format!("http://{}", self.address)), token.as_ref()).unwrap()
    }

    pub fn sources(&self) -> DataSourceServiceClient<Client> {
        DataSourceServiceClient::new(self.client(None))
    }

    /// As whom this token belongs to.
    pub fn sources_as(&self, token: &str) -> DataSourceServiceClient<Client> {
        DataSourceServiceClient::new(self.client(Some(SuiteToken::new(token))))
    }

    pub fn networks(&self) -> NetworkConnectionServiceClient<Client> {
        NetworkConnectionServiceClient::new(self.client(None))
    }

    /// As whom this token belongs to.
    pub fn networks_as(&self, token: &str) -> NetworkConnectionServiceClient<Client> {
        NetworkConnectionServiceClient::new(self.client(Some(SuiteToken::new(token))))
    }

    /// As a service of the suite.
    pub fn sessions(&self) -> SessionServiceClient<Client> {
        SessionServiceClient::new(self.client(Some(SuiteToken::new(SERVICE_TOKEN))))
    }

    /// As a person.
    pub fn sessions_of_people(&self) -> SessionServiceClient<Client> {
        SessionServiceClient::new(self.client(None))
    }

    pub async fn create(&self, id: &str, source: pb::DataSource) -> pb::DataSource {
        let request = pb::CreateDataSourceRequest {
            data_source_id: id.into(),
            data_source: Some(source),
            ..pb::CreateDataSourceRequest::default()
        };
        self.sources().create_data_source(request).await.unwrap().into_inner().data_source.unwrap()
    }

    pub async fn get(&self, id: &str) -> pb::DataSource {
        let request = pb::GetDataSourceRequest { name: format!("dataSources/{id}") };
        self.sources().get_data_source(request).await.unwrap().into_inner().data_source.unwrap()
    }

    pub async fn start(&self, id: &str) -> Result<pb::DataSource, tonic::Status> {
        let request = pb::StartDataSourceRequest { name: format!("dataSources/{id}"), ..Default::default() };
        Ok(self.sources().start_data_source(request).await?.into_inner().data_source.unwrap())
    }

    /// Asks until the data source is in this state.
    pub async fn until(&self, id: &str, state: pb::DataSourceState) -> pb::DataSource {
        for _ in 0..200 {
            let source = self.get(id).await;
            if source.state() == state {
                return source;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{id} does not become {state:?}: {:?}", self.get(id).await.state());
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub fn write_private(file: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(file, text).unwrap();
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// Both far ends.
pub struct Ends {
    pub workspace: Workspace,
    pub project: Project,
    pub dir: TempDir,
}

impl Ends {
    pub async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("tables");
        std::fs::create_dir_all(root.join("sales")).unwrap();
        let workspace = Workspace::start(WorkspaceConfig {
            client: Some(OAuthClient {
                id: CLIENT.into(),
                secret: SecretString::from(CLIENT_SECRET),
                token_life: Duration::from_secs(3600),
            }),
            vending: Some(Vending {
                account: STORAGE_ACCOUNT.into(),
                key: "a2V5LW9mLXRoZS1hY2NvdW50".into(),
                life: Duration::from_secs(3600),
                denied_schemas: vec!["closed".into()],
            }),
            page_size: 50,
            ..WorkspaceConfig::new(root, "main", TOKEN)
        })
        .await
        .unwrap();
        let project =
            Project::start(ProjectConfig::new(dir.path().join("project"), "lake", "key-id", KEY)).await.unwrap();
        Self { workspace, project, dir }
    }

    pub fn source(&self) -> pb::DataSource {
        let mut source = source();
        let databricks = source.databricks_mut().unwrap();
        databricks.workspace_url = self.workspace.url();
        databricks.storage = local(self.dir.path().join("tables").to_str().unwrap());
        source.max_compute.as_mut().unwrap().endpoint = self.project.endpoint().to_owned();
        source
    }
}

pub fn local(root: &str) -> Vec<pb::StorageAccess> {
    let access = pb::storage_access::Access::LocalFiles(pb::LocalFiles { root: root.into() });
    vec![pb::StorageAccess { location_prefix: String::new(), access: Some(access) }]
}

/// A session for all that there is.
pub fn open_session(holder: &str) -> pb::OpenSessionRequest {
    pb::OpenSessionRequest {
        data_source: "dataSources/lake".into(),
        holder: holder.into(),
        purposes: vec![pb::SessionPurpose::Metadata as i32],
    }
}

pub fn client(id: &str, secret: &str) -> Option<pb::databricks_source::WorkspaceAuth> {
    let client = pb::ClientCredentials { client_id: id.into(), client_secret: secret.into(), is_set: false };
    Some(pb::databricks_source::WorkspaceAuth::ClientCredentials(client))
}

pub fn token(token: &str) -> Option<pb::databricks_source::WorkspaceAuth> {
    let token = pb::AccessToken { token: token.into(), is_set: false };
    Some(pb::databricks_source::WorkspaceAuth::AccessToken(token))
}

pub fn access_key(secret: &str) -> Option<pb::max_compute_config::Account> {
    Some(pb::max_compute_config::Account::AccessKey(pb::AccessKey {
        access_key_id: "key-id".into(),
        access_key_secret: secret.into(),
        ..pb::AccessKey::default()
    }))
}

/// A data source that is valid offline.
pub fn source() -> pb::DataSource {
    pb::DataSource {
        source: Some(pb::data_source::Source::Databricks(pb::DatabricksSource {
            workspace_url: "https://adb-1.2.azuredatabricks.net".into(),
            catalog: "main".into(),
            workspace_auth: token(TOKEN),
            storage: local("/"),
            ..pb::DatabricksSource::default()
        })),
        max_compute: Some(pb::MaxComputeConfig {
            endpoint: "https://service.cn-shanghai.maxcompute.aliyun.com/api".into(),
            account: access_key(KEY),
            default_project: "lake".into(),
            ..pb::MaxComputeConfig::default()
        }),
        ..pb::DataSource::default()
    }
}

pub fn update(id: &str, source: pb::DataSource, paths: &[&str]) -> pb::UpdateDataSourceRequest {
    pb::UpdateDataSourceRequest {
        name: format!("dataSources/{id}"),
        data_source: Some(source),
        update_mask: Some(prost_types::FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() }),
        validate_only: false,
    }
}

/// The reason and the fields of a refusal.
pub fn refusal(status: &tonic::Status) -> (mms_proto::ErrorReason, Vec<String>) {
    let error = mms_proto::ApiError::from_status(status);
    (error.reason, error.violations.into_iter().map(|violation| violation.field).collect())
}
