//! The two far ends of a data source, as this process reaches them: built from a session of the registry, kept while the
//! session lives, and built anew when the registry says that the configuration has changed.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mms_ends::{Storage, Storages};
use mms_http::{HttpClient, Traffic};
use mms_maxcompute::project::{Project, ProjectConfig};
use mms_proto::registry::v1 as registry;
use mms_storage::{LocalFiles, ObjectStore, StorageCredential, StorageLocation, StorageSettings};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::error::{Result, TransferError};
use crate::peers::Peers;
use crate::schemas::Schemas;

/// What a task needs to connect.
pub struct Ends {
    http: HttpClient,
    project: ProjectConfig,
    /// By tunnel quota: each knows where its tunnel is.
    projects: parking_lot::Mutex<HashMap<String, Project>>,
    schemas: Arc<Schemas>,
    storages: Storages,
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
    fn new(session: &registry::Session, traffic: &Traffic) -> Result<Self> {
        let source = session.data_source.clone().unwrap_or_default();
        let databricks = source.databricks().cloned().unwrap_or_default();
        let target = source.max_compute.unwrap_or_default();
        let http = HttpClient::new(&mms_ends::connection(session.network_connection.as_ref())?)?.counted_in(traffic);
        let mut project = mms_ends::project(&target).map_err(|error| TransferError::Plan(error.to_string()))?;
        // What fails longer than this is reported, so that the scheduler sees it and another worker can try.
        project.retry.total = Duration::from_secs(300);
        let storages = mms_ends::storage(&databricks).map_err(|error| TransferError::Plan(error.to_string()))?;
        Ok(Self { http, project, projects: parking_lot::Mutex::default(), schemas: Arc::default(), storages })
    }

    /// Schemas that were seen at the target.
    pub fn schemas(&self) -> &Arc<Schemas> {
        &self.schemas
    }

    /// The project that statements run in, with the tunnel quota of a task.
    pub fn project(&self, tunnel_quota: &str) -> Result<Project> {
        let mut projects = self.projects.lock();
        if let Some(known) = projects.get(tunnel_quota) {
            return Ok(known.clone());
        }
        let mut config = self.project.clone();
        if !tunnel_quota.is_empty() {
            config.tunnel_quota = Some(tunnel_quota.to_owned());
        }
        let project = Project::new(self.http.clone(), config)?;
        projects.insert(tunnel_quota.to_owned(), project.clone());
        Ok(project)
    }

    /// The store that a table lies in.
    pub fn store(&self, location: &str, allow_local: bool) -> Result<Arc<dyn ObjectStore>> {
        let local = if allow_local { self.storages.local_files() } else { LocalFiles::Refused };
        let location = StorageLocation::parse(location, local)?;
        let credential = match self.storages.of(&location) {
            Some(Storage::With(credential)) => credential.clone(),
            Some(Storage::Local(root)) => {
                let StorageLocation::Local(path) = &location else {
                    return Err(TransferError::Plan(format!(
                        "{location} is no folder, and only local files may be read"
                    )));
                };
                if !lies_below(path, root)? {
                    let text = format!("{} does not lie below {}", path.display(), root.display());
                    return Err(TransferError::Plan(text));
                }
                StorageCredential::None
            }
            Some(Storage::Vended) => return Err(plan("storage", "vended credentials are not read yet")),
            None => return Err(plan("storage", format!("no access of the data source is for {location}"))),
        };
        Ok(mms_storage::open(&location, &credential, &StorageSettings::new(self.http.clone()))?)
    }
}

/// Whether a path leads to a place below a folder, links followed: one below it may lead anywhere.
fn lies_below(path: &Path, root: &Path) -> Result<bool> {
    let real = |path: &Path| path.canonicalize().map_err(|error| plan(&path.display().to_string(), error));
    Ok(real(path)?.starts_with(real(root)?))
}

struct Open {
    ends: Arc<Ends>,
    token: String,
    etag: String,
    renew: Instant,
    expires: Instant,
}

/// A data source's session, if one is open. Held while the registry is asked, so that one session serves all tasks.
type Place = Arc<Mutex<Option<Open>>>;

/// The open sessions of this process, one a data source.
pub struct Sessions {
    peers: Peers,
    holder: String,
    traffic: Traffic,
    places: parking_lot::Mutex<HashMap<String, Place>>,
}

impl Sessions {
    /// None open yet; `holder` is this worker's name.
    pub fn new(peers: Peers, holder: String) -> Self {
        Self { peers, holder, traffic: Traffic::default(), places: parking_lot::Mutex::default() }
    }

    /// What goes to far ends through them.
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// The far ends of a data source. Opens a session if there is none, and prolongs the one there is when half its time
    /// is over; a registry that is away does not hurt as long as the session lasts.
    pub async fn ends(&self, source: &str) -> Result<Arc<Ends>> {
        let place = self.place(source);
        let mut open = place.lock().await;
        if let Some(known) = open.as_mut()
            && self.keep(known).await
        {
            return Ok(known.ends.clone());
        }
        let session = self.peers.open_session(source, &self.holder).await?;
        let ends = Arc::new(Ends::new(&session, &self.traffic)?);
        let term = term(session.expire_after);
        let etag = session.data_source.map(|source| source.etag).unwrap_or_default();
        let now = Instant::now();
        *open = Some(Open {
            ends: ends.clone(),
            token: session.session_token,
            etag,
            renew: now + term / 2,
            expires: now + term,
        });
        Ok(ends)
    }

    /// Forgets the session of a data source: a far end refused what came with it, and the registry may have better by now.
    pub async fn forget(&self, source: &str) {
        *self.place(source).lock().await = None;
    }

    fn place(&self, source: &str) -> Place {
        self.places.lock().entry(source.to_owned()).or_default().clone()
    }

    async fn keep(&self, known: &mut Open) -> bool {
        let now = Instant::now();
        if now < known.renew {
            return true;
        }
        match self.peers.renew_session(&known.token, &known.etag).await {
            Ok(renewed) if renewed.changed => false,
            Ok(renewed) => {
                let term = term(renewed.expire_after);
                (known.renew, known.expires) = (now + term / 2, now + term);
                true
            }
            Err(TransferError::Peer(peer)) if peer.error.code == tonic::Code::NotFound => false,
            Err(error) => {
                tracing::warn!(%error, "the session could not be prolonged");
                now < known.expires
            }
        }
    }
}

fn term(given: Option<prost_types::Duration>) -> Duration {
    given.and_then(|given| Duration::try_from(given).ok()).unwrap_or(Duration::from_secs(60))
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
