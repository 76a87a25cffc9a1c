//! Clients of a data source's two ends, the source's storage and the target's project, built from a session of the registry.
//! A client whose credential was refused or is about to expire is opened again with the present session's credentials.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::future::BoxFuture;
use mms_databricks::{HttpPath, Workspace};
use mms_ends::{Storage, Storages, Terms, Vending};
use mms_http::{HttpClient, Traffic};
use mms_maxcompute::account::{RenewAccount, Renewed};
use mms_maxcompute::project::{Project, ProjectConfig};
use mms_proto::registry::v1 as registry;
use mms_proto::registry::v1::SessionPurpose;
use mms_proto::types::v1::ReadPath;
use mms_server::Client;
use mms_server::peer::FOR_EVER;
use mms_storage::{LiveStore, LocalFiles, ObjectStore, Reopen, StorageCredential, StorageLocation, StorageSettings};
use tokio::time::Instant;

use crate::error::{Result, TransferError};
use crate::schemas::Schemas;

/// How long the configuration of a data source may still be used after it was changed.
const FRESH: Duration = Duration::from_secs(20);
/// Pause after a vended credential could not be renewed, as long as the present one lasts.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// The clients of one data source's source and target.
pub struct Ends {
    http: HttpClient,
    project: ProjectConfig,
    /// By tunnel quota; each project remembers the address of its tunnel.
    projects: parking_lot::Mutex<HashMap<String, Project>>,
    schemas: Arc<Schemas>,
    storages: Storages,
    /// Vends credentials for single tables.
    vending: Vending,
    /// None if the data source is not read by SQL.
    sql: Option<Sql>,
}

/// Where statements of a data source run.
#[derive(Debug, Clone)]
pub struct Sql {
    /// The workspace of the data source.
    pub workspace: Workspace,
    /// The path of the cluster or warehouse on the workspace.
    pub path: HttpPath,
    /// The name of the catalog that the data source reads.
    pub catalog: String,
}

/// A table and the location of its files.
#[derive(Debug, Clone)]
pub struct Place {
    /// Name of its data source.
    pub source: String,
    pub table: String,
    /// URL of the folder of its files.
    pub location: String,
    /// Whether the location may be a folder of this machine.
    pub allow_local: bool,
}

/// A table's files, readable for as long as that takes.
pub struct Reading {
    pub store: Arc<dyn ObjectStore>,
    /// Kind of the credential that they are read with, for the log.
    pub credential: &'static str,
    /// How often the store was opened again with a newer credential.
    pub renewed: Arc<AtomicU32>,
}

/// An open store, the kind of its credential, and when it has to be opened with another one.
struct Open {
    store: Arc<dyn ObjectStore>,
    credential: &'static str,
    renew: Option<Instant>,
}

impl std::fmt::Debug for Ends {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ends").field("project", &self.project.project).finish_non_exhaustive()
    }
}

fn plan(what: &str, error: impl std::fmt::Display) -> TransferError {
    TransferError::Plan(format!("{what}: {error}"))
}

impl Ends {
    fn new(session: registry::Session, registry: Client, traffic: &Traffic) -> Result<Self> {
        let vending = Vending::new(registry, &session);
        let source = session.data_source.unwrap_or_default();
        let databricks = source.databricks().cloned().unwrap_or_default();
        let target = source.max_compute.unwrap_or_default();
        let http = HttpClient::new(&mms_ends::connection(session.network_connection.as_ref())?)?.counted_in(traffic);
        let mut project = mms_ends::project(&target).map_err(|error| TransferError::Plan(error.to_string()))?;
        // A longer failure is reported, so that the scheduler sees it and another worker can try.
        project.retry.total = Duration::from_secs(300);
        let storages = mms_ends::storage(&databricks).map_err(|error| TransferError::Plan(error.to_string()))?;
        let sql = match databricks.read_path() {
            ReadPath::Jdbc => {
                let (workspace, path) =
                    mms_ends::sql(&databricks, &http).map_err(|error| TransferError::Plan(error.to_string()))?;
                Some(Sql { workspace, path, catalog: databricks.catalog.clone() })
            }
            ReadPath::Storage | ReadPath::Unspecified => None,
        };
        let (projects, schemas) = (parking_lot::Mutex::default(), Arc::default());
        Ok(Self { http, project, projects, schemas, storages, vending, sql })
    }

    /// The schemas that were seen at the target.
    pub fn schemas(&self) -> &Arc<Schemas> {
        &self.schemas
    }

    /// Where the source's statements run; None unless it is read by SQL.
    pub fn sql(&self) -> Option<&Sql> {
        self.sql.as_ref()
    }

    /// The project that statements run in, with a task's tunnel quota. One client per quota is kept, and it renews its
    /// account by `renew` of the call that created it.
    fn project(&self, tunnel_quota: &str, renew: Arc<dyn RenewAccount>) -> Result<Project> {
        let mut projects = self.projects.lock();
        if let Some(known) = projects.get(tunnel_quota) {
            return Ok(known.clone());
        }
        let mut config = self.project.clone();
        if !tunnel_quota.is_empty() {
            config.tunnel_quota = Some(tunnel_quota.to_owned());
        }
        let project = Project::with_renewal(self.http.clone(), config, Some(renew))?;
        projects.insert(tunnel_quota.to_owned(), project.clone());
        Ok(project)
    }

    /// Opens the store of a table with the credential of this session, or with one that is vended for the table.
    async fn open(&self, place: &Place) -> Result<Open> {
        let local = if place.allow_local { self.storages.local_files() } else { LocalFiles::Refused };
        let location = StorageLocation::parse(&place.location, local)?;
        let mut renew = None;
        let credential = match self.storages.of(&location) {
            Some(Storage::With(credential)) => credential.clone(),
            Some(Storage::Local(root)) => {
                let StorageLocation::Local(path) = &location else {
                    return Err(TransferError::Plan(format!(
                        "{location} is not a local folder, and the storage access covers local files only"
                    )));
                };
                if !lies_below(path, root)? {
                    let text = format!("{} does not lie below {}", path.display(), root.display());
                    return Err(TransferError::Plan(text));
                }
                StorageCredential::None
            }
            Some(Storage::Vended) => {
                let vended = self.vending.table(&place.table).await?;
                renew = Some(vended.renew);
                vended.credential
            }
            None => return Err(plan("storage", format!("no storage access of the data source covers {location}"))),
        };
        let store = mms_storage::open(&location, &credential, &StorageSettings::new(self.http.clone()))?;
        Ok(Open { store, credential: credential.kind(), renew })
    }
}

/// Whether a path lies below a folder once links are resolved: a link below the folder may lead anywhere.
fn lies_below(path: &Path, root: &Path) -> Result<bool> {
    let real = |path: &Path| path.canonicalize().map_err(|error| plan(&path.display().to_string(), error));
    Ok(real(path)?.starts_with(real(root)?))
}

/// The open registry sessions of this process, one per data source.
pub struct Sessions {
    sessions: mms_ends::Sessions<Ends>,
    registry: Client,
    traffic: Traffic,
}

impl Sessions {
    /// No session is open yet; `holder` is this worker's name. A registry that does not answer is waited for as long as the
    /// lease lives.
    pub fn new(registry: Client, holder: String) -> Self {
        let purposes = vec![SessionPurpose::ReadRows, SessionPurpose::WriteRows];
        let terms = Terms { holder, purposes, fresh: FRESH, patience: FOR_EVER };
        let sessions = mms_ends::Sessions::new(registry.clone(), terms);
        Self { sessions, registry, traffic: Traffic::default() }
    }

    /// Counts the traffic with all sources and targets.
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// The clients of a data source; opens a session if there is none.
    pub async fn ends(&self, source: &str) -> Result<Arc<Ends>> {
        self.sessions.get(source, |session| Ends::new(session, self.registry.clone(), &self.traffic)).await
    }

    /// The project that the statements of a data source run in, for as long as they take: an expired account is renewed from
    /// the registry.
    pub fn project(self: &Arc<Self>, source: &str, ends: &Arc<Ends>, tunnel_quota: &str) -> Result<Project> {
        let renew =
            Account { sessions: Arc::downgrade(self), source: source.to_owned(), ends: Arc::downgrade(ends).into() };
        ends.project(tunnel_quota, Arc::new(renew))
    }

    /// A table's files, for as long as reading takes: a credential that was rotated meanwhile is replaced, and a vended one
    /// is renewed before it expires.
    pub async fn read(self: &Arc<Self>, ends: &Arc<Ends>, place: Place) -> Result<Reading> {
        let Open { store, credential, renew } = ends.open(&place).await?;
        let renewed = Arc::new(AtomicU32::new(0));
        let opened = Opened {
            sessions: Arc::clone(self),
            place,
            now: parking_lot::Mutex::new((Arc::clone(ends), renew)),
            renewed: Arc::clone(&renewed),
        };
        Ok(Reading { store: Arc::new(LiveStore::new(store, opened)), credential, renewed })
    }

    /// Closes the session of a data source whose credentials were refused; the next call opens a new one.
    pub async fn forget(&self, source: &str, refused: &Arc<Ends>) {
        self.sessions.forget(source, refused).await;
    }

    /// Closes sessions that nobody uses, until it is dropped.
    pub async fn keep_house(&self) {
        self.sessions.keep_house().await;
    }

    /// Closes all sessions.
    pub async fn close_all(&self) {
        self.sessions.close_all().await;
    }
}

/// A store that was opened through a session, and can be opened again.
struct Opened {
    sessions: Arc<Sessions>,
    place: Place,
    /// The clients that it was opened with, and when it has to be opened with another credential.
    now: parking_lot::Mutex<(Arc<Ends>, Option<Instant>)>,
    renewed: Arc<AtomicU32>,
}

impl Reopen for Opened {
    fn reopened(&self, refused: bool) -> BoxFuture<'_, Option<Arc<dyn ObjectStore>>> {
        Box::pin(async move {
            let source = &self.place.source;
            let (before, renew) = self.now.lock().clone();
            if refused {
                self.sessions.forget(source, &before).await;
            }
            let told = |error: &TransferError| tracing::warn!(%error, source, "no newer credential; reading on with the present one");
            let ends = self.sessions.ends(source).await.inspect_err(told).ok()?;
            if Arc::ptr_eq(&ends, &before) && renew.is_none_or(|due| Instant::now() < due) {
                return None;
            }
            match ends.open(&self.place).await.inspect_err(told) {
                Ok(open) => {
                    *self.now.lock() = (ends, open.renew);
                    self.renewed.fetch_add(1, Ordering::Relaxed);
                    Some(open.store)
                }
                Err(_) => {
                    self.now.lock().1 = renew.map(|_| Instant::now() + ASK_AGAIN);
                    None
                }
            }
        })
    }
}

/// The account of a data source, taken from its present session. Holds only weak references: the sessions and the clients
/// hold it.
struct Account {
    sessions: Weak<Sessions>,
    source: String,
    ends: parking_lot::Mutex<Weak<Ends>>,
}

impl RenewAccount for Account {
    fn renewed(&self) -> Renewed<'_> {
        Box::pin(async move {
            let sessions = self.sessions.upgrade()?;
            let refused = self.ends.lock().upgrade();
            if let Some(refused) = refused {
                sessions.forget(&self.source, &refused).await;
            }
            let told = |error| tracing::warn!(%error, source = self.source, "the account could not be renewed");
            let now = sessions.ends(&self.source).await.map_err(told).ok()?;
            *self.ends.lock() = Arc::downgrade(&now);
            Some(now.project.account.clone())
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn a_link_does_not_lead_out_of_the_folder() {
        let (inside, outside) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        std::fs::create_dir(inside.path().join("t")).expect("made");
        std::os::unix::fs::symlink(outside.path(), inside.path().join("link")).expect("made");
        let below = |path: PathBuf| lies_below(&path, inside.path());
        assert!(below(inside.path().join("t")).expect("there"));
        assert!(!below(inside.path().join("link")).expect("there"));
        assert!(!below(inside.path().join("t/../..")).expect("there"));
        assert!(below(inside.path().join("none")).is_err());
    }
}
