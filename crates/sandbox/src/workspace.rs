//! A Databricks workspace on loopback: Unity Catalog's REST over a folder of Delta tables
//! `<root>/<schema>/<table>/_delta_log`, one running cluster and one SQL warehouse ([`sql`]), and OAuth's token endpoint. It
//! checks bearer tokens, and pages lists as the real workspace does: with empty pages, opaque tokens and no order.
//!
//! It must never write into the folder, never share wire code with our client, and never let one broken table fail a
//! list.

mod answer;
mod auth;
mod columns;
mod compute;
mod delta_log;
mod folder;
mod ids;
mod oauth;
mod objects;
mod paging;
mod rights;
mod routes;
pub mod sql;
mod tables;
mod vending;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub use oauth::Client;
pub use vending::Vending;

/// Objects on a page if the caller does not give a size.
pub const DEFAULT_PAGE_SIZE: usize = 50;
/// The workspace's one cluster, which is always running.
pub const CLUSTER_ID: &str = "0101-000000-sandbox1";
/// The workspace's one SQL warehouse, which is always running.
pub const WAREHOUSE_ID: &str = "5a4db0c5a4db0c00";
/// The user that the access token belongs to.
pub const USER_NAME: &str = "sandbox@example.com";
/// How long open requests may take to finish at shutdown.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);

/// What a workspace serves, and where.
#[derive(Debug, Clone)]
pub struct WorkspaceConfig {
    /// The folder of schemas. Schemas and tables may be added while it is served.
    pub delta_root: PathBuf,
    /// The name of its only catalog.
    pub catalog: String,
    /// The personal access token that callers must send.
    pub token: SecretString,
    /// The OAuth client that may sign in as well.
    pub client: Option<Client>,
    /// The storage account for which credentials are vended. `None` switches external access off.
    pub vending: Option<Vending>,
    /// Where to listen; port 0 picks a free one.
    pub bind: SocketAddr,
    /// Objects on a page if the caller does not give a size. The real workspace has [`DEFAULT_PAGE_SIZE`].
    pub page_size: usize,
}

impl WorkspaceConfig {
    /// A workspace on a free port of this machine, whose only way in is the token, and which vends no credentials.
    pub fn new(delta_root: impl Into<PathBuf>, catalog: impl Into<String>, token: impl Into<SecretString>) -> Self {
        Self {
            delta_root: delta_root.into(),
            catalog: catalog.into(),
            token: token.into(),
            client: None,
            vending: None,
            bind: SocketAddr::from(([127, 0, 0, 1], 0)),
            page_size: DEFAULT_PAGE_SIZE,
        }
    }
}

/// Why a workspace could not be started.
#[derive(Debug, thiserror::Error)]
pub enum WorkspaceError {
    /// The folder cannot be read.
    #[error(
        "{dir} cannot be read as a folder of Delta tables: {source}; give the folder that holds <schema>/<table>/_delta_log"
    )]
    Folder {
        /// The folder.
        dir: String,
        /// The cause.
        source: std::io::Error,
    },
    /// The catalog's name is not valid.
    #[error("{0:?} is not a catalog name: it is empty, or has a dot, a slash or a control character")]
    Catalog(String),
    /// The key of the storage account is not base64, or empty.
    #[error("the key of storage account {0:?} is not base64 of a key")]
    Key(String),
    /// The address cannot be listened on.
    #[error("listening on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The cause.
        source: std::io::Error,
    },
}

/// A running workspace. Dropping it stops serving at once.
#[derive(Debug)]
pub struct Workspace {
    address: SocketAddr,
    catalog: String,
    state: Arc<objects::State>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Workspace {
    /// Opens the folder and serves it.
    ///
    /// # Errors
    /// The folder cannot be read, the catalog's name is not valid, the storage key is not base64, or the address cannot
    /// be bound.
    pub async fn start(config: WorkspaceConfig) -> Result<Self, WorkspaceError> {
        let (catalog, bind) = (config.catalog.clone(), config.bind);
        if catalog.is_empty() || catalog.contains(['.', '/']) || catalog.chars().any(char::is_control) {
            return Err(WorkspaceError::Catalog(catalog));
        }
        if let Some(vending) = config.vending.as_ref().filter(|vending| !vending.is_usable()) {
            return Err(WorkspaceError::Key(vending.account.clone()));
        }
        let folder = folder::Folder::open(&config.delta_root)
            .map_err(|source| WorkspaceError::Folder { dir: config.delta_root.display().to_string(), source })?;
        let listen = |source| WorkspaceError::Listen { address: bind, source };
        let listener = TcpListener::bind(bind).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let state = Arc::new(objects::State {
            folder,
            catalog: catalog.clone(),
            known: auth::Known { token: config.token, client: config.client, tokens: oauth::Tokens::default() },
            vending: config.vending,
            page_size: config.page_size.max(1),
            sql: sql::Service::default(),
        });
        let router = routes::router(Arc::clone(&state));
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let serving = axum::serve(listener, router).with_graceful_shutdown(async {
                // A dropped sender means the same as a message: stop serving.
                stopped.await.unwrap_or_default();
            });
            if let Err(error) = serving.await {
                tracing::error!(%error, "the sandbox workspace stopped serving");
            }
        });
        Ok(Self { address, catalog, state, stop: Some(stop), task })
    }

    /// The address it listens on, with the port that was picked.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The workspace URL, `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The name of its catalog.
    #[must_use]
    pub fn catalog(&self) -> &str {
        &self.catalog
    }

    /// The HTTP path of its cluster, as SQL clients are configured with it.
    #[must_use]
    pub fn http_path(&self) -> String {
        format!("sql/protocolv1/o/{}/{CLUSTER_ID}", routes::WORKSPACE_ID)
    }

    /// Changes how results of SQL are returned from now on.
    pub fn set_sql(&self, settings: sql::SqlSettings) {
        self.state.sql.set(settings);
    }

    /// The numbers of open SQL sessions and operations.
    #[must_use]
    pub fn sql_open(&self) -> (usize, usize) {
        self.state.sql.open()
    }

    /// How many result files were fetched through links.
    #[must_use]
    pub fn sql_files(&self) -> u64 {
        self.state.sql.files()
    }

    /// Stops serving. Open requests may finish for up to 5 seconds, then their connections are cut.
    pub async fn shutdown(mut self) {
        if let Some(stop) = self.stop.take() {
            // If the receiver is gone, the server has stopped already.
            stop.send(()).unwrap_or_default();
        }
        if tokio::time::timeout(SHUTDOWN_GRACE, &mut self.task).await.is_err() {
            tracing::warn!("open connections were cut at shutdown: their requests took longer than the grace period");
        }
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        self.task.abort();
    }
}
