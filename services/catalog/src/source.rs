//! The clients of one data source, as this service needs them: the workspace for metadata, the storage for Delta logs, and the
//! target project for what is there already. Created from a session of the registry. Holds secrets and must never show them.

mod sessions;

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mms_databricks::{TableInfo, Workspace};
use mms_delta::{DeltaTable, Snapshot};
use mms_ends::{Storage, Storages, Vending};
use mms_http::retry::RetryPolicy;
use mms_http::{HttpClient, Traffic};
use mms_maxcompute::Project;
use mms_maxcompute::metadata::{PartitionInfo, TableInfo as TargetInfo};
use mms_maxcompute::name::ProjectName;
use mms_maxcompute::table::TableRef;
use mms_proto::registry::v1 as pb;
use mms_proto::types::v1::ReadPath;
use mms_server::Client;
use mms_storage::{StorageCredential, StorageLocation, StorageSettings};
use parking_lot::Mutex;

pub use sessions::Sources;

use crate::error::{CatalogError, Result};
use crate::key;

/// How long calls to the source or the target are retried while a caller waits for a plan. The scheduler retries the plan anyway.
const PLAN_WAIT: Duration = Duration::from_secs(10);

/// The clients of one data source.
pub struct Source {
    id: String,
    /// The uid of the data source, which distinguishes it from earlier ones of the same id.
    pub uid: String,
    /// The name of the Unity Catalog catalog.
    pub catalog: String,
    /// How the rows of its tables are to be read.
    pub read_path: ReadPath,
    /// The migration settings of the data source.
    pub settings: pb::MigrationSettings,
    /// The target projects, without the account.
    pub target: pb::MaxComputeConfig,
    /// The workspace client for scans.
    pub workspace: Workspace,
    /// The workspace client for plans, which retries for `PLAN_WAIT` only.
    pub prompt: Workspace,
    /// How files are read, by location.
    storage: Storages,
    /// Where credentials for single tables are vended.
    vending: Vending,
    http: HttpClient,
    project: Result<Project, String>,
    /// Whether a project has schemas, by its name, as the project itself reported.
    schemas: Mutex<HashMap<String, bool>>,
}

impl Source {
    /// Creates the clients of a session. Sends nothing yet.
    pub fn of(id: &str, session: pb::Session, registry: Client, traffic: &Traffic) -> Result<Self> {
        let unusable = |what: String| CatalogError::Unusable { data_source: key::source_name(id), what };
        let vending = Vending::new(registry, &session);
        let source = session.data_source.unwrap_or_default();
        let databricks = source.databricks().cloned().unwrap_or_default();
        let http = mms_ends::connection(session.network_connection.as_ref())
            .and_then(|connection| HttpClient::new(&connection))
            .map_err(|error| unusable(error.to_string()))?
            .counted_in(traffic);
        let target = source.max_compute.unwrap_or_default();
        let workspace = mms_ends::workspace(&databricks, &http).map_err(|error| unusable(error.to_string()))?;
        let project = project(&target, &http);
        // The account is needed to create the client only: drop its secret.
        let target = pb::MaxComputeConfig { account: None, ..target };
        Ok(Self {
            id: id.to_owned(),
            uid: source.uid,
            catalog: databricks.catalog.clone(),
            read_path: match databricks.read_path() {
                ReadPath::Unspecified => ReadPath::Storage,
                path => path,
            },
            settings: source.settings.unwrap_or_default(),
            target,
            prompt: workspace.clone().with_policy(RetryPolicy { total: PLAN_WAIT, ..RetryPolicy::default() }),
            workspace,
            storage: mms_ends::storage(&databricks).map_err(|error| unusable(error.to_string()))?,
            vending,
            http,
            project,
            schemas: Mutex::default(),
        })
    }

    /// Whether the data source has an access to the storage of a table; the error says why not.
    pub fn can_read(&self, info: &TableInfo) -> std::result::Result<(), String> {
        let location = self.location(info).map_err(|error| error.to_string())?;
        match self.storage.of(&location) {
            Some(_) => Ok(()),
            None => Err(format!("no storage access of the data source is for {location}")),
        }
    }

    fn location(&self, info: &TableInfo) -> Result<StorageLocation> {
        let text = info.storage_location.as_deref().unwrap_or_default();
        if text.is_empty() {
            return Err(self.unusable("the workspace names no location of this table: the token may only browse it"));
        }
        StorageLocation::parse(text, self.storage.local_files()).map_err(|error| self.unusable(error))
    }

    fn unusable(&self, what: impl fmt::Display) -> CatalogError {
        CatalogError::Unusable { data_source: key::source_name(&self.id), what: what.to_string() }
    }

    /// Opens a table at `version`, or at its newest version.
    pub async fn open(&self, info: &TableInfo, version: Option<u64>) -> Result<Snapshot> {
        let location = self.location(info)?;
        let credential = self.credential(info, &location).await?;
        let settings = StorageSettings::new(self.http.clone());
        let store = mms_storage::open(&location, &credential, &settings).map_err(|error| self.unusable(error))?;
        Ok(DeltaTable::open(store, &location.url(), version).await?)
    }

    async fn credential(&self, info: &TableInfo, location: &StorageLocation) -> Result<StorageCredential> {
        match self.storage.of(location) {
            None => Err(self.unusable(format!("no storage access of it is for {location}"))),
            Some(Storage::With(credential)) => Ok(credential.clone()),
            Some(Storage::Local(root)) => {
                self.below(root, location).await?;
                Ok(StorageCredential::None)
            }
            Some(Storage::Vended) => {
                let name = key::table_name(&(self.id.clone(), info.schema_name.clone(), info.name.clone()))?;
                let vended = self.vending.table(&name.to_string()).await.map_err(CatalogError::Vending)?;
                Ok(vended.credential)
            }
        }
    }

    /// Resolves symbolic links before comparing, so that a table cannot lead out of the folder.
    async fn below(&self, root: &Path, location: &StorageLocation) -> Result<()> {
        let StorageLocation::Local(folder) = location else {
            return Err(self.unusable(format!("{location} is not a local folder, and only local files may be read")));
        };
        let real = |path: PathBuf| async move {
            tokio::fs::canonicalize(&path).await.map_err(|error| self.unusable(format!("{}: {error}", path.display())))
        };
        if real(folder.clone()).await?.starts_with(real(root.to_owned()).await?) {
            Ok(())
        } else {
            Err(self.unusable(format!("{} does not lie under {}", folder.display(), root.display())))
        }
    }

    fn client(&self) -> Result<&Project> {
        self.project.as_ref().map_err(|why| self.unusable(why))
    }

    /// The table or view that exists under the target's name; None when the name is free.
    pub async fn target(&self, place: &TableRef) -> Result<Option<TargetInfo>> {
        Ok(self.client()?.table(place).await?)
    }

    /// The partitions of a target table; empty when it has no partition columns.
    pub async fn target_partitions(&self, table: &TargetInfo) -> Result<Vec<PartitionInfo>> {
        if table.partition_columns.is_empty() {
            return Ok(Vec::new());
        }
        Ok(self.client()?.partitions(&table.target).await?)
    }

    /// Whether a project has schemas: as configured, else as the project reports, which is asked once a session.
    pub async fn has_schemas(&self, project: &str) -> Result<bool> {
        match self.target.namespace_model() {
            pb::NamespaceModel::ThreeTier => return Ok(true),
            pb::NamespaceModel::TwoTier => return Ok(false),
            pb::NamespaceModel::Auto | pb::NamespaceModel::Unspecified => {}
        }
        if let Some(known) = self.schemas.lock().get(project) {
            return Ok(*known);
        }
        let client = self.client()?;
        let name = ProjectName::new(project).map_err(|error| self.unusable(error))?;
        let info = client.info_of(&name).await?;
        let has = info.has_schemas();
        self.schemas.lock().insert(project.to_owned(), has);
        Ok(has)
    }
}

fn project(config: &pb::MaxComputeConfig, http: &HttpClient) -> Result<Project, String> {
    let mut settings = mms_ends::project(config).map_err(|error| error.to_string())?;
    settings.retry.total = PLAN_WAIT;
    Project::new(http.clone(), settings).map_err(|error| error.to_string())
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("id", &self.id).field("catalog", &self.catalog).finish_non_exhaustive()
    }
}
