//! Vends short-lived credentials for the files of single tables, requested from the workspace with its own credentials, which
//! stay here. Decides for whom and for which locations. Must never vend for a location that the data source does not mark as
//! `vended`, nor without a session.

use mms_databricks::{DatabricksError, StorageSecret, TableInfo, Workspace};
use mms_ends::Storage;
use mms_http::redact::remember_encoded;
use mms_proto::name::{ResourceName, TableName};
use mms_proto::registry::v1 as pb;
use mms_proto::time::timestamp;
use mms_storage::{LocalFiles, StorageLocation};
use pb::storage_access::Access;
use secrecy::ExposeSecret;
use tokio::time::Instant;

use crate::access;
use crate::core::Core;
use crate::error::{RegistryError, Result};
use crate::vended::Origin;
use crate::{far, source};

/// Vends a credential for a table to the holder of a session of its data source.
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
