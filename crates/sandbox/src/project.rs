//! A MaxCompute project on loopback: REST, SQL instances for DDL and counts, the table tunnel and the Storage API. It
//! checks signatures, checksums, names and limits as the service does. Rows and definitions are kept in one directory.
//!
//! It must never accept a request that the service would reject, and never share wire code with our client.

mod auth;
mod catalog;
mod disk;
mod error;
mod instance;
mod partition;
mod request;
mod rest;
mod routes;
mod schema;
mod server;
mod sql;
mod state;
mod storage;
mod table;
mod tunnel;
mod type_text;
mod wire;

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::serve::ListenerExt;
use http::Request;
use jiff::Timestamp;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use error::ProjectError;

/// How long open requests may take to finish at shutdown.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);

/// How long to wait until the previous user of the directory releases its lock.
const LOCK_WAIT: Duration = Duration::from_millis(500);

/// How a project is served: its directory, its account and its address.
#[derive(Debug, Clone)]
pub struct ProjectConfig {
    /// The directory of its data, created if absent.
    pub dir: PathBuf,
    /// The project's name. It is written to the directory at the first start and cannot change later.
    pub name: String,
    /// The one account that may call it.
    pub access_id: String,
    /// That account's secret.
    pub access_key: SecretString,
    /// A file with the current security token, read at each request. If given, the access key is a temporary one whose
    /// requests must carry this token; a request that carries it as a bearer token needs no signature.
    pub token_file: Option<PathBuf>,
    /// Where to listen; port 0 picks a free one.
    pub bind: SocketAddr,
    /// The region that V4 signatures must name. `None` accepts any region.
    pub region: Option<String>,
    /// Names of further projects of the same account, each stored in its own folder below `dir`.
    pub others: Vec<String>,
    /// The only quota that statements and sessions may name, and then must name. `None` requires no quota.
    pub quota: Option<String>,
}

impl ProjectConfig {
    /// A project on a free port of this machine that one permanent access key may call, from whatever region.
    pub fn new(
        dir: impl Into<PathBuf>,
        name: impl Into<String>,
        access_id: impl Into<String>,
        access_key: impl Into<SecretString>,
    ) -> Self {
        Self {
            dir: dir.into(),
            name: name.into(),
            access_id: access_id.into(),
            access_key: access_key.into(),
            token_file: None,
            bind: SocketAddr::from(([127, 0, 0, 1], 0)),
            region: None,
            others: Vec::new(),
            quota: None,
        }
    }
}

/// The format version of the files in a directory. A `project.json` that names no format has this one.
const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Identity {
    name: String,
    created: i64,
    #[serde(default)]
    format: Option<u32>,
}

/// A running project. Dropping it stops serving at once and cuts the requests in progress; the data stays on disk.
pub struct Project {
    state: Arc<state::State>,
    others: Vec<Arc<state::State>>,
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Project {
    /// Opens the directory and serves it.
    ///
    /// # Errors
    /// The name is not legal or not that of the directory, another process serves it, a file of it is damaged, or the
    /// address cannot be bound.
    pub async fn start(config: ProjectConfig) -> Result<Self, ProjectError> {
        let bind = config.bind;
        let listener = TcpListener::bind(bind).await.map_err(disk::io_error(format!("listening on {bind}")))?;
        let address = listener.local_addr().map_err(disk::io_error(format!("listening on {bind}")))?;
        // Without TCP_NODELAY, each small answer after another would wait some 40 ms for a full packet.
        let listener = listener.tap_io(|stream| {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "TCP_NODELAY could not be set");
            }
        });
        let (state, others) =
            tokio::task::spawn_blocking(move || open_all(&config, address)).await.map_err(|error| {
                ProjectError::Io { doing: "opening the project".to_owned(), source: std::io::Error::other(error) }
            })??;
        let (stop, stopped) = oneshot::channel::<()>();
        let shared = Arc::clone(&state);
        let router = Router::new().fallback(move |request: Request<Body>| server::serve(Arc::clone(&shared), request));
        let task = tokio::spawn(async move {
            let serving = axum::serve(listener, router).with_graceful_shutdown(async {
                // A dropped sender means the same as a message: stop serving.
                stopped.await.unwrap_or_default();
            });
            if let Err(error) = serving.await {
                tracing::error!(%error, "the sandbox project stopped serving");
            }
        });
        Ok(Self { state, others, address, stop: Some(stop), task })
    }

    /// The service endpoint, `http://127.0.0.1:PORT/api`.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.state.endpoint
    }

    /// Lets upload sessions outlive the table they were created for, and publish into the next table of that name. The
    /// service documents no behaviour for this case, so a client must lose nothing either way.
    pub fn let_sessions_outlive_tables(&self, outlive: bool) {
        for state in std::iter::once(&self.state).chain(&self.others) {
            state.catalog.let_sessions_outlive_tables(outlive);
        }
    }

    /// The address it listens on, with the port that was picked.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The project's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.state.name
    }

    /// Stops serving. Open requests may finish for up to 5 seconds, then their connections are cut.
    pub async fn shutdown(mut self) {
        if let Some(stop) = self.stop.take() {
            stop.send(()).unwrap_or_default();
        }
        if tokio::time::timeout(SHUTDOWN_GRACE, &mut self.task).await.is_err() {
            self.state.stop.cancel();
            tracing::warn!("open connections were cut at shutdown: their requests took longer than the grace period");
        }
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        self.state.stop.cancel();
        self.task.abort();
    }
}

/// Locks the directory. A project that was dropped a moment ago may still be sending its last answer, so this waits
/// briefly.
fn lock(dir: &Path) -> Result<File, ProjectError> {
    let file = File::create(dir.join("lock")).map_err(disk::io_error(format!("locking {}", dir.display())))?;
    let begun = Instant::now();
    while file.try_lock().is_err() {
        if begun.elapsed() > LOCK_WAIT {
            return Err(ProjectError::Locked { dir: dir.display().to_string() });
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(file)
}

type Opened = (Arc<state::State>, Vec<Arc<state::State>>);

/// Opens the project and the further ones, and tells each of them about all.
fn open_all(config: &ProjectConfig, address: SocketAddr) -> Result<Opened, ProjectError> {
    let state = Arc::new(open(config, &config.name, config.dir.clone(), address)?);
    let beside = |name: &String| open(config, name, config.dir.join("beside").join(name), address).map(Arc::new);
    let others = config.others.iter().map(beside).collect::<Result<Vec<_>, _>>()?;
    for one in std::iter::once(&state).chain(&others) {
        one.family.get_or_init(|| std::iter::once(&state).chain(&others).map(Arc::downgrade).collect());
    }
    Ok((state, others))
}

fn open(config: &ProjectConfig, name: &str, dir: PathBuf, address: SocketAddr) -> Result<state::State, ProjectError> {
    let io = |doing: &str| disk::io_error(format!("{doing} {}", dir.display()));
    if !schema::is_table_name(name) {
        return Err(ProjectError::Name(name.to_owned()));
    }
    fs::create_dir_all(&dir).map_err(io("making"))?;
    let lock = lock(&dir)?;
    let started = Timestamp::now();
    let now = started.as_second();
    let path = dir.join("project.json");
    if !path.exists() {
        let identity = Identity { name: name.to_owned(), created: now, format: Some(FORMAT) };
        disk::write_json(&path, &identity).map_err(io("writing"))?;
    }
    let identity: Identity = disk::read_json(&path)?;
    let found = identity.format.unwrap_or(FORMAT);
    if found != FORMAT {
        return Err(ProjectError::Format { dir: dir.display().to_string(), found, known: FORMAT });
    }
    if identity.name != name {
        let dir = dir.display().to_string();
        return Err(ProjectError::OtherProject { dir, found: identity.name, wanted: name.to_owned() });
    }
    let uploads = tunnel::uploads::Uploads::open(dir.join("sessions"), now)?;
    let catalog = catalog::Catalog::open(&dir, &uploads.files_in_use(now), now)?;
    uploads.reconcile(&catalog).map_err(|error| ProjectError::Io {
        doing: "settling commits that were cut short".to_owned(),
        source: std::io::Error::other(error.message),
    })?;
    Ok(state::State {
        lock,
        stop: CancellationToken::new(),
        name: identity.name,
        created: identity.created,
        endpoint: format!("http://{address}/api"),
        host: address.to_string(),
        account: auth::Account {
            access_id: config.access_id.clone(),
            access_key: config.access_key.clone(),
            token_file: config.token_file.clone(),
            region: config.region.clone(),
        },
        catalog,
        instances: instance::Instances::open(dir.join("instances"), started)?,
        uploads,
        downloads: tunnel::download::Downloads::default(),
        reads: storage::Reads::default(),
        quota: config.quota.clone(),
        family: OnceLock::new(),
    })
}
