//! Short credentials for the files of single tables, asked for with the workspace's own credentials, which stay here. Owns for
//! whom and for which places that is done, and for how long one answer serves all who ask. It must never vend for a place
//! that the data source does not say is `vended`, nor outside a session.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use mms_databricks::{DatabricksError, StorageSecret, TableInfo, Workspace};
use mms_ends::Storage;
use mms_http::redact::remember_encoded;
use mms_proto::name::{ResourceName, TableName};
use mms_proto::registry::v1 as pb;
use mms_proto::time::{millis, timestamp};
use mms_storage::{LocalFiles, StorageLocation};
use parking_lot::Mutex;
use pb::storage_access::Access;
use secrecy::ExposeSecret;
use tokio::time::Instant;

use crate::access;
use crate::core::Core;
use crate::error::{RegistryError, Result};
use crate::secrets::Fingerprint;
use crate::{far, source};

/// Longest that an answer serves others than who asked first, and the share of its life: tasks of one table begin together.
const SHARED_MAX: Duration = Duration::from_secs(60);
const SHARED_PART: u32 = 10;
/// Answers that are kept.
const KEPT_MAX: usize = 10_000;

/// Which configuration an answer comes of.
#[derive(Clone, PartialEq, Eq)]
struct Origin {
    etag: String,
    network: u64,
    secrets: Fingerprint,
}

struct Kept {
    origin: Origin,
    until: Instant,
    answer: pb::VendCredentialsResponse,
}

/// What was vended a moment ago, and the clients of the workspaces that did.
#[derive(Clone, Default)]
pub struct Vended(Arc<Mutex<Memory>>);

#[derive(Default)]
struct Memory {
    clients: HashMap<String, (Origin, Workspace)>,
    answers: HashMap<String, Kept>,
}

impl Vended {
    fn answer(&self, table: &str, origin: &Origin, now: Instant) -> Option<pb::VendCredentialsResponse> {
        let memory = self.0.lock();
        let kept = memory.answers.get(table).filter(|kept| kept.origin == *origin && now < kept.until)?;
        Some(kept.answer.clone())
    }

    fn keep(&self, table: &str, origin: &Origin, answer: &pb::VendCredentialsResponse, (now, now_ms): (Instant, i64)) {
        let left = u64::try_from(millis(answer.expire_time) - now_ms).unwrap_or(0);
        let until = now + (Duration::from_millis(left) / SHARED_PART).min(SHARED_MAX);
        let mut memory = self.0.lock();
        memory.answers.retain(|_, kept| now < kept.until);
        if memory.answers.len() < KEPT_MAX {
            let kept = Kept { origin: origin.clone(), until, answer: answer.clone() };
            memory.answers.insert(table.to_owned(), kept);
        }
    }

    fn client(&self, id: &str, origin: &Origin, make: impl FnOnce() -> Result<Workspace>) -> Result<Workspace> {
        if let Some((_, known)) = self.0.lock().clients.get(id).filter(|(of, _)| of == origin) {
            return Ok(known.clone());
        }
        let made = make()?;
        self.0.lock().clients.insert(id.to_owned(), (origin.clone(), made.clone()));
        Ok(made)
    }

    /// Forgets a data source that is gone for good.
    pub fn forget(&self, id: &str) {
        self.0.lock().clients.remove(id);
    }
}

/// A credential for a table, by a session of its data source.
pub async fn vend(core: &Core, session: &str, table: &str) -> Result<pb::VendCredentialsResponse> {
    let session = core.leases.session(session, Instant::now()).ok_or(RegistryError::SessionGone)?;
    let name = TableName::parse(table).map_err(|_| RegistryError::NotFound(table.to_owned()))?;
    let (schema, id) = (name.parent().id().as_str(), name.parent().parent().id().as_str());
    if !session.reads_files || id != session.source {
        return Err(RegistryError::NotFound(format!("{table} for this session")));
    }
    core.store.read(|read| source::started(read, id))?;
    let access = access::stored(core, id).await?;
    let origin = Origin {
        etag: access.source.etag.clone(),
        network: access.network_revision,
        secrets: access.fingerprint.clone(),
    };
    if let Some(answer) = core.vended.answer(table, &origin, Instant::now()) {
        return Ok(answer);
    }
    let config = access.source.databricks().cloned().unwrap_or_default();
    let workspace = core.vended.client(id, &origin, || {
        let http = far::http(access.network.as_ref(), &core.traffic).map_err(|error| unusable(&error))?;
        far::workspace(&config, &http).map_err(|error| unusable(&error))
    })?;
    let info = workspace.get_table(&config.catalog, schema, name.id().as_str()).await?;
    let answer = of_table(&workspace, &config, &info).await?;
    core.vended.keep(table, &origin, &answer, (Instant::now(), core.now_ms()));
    tracing::info!(table, holder = session.holder, "credential vended");
    Ok(answer)
}

fn unusable(error: &dyn std::fmt::Display) -> RegistryError {
    RegistryError::NotVended(error.to_string())
}

async fn of_table(
    workspace: &Workspace,
    config: &pb::DatabricksSource,
    info: &TableInfo,
) -> Result<pb::VendCredentialsResponse> {
    let place = info.storage_location.as_deref().unwrap_or_default();
    let location = StorageLocation::parse(place, LocalFiles::Refused).map_err(|error| unusable(&error))?;
    let storages = mms_ends::storage(config).map_err(|error| unusable(&error))?;
    if !matches!(storages.of(&location), Some(Storage::Vended)) {
        return Err(unusable(&format!("no access `vended` of the data source is for {location}")));
    }
    let id = info.table_id.as_ref().ok_or_else(|| unusable(&"the workspace names no id of this table"))?;
    let given = workspace.table_credentials(id).await?;
    let StorageSecret::AzureSas(sas) = given.secret else {
        let text =
            "the workspace vended a token of Entra ID, which is not read: give the data source azure_service_principal";
        return Err(unusable(&format!("{text} for {location}")));
    };
    let pairs = sas.expose_secret().trim_start_matches('?').split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(name, _)| *name == "sig").for_each(|(_, signature)| remember_encoded(signature));
    let sas = pb::AzureSas { sas: sas.expose_secret().to_owned(), ..pb::AzureSas::default() };
    let since = given.expires_at.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Ok(pb::VendCredentialsResponse {
        access: Some(pb::StorageAccess { location_prefix: given.url, access: Some(Access::AzureSas(sas)) }),
        expire_time: timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX)),
    })
}

impl From<DatabricksError> for RegistryError {
    fn from(error: DatabricksError) -> Self {
        Self::Workspace(Box::new(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_serves_for_a_tenth_of_its_life_and_for_one_configuration() {
        let (vended, now) = (Vended::default(), Instant::now());
        let origin = |etag: &str| Origin { etag: etag.into(), network: 0, secrets: Fingerprint::of([]) };
        let answer = pb::VendCredentialsResponse { expire_time: timestamp(1_000_000 + 100_000), ..Default::default() };
        vended.keep("t", &origin("1"), &answer, (now, 1_000_000));
        let at = |seconds| now + Duration::from_secs(seconds);
        assert!(vended.answer("t", &origin("1"), at(9)).is_some());
        assert!(vended.answer("t", &origin("1"), at(10)).is_none());
        assert!(vended.answer("t", &origin("2"), at(1)).is_none() && vended.answer("u", &origin("1"), at(1)).is_none());
        let long = pb::VendCredentialsResponse { expire_time: timestamp(100_000_000), ..Default::default() };
        vended.keep("t", &origin("1"), &long, (now, 1_000_000));
        assert!(
            vended.answer("t", &origin("1"), at(59)).is_some() && vended.answer("t", &origin("1"), at(60)).is_none()
        );
    }
}
