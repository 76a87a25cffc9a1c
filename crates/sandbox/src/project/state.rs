//! Everything that requests share.

use super::auth::Account;
use super::catalog::Catalog;
use super::instance::Instances;
use super::tunnel::download::Downloads;
use super::tunnel::upload::Uploads;

/// The project as it is served.
pub struct State {
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
}
