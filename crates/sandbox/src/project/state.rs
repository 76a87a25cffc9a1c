//! The state that all requests share.

use std::fs::File;
use std::sync::{Arc, OnceLock, Weak};

use tokio_util::sync::CancellationToken;

use super::auth::Account;
use super::catalog::Catalog;
use super::error::{ApiError, ApiResult};
use super::instance::Instances;
use super::request::Target;
use super::storage::Reads;
use super::tunnel::download::Downloads;
use super::tunnel::uploads::Uploads;

/// The project as it is served. The directory is unlocked when the last user of this is gone, so that no connection is
/// served without the lock.
pub struct State {
    /// Keeps the directory locked while this exists.
    #[expect(dead_code, reason = "it is held, not read")]
    pub lock: File,
    /// Cancelled to cut the requests in progress.
    pub stop: CancellationToken,
    pub name: String,
    /// Seconds since the epoch.
    pub created: i64,
    /// The service endpoint, ending in `/api`.
    pub endpoint: String,
    /// `host:port`, which is also the tunnel endpoint.
    pub host: String,
    pub account: Account,
    pub catalog: Catalog,
    pub instances: Instances,
    pub uploads: Uploads,
    pub downloads: Downloads,
    /// Read sessions of the Storage API.
    pub reads: Reads,
    /// The quota that sessions and statements must name. `None` requires no quota.
    pub quota: Option<String>,
    /// All projects of the account, this one among them. They are weak so that only the server keeps them alive.
    pub family: OnceLock<Vec<Weak<State>>>,
}

impl State {
    /// The project of the account with this name.
    pub fn project(&self, name: &str) -> Option<Arc<Self>> {
        let all = self.family.get().into_iter().flatten();
        all.filter_map(Weak::upgrade).find(|state| state.name.eq_ignore_ascii_case(name))
    }

    /// Checks that a request names the project's quota. `name` is the parameter or setting, `said` its value.
    pub fn check_quota(&self, name: &str, said: Option<&str>) -> ApiResult<()> {
        match &self.quota {
            Some(quota) if said != Some(quota) => {
                let said = said.unwrap_or_default();
                Err(ApiError::new(
                    400,
                    "InvalidArgument",
                    format!("quota `{said}` of {name} is not one of this project"),
                ))
            }
            _ => Ok(()),
        }
    }

    /// The project that the path names; this one if it names none, or one that does not exist.
    pub fn asked(self: Arc<Self>, target: &Target) -> Arc<Self> {
        let mut names = target.segments.iter().skip_while(|segment| *segment != "projects").skip(1);
        names.next().and_then(|name| self.project(name)).unwrap_or(self)
    }
}
