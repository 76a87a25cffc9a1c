//! A Databricks workspace on loopback: Unity Catalog's REST over a folder of Delta tables `<root>/<schema>/<table>/_delta_log`,
//! one running cluster and one warehouse that run SQL ([`sql`]), OAuth's token endpoint, and bearer tokens checked. It pages as the real one does: empty
//! pages, opaque tokens, no order.
//!
//! It must never write into the folder, never share wire code with our client, and never let one broken table spoil a list.

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

/// Objects on a page when the caller leaves the size to the workspace.
pub const DEFAULT_PAGE_SIZE: usize = 50;
/// The workspace's one cluster, which is always running.
pub const CLUSTER_ID: &str = "0101-000000-sandbox1";
/// The workspace's one SQL warehouse, likewise.
pub const WAREHOUSE_ID: &str = "5a4db0c5a4db0c00";
/// The owner of the token.
pub const USER_NAME: &str = "sandbox@example.com";
/// How long open requests may take to end at shutdown.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);

/// What a workspace serves, and where.
#[derive(Debug, Clone)]
pub struct WorkspaceConfig {
    /// The folder of schemas; it may grow while it is served.
    pub delta_root: PathBuf,
    /// The name of its one catalog.
    pub catalog: String,
    /// The personal access token that callers must send.
    pub token: SecretString,
    /// The OAuth client that may come as well.
    pub client: Option<Client>,
    /// What it vends credentials for. None: external access is off.
    pub vending: Option<Vending>,
    /// Where to listen; port 0 picks a free one.
    pub bind: SocketAddr,
    /// Objects on a page when the caller leaves the size to the workspace; [`DEFAULT_PAGE_SIZE`] is as the real one.
    pub page_size: usize,
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
    /// The catalog's name is not legal.
    #[error("{0:?} is not a catalog name: it is empty, or has a dot, a slash or a control character")]
    Catalog(String),
    /// The storage account's key is none.
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
    /// The folder cannot be read, the catalog's name is not legal, or the address cannot be bound.
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
                // A dropped sender means the same as a message: stop.
                stopped.await.unwrap_or_default();
            });
            if let Err(error) = serving.await {
                tracing::error!(%error, "the sandbox workspace stopped serving");
            }
        });
        Ok(Self { address, catalog, state, stop: Some(stop), task })
    }

    /// Where it listens.
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

    /// The path of its cluster, as clients of SQL name it.
    #[must_use]
    pub fn http_path(&self) -> String {
        format!("sql/protocolv1/o/{}/{CLUSTER_ID}", routes::WORKSPACE_ID)
    }

    /// How results of SQL are given from now on.
    pub fn set_sql(&self, settings: sql::SqlSettings) {
        self.state.sql.set(settings);
    }

    /// How many sessions and operations of SQL are open.
    #[must_use]
    pub fn sql_open(&self) -> (usize, usize) {
        self.state.sql.open()
    }

    /// How many files of results were given behind links.
    #[must_use]
    pub fn sql_files(&self) -> u64 {
        self.state.sql.files()
    }

    /// Ends open requests, within a few seconds, and stops.
    pub async fn shutdown(mut self) {
        if let Some(stop) = self.stop.take() {
            // A receiver that is gone has stopped already.
            stop.send(()).unwrap_or_default();
        }
        if tokio::time::timeout(SHUTDOWN_GRACE, &mut self.task).await.is_err() {
            tracing::warn!("connections were cut at shutdown");
        }
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        self.task.abort();
    }
}
