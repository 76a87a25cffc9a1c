//! Both far ends of the sandbox, with credentials that stay the same as long as their folder does.

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
/// How long tokens of the workspace's OAuth client last, as the real one's.
pub const TOKEN_LIFE: Duration = Duration::from_secs(3600);

/// Throw-away credentials of a sandbox, kept in its folder with mode 0600.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    /// Name of the project.
    pub project: String,
    /// Id of the one access key.
    pub access_id: String,
    /// Its secret.
    pub access_key: String,
    /// The workspace's token.
    pub token: String,
    /// Id of its OAuth client.
    #[serde(default)]
    pub client_id: String,
    /// The client's secret.
    #[serde(default)]
    pub client_secret: String,
}

impl Credentials {
    /// Those of a folder; what it does not have is made.
    fn of(dir: &Path) -> anyhow::Result<Self> {
        let file = dir.join("credentials.json");
        private::ensure(&file, || serde_json::json!(Self::fresh()).to_string())?;
        let text = std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        // The parser's own text could repeat a secret.
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

/// What is served, and where.
#[derive(Debug)]
pub struct EndsConfig {
    /// Folder of Delta tables.
    pub delta_root: PathBuf,
    /// Folder of the project's data and of the credentials.
    pub dir: PathBuf,
    /// Port of the workspace; 0 picks a free one.
    pub workspace_port: u16,
    /// Port of the project; 0 picks a free one.
    pub project_port: u16,
    /// A file with the token that the project's access key needs, or its bearer shows.
    pub token_file: Option<PathBuf>,
    /// Further projects beside the project.
    pub other_projects: Vec<String>,
    /// The one quota of the projects.
    pub quota: Option<String>,
    /// How long tokens of the OAuth client last.
    pub token_life: Duration,
    /// What the workspace vends credentials for.
    pub vending: Option<Vending>,
}

impl EndsConfig {
    /// One project on free ports, for a lasting key and whatever quota; nothing is vended.
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

/// Both far ends, accepting connections.
pub struct Ends {
    workspace: Workspace,
    project: Project,
    /// What they take.
    pub credentials: Credentials,
}

impl Ends {
    /// Starts both.
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

    /// Whether upload sessions outlive the table that they were made for.
    pub fn let_sessions_outlive_tables(&self, outlive: bool) {
        self.project.let_sessions_outlive_tables(outlive);
    }

    /// The workspace's URL.
    pub fn workspace_url(&self) -> String {
        self.workspace.url()
    }

    /// The path of the workspace's cluster, for clients of SQL.
    pub fn http_path(&self) -> String {
        self.workspace.http_path()
    }

    /// The workspace's catalog.
    pub fn catalog(&self) -> &str {
        self.workspace.catalog()
    }

    /// The project's endpoint.
    pub fn endpoint(&self) -> &str {
        self.project.endpoint()
    }

    /// The data source that leads here, over these tables.
    pub fn source(&self, id: &str, delta_root: &Path) -> CreateDataSourceRequest {
        let keys = &self.credentials;
        // Whatever names at the target cannot have becomes "_"; a table starts with a letter. Values are left as they are: a
        // table with a partition value that the target does not take is refused, with that value.
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

    /// The project's port.
    pub fn project_port(&self) -> u16 {
        self.project.address().port()
    }

    /// Ends open requests and stops both.
    pub async fn stop(self) {
        self.workspace.shutdown().await;
        self.project.shutdown().await;
    }
}

/// Writes the tables of TPC-H below a folder, unless they are there.
pub async fn sample_tables(root: &Path, scale: f64) -> anyhow::Result<Vec<SampleTable>> {
    // Only a folder that was written to its end is taken for one.
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
