//! The sandbox's workspace and project, with credentials that stay the same as long as their folder exists.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use mms_proto::registry::v1::databricks_source::WorkspaceAuth;
use mms_proto::registry::v1::max_compute_config::Account;
use mms_proto::registry::v1::storage_access::Access;
use mms_proto::registry::v1::{
    AccessKey, AccessToken, CharacterMapping, CreateDataSourceRequest, DataSource, DatabricksSource, LocalFiles,
    MaxComputeConfig, MigrationSettings, StorageAccess,
};
use mms_sandbox::project::{Project, ProjectConfig};
use mms_sandbox::samples::SampleTable;
use mms_sandbox::workspace::{Client, Vending, Workspace, WorkspaceConfig};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::private;

const CATALOG: &str = "main";
const PROJECT: &str = "mms_sandbox";
/// How long tokens of the workspace's OAuth client are valid, as at a real workspace.
pub const TOKEN_LIFE: Duration = Duration::from_secs(3600);

/// Generated credentials of a sandbox, stored in its folder with mode 0600.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    pub project: String,
    /// Id of the project's access key.
    pub access_id: String,
    /// Secret of the project's access key.
    pub access_key: String,
    /// The workspace's personal access token.
    pub token: String,
    /// Id of the workspace's OAuth client; empty in files of versions that had none.
    #[serde(default)]
    pub client_id: String,
    #[serde(default)]
    pub client_secret: String,
}

impl Credentials {
    /// Reads the credentials of a folder, or creates what is missing.
    fn of(dir: &Path) -> anyhow::Result<Self> {
        let file = dir.join("credentials.json");
        private::ensure(&file, || serde_json::json!(Self::fresh()).to_string())?;
        let text = std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        // The parser's message is dropped, since it could contain a secret.
        let mut found: Self =
            serde_json::from_str(&text).ok().with_context(|| format!("{} is damaged", file.display()))?;
        if found.client_secret.is_empty() {
            let Self { client_id, client_secret, .. } = Self::fresh();
            (found.client_id, found.client_secret) = (client_id, client_secret);
            private::write(&file, &serde_json::json!(found).to_string())?;
        }
        Ok(found)
    }

    fn fresh() -> Self {
        Self {
            project: PROJECT.into(),
            access_id: format!("sandbox{}", &private::random()[..16]),
            access_key: private::random()[..32].into(),
            token: format!("dapi{}", &private::random()[..32]),
            client_id: uuid::Uuid::new_v4().to_string(),
            client_secret: format!("dose{}", &private::random()[..32]),
        }
    }
}

/// What is served, and on which ports.
#[derive(Debug)]
pub struct EndsConfig {
    pub delta_root: PathBuf,
    /// Folder for the project's data and the credentials.
    pub dir: PathBuf,
    /// Port of the workspace; 0 picks a free one.
    pub workspace_port: u16,
    /// Port of the project; 0 picks a free one.
    pub project_port: u16,
    /// A file with the security token of the project's access key, which is also accepted as a bearer token.
    pub token_file: Option<PathBuf>,
    /// Names of further projects of the same account.
    pub other_projects: Vec<String>,
    /// The only quota of the projects; `None` requires no quota.
    pub quota: Option<String>,
    /// How long tokens of the OAuth client are valid.
    pub token_life: Duration,
    /// The storage account for which the workspace vends credentials.
    pub vending: Option<Vending>,
}

impl EndsConfig {
    /// One project on free ports, with a permanent access key, without quota and without vended credentials.
    pub fn new(delta_root: PathBuf, dir: PathBuf) -> Self {
        Self {
            delta_root,
            dir,
            workspace_port: 0,
            project_port: 0,
            token_file: None,
            other_projects: Vec::new(),
            quota: None,
            token_life: TOKEN_LIFE,
            vending: None,
        }
    }
}

/// The running workspace and project.
pub struct Ends {
    workspace: Workspace,
    project: Project,
    /// The credentials that they accept.
    pub credentials: Credentials,
}

impl Ends {
    /// Starts the workspace and the project. Both accept connections when this returns.
    pub async fn start(config: EndsConfig) -> anyhow::Result<Self> {
        let credentials = Credentials::of(&config.dir)?;
        let at = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let workspace = Workspace::start(WorkspaceConfig {
            client: Some(Client {
                id: credentials.client_id.clone(),
                secret: SecretString::from(credentials.client_secret.clone()),
                token_life: config.token_life,
            }),
            vending: config.vending,
            bind: at(config.workspace_port),
            ..WorkspaceConfig::new(config.delta_root, CATALOG, credentials.token.clone())
        })
        .await?;
        let project = Project::start(ProjectConfig {
            token_file: config.token_file,
            bind: at(config.project_port),
            others: config.other_projects,
            quota: config.quota,
            ..ProjectConfig::new(
                config.dir.join("project"),
                credentials.project.clone(),
                credentials.access_id.clone(),
                credentials.access_key.clone(),
            )
        })
        .await?;
        Ok(Self { workspace, project, credentials })
    }

    /// Sets whether upload sessions outlive the table they were created for.
    pub fn let_sessions_outlive_tables(&self, outlive: bool) {
        self.project.let_sessions_outlive_tables(outlive);
    }

    pub fn workspace_url(&self) -> String {
        self.workspace.url()
    }

    /// The HTTP path of the workspace's cluster, for SQL clients.
    pub fn http_path(&self) -> String {
        self.workspace.http_path()
    }

    pub fn catalog(&self) -> &str {
        self.workspace.catalog()
    }

    pub fn endpoint(&self) -> &str {
        self.project.endpoint()
    }

    /// A request for a data source that connects to this workspace and this project.
    pub fn source(&self, id: &str, delta_root: &Path) -> CreateDataSourceRequest {
        let keys = &self.credentials;
        // Characters that names at the target cannot have become "_", and a table name that does not start with a
        // letter gets "t_" in front. Partition values are not mapped: a table with a value that the target does not
        // accept is blocked, and the finding names the value.
        let mapping =
            |prefix: &str| CharacterMapping { other: "_".into(), prefix: prefix.into(), ..Default::default() };
        let files = LocalFiles { root: delta_root.display().to_string() };
        let databricks = DatabricksSource {
            workspace_url: self.workspace_url(),
            catalog: self.catalog().to_owned(),
            cluster_id: mms_sandbox::workspace::CLUSTER_ID.into(),
            workspace_auth: Some(WorkspaceAuth::AccessToken(AccessToken {
                token: keys.token.clone(),
                ..Default::default()
            })),
            storage: vec![StorageAccess { access: Some(Access::LocalFiles(files)), ..Default::default() }],
            ..Default::default()
        };
        let max_compute = MaxComputeConfig {
            endpoint: self.endpoint().to_owned(),
            account: Some(Account::AccessKey(AccessKey {
                access_key_id: keys.access_id.clone(),
                access_key_secret: keys.access_key.clone(),
                ..Default::default()
            })),
            default_project: keys.project.clone(),
            ..Default::default()
        };
        let settings = MigrationSettings {
            table_names: Some(mapping("t_")),
            column_names: Some(mapping("")),
            ..Default::default()
        };
        CreateDataSourceRequest {
            data_source_id: id.into(),
            data_source: Some(DataSource {
                source: Some(databricks.into()),
                max_compute: Some(max_compute),
                settings: Some(settings),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    pub fn project_port(&self) -> u16 {
        self.project.address().port()
    }

    /// Stops both, after a grace period for open requests.
    pub async fn stop(self) {
        self.workspace.shutdown().await;
        self.project.shutdown().await;
    }
}

/// Writes the tables of TPC-H into a folder, unless they were completely written before.
pub async fn sample_tables(root: &Path, scale: f64) -> anyhow::Result<Vec<SampleTable>> {
    // The marker file is written last, so that an interrupted run is not taken for a complete one.
    let (root, done) = (root.to_owned(), root.with_extension("complete"));
    if done.exists() {
        return Ok(Vec::new());
    }
    tokio::task::spawn_blocking(move || {
        if root.exists() {
            std::fs::remove_dir_all(&root).with_context(|| format!("clearing {}", root.display()))?;
        }
        std::fs::create_dir_all(&root).with_context(|| format!("making {}", root.display()))?;
        let tables = mms_sandbox::samples::tpch(&root, scale, jiff::Timestamp::now().as_millisecond())?;
        std::fs::write(&done, []).with_context(|| format!("writing {}", done.display()))?;
        Ok(tables)
    })
    .await?
}
