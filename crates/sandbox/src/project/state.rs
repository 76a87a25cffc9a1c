//! Everything that requests share.

use std::fs::File;

use tokio_util::sync::CancellationToken;

use super::auth::Account;
use super::catalog::Catalog;
use super::instance::Instances;
use super::storage::Reads;
use super::tunnel::download::Downloads;
use super::tunnel::uploads::Uploads;

/// The project as it is served. The directory is free again when its last user is gone: no connection outlives the lock.
pub struct State {
    /// Locked as long as this lives.
    #[expect(dead_code, reason = "it is held, not read")]
    pub lock: File,
    /// Cancelled to cut what is being answered.
    pub stop: CancellationToken,
    /// Its name.
    pub name: String,
    /// When it was made, in seconds since the epoch.
    pub created: i64,
    /// The service endpoint, ending in `/api`.
    pub endpoint: String,
    /// `host:port`, which is also the tunnel endpoint.
    pub host: String,
    /// Who may call.
    pub account: Account,
    /// Schemas and tables.
    pub catalog: Catalog,
    /// SQL instances.
    pub instances: Instances,
    /// Upload sessions.
    pub uploads: Uploads,
    /// Download sessions.
    pub downloads: Downloads,
    /// Read sessions of the Storage API.
    pub reads: Reads,
}
