//! Everything that requests share.

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
    /// The one quota that sessions and statements are for; none need be named if absent.
    pub quota: Option<String>,
    /// All projects of the account, this one among them. Whoever serves holds them.
    pub family: OnceLock<Vec<Weak<State>>>,
}

impl State {
    /// A project of the account.
    pub fn project(&self, name: &str) -> Option<Arc<Self>> {
        let all = self.family.get().into_iter().flatten();
        all.filter_map(Weak::upgrade).find(|state| state.name.eq_ignore_ascii_case(name))
    }

    /// Whether what begins is for the quota that there is, which `name` has to say.
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

    /// The project that a request is for; this one if it names none, or one that is not there.
    pub fn asked(self: Arc<Self>, target: &Target) -> Arc<Self> {
        let mut names = target.segments.iter().skip_while(|segment| *segment != "projects").skip(1);
        names.next().and_then(|name| self.project(name)).unwrap_or(self)
    }
}
