//! Checks the storage of the source: reads the logs of a few tables at the locations that the workspace reports, with the
//! credential that readers will use.

use std::path::PathBuf;

use mms_databricks::{DatabricksError, StorageSecret, TableId, TableInfo, TableKind, Workspace};
use mms_ends::{Storage, Storages};
use mms_http::HttpClient;
use mms_proto::registry::v1 as pb;
use mms_storage::{LocalFiles, Sas, StorageCredential, StorageLocation, StorageSettings, Unreadable};
use pb::storage_access::Access;

use super::steps::Finding;
use crate::far;

/// A signature that expires sooner than this causes a warning.
const SOON_MS: i64 = 24 * 3600 * 1000;
/// Tables that are tried, each of another schema: a location may be outside what the credential covers.
const TRIED: usize = 3;
/// Schemas that are searched for tables: a check is no scan.
const SCHEMAS_MAX: usize = 20;
/// Pages of a schema's tables that are read.
const PAGES_MAX: usize = 3;
/// The folder of a table's log.
const LOG: &str = "_delta_log";

pub(super) async fn check(config: &pb::DatabricksSource, http: &HttpClient, visible: bool, now_ms: i64) -> Finding {
    let storages = match mms_ends::storage(config) {
        Ok(storages) if storages.is_empty() => return Finding::skipped("nothing is read from storage"),
        Ok(storages) => storages,
        Err(error) => return Finding::failed(error.to_string(), "correct the location prefix"),
    };
    let signatures: Vec<Finding> = config
        .storage
        .iter()
        .filter_map(|storage| sas(storage))
        .filter_map(|sas| signature(&Sas::read(&sas.sas), now_ms))
        .collect();
    if let Some(over) = signatures.iter().find(|finding| finding.state == pb::CheckState::Failed) {
        return over.clone();
    }
    for storage in &config.storage {
        if let Some(Access::LocalFiles(files)) = &storage.access {
            let found = folder(PathBuf::from(&files.root)).await;
            if found.state != pb::CheckState::Ok || config.storage.len() == 1 {
                return found;
            }
        }
    }
    let workspace = match far::workspace(config, http) {
        Ok(workspace) if visible => workspace,
        _ => return Finding::skipped("the catalog is not visible, and only it says where tables lie"),
    };
    let tables = match sample(&workspace, &config.catalog).await {
        Ok(tables) => tables,
        Err(error) => return Finding::failed(error.to_string(), "let the token's owner list schemas and tables"),
    };
    let settings = StorageSettings { max_retries: 1, ..StorageSettings::new(http.clone()) };
    let found = tried(&workspace, &tables, &storages, &settings).await;
    let soon = signatures.into_iter().next().filter(|_| found.state == pb::CheckState::Ok);
    soon.unwrap_or(found)
}

fn sas(storage: &pb::StorageAccess) -> Option<&pb::AzureSas> {
    match &storage.access {
        Some(Access::AzureSas(sas)) => Some(sas),
        _ => None,
    }
}

/// A table whose log is to be read.
struct Tried {
    name: String,
    place: String,
    id: Option<TableId>,
}

/// Finds a few Delta tables.
async fn sample(workspace: &Workspace, catalog: &str) -> Result<Vec<Tried>, DatabricksError> {
    let mut tables = Vec::new();
    let mut seen = 0;
    let mut schemas = workspace.list_schemas(catalog)?;
    while let Some(page) = schemas.next().await? {
        for schema in page.items.iter().filter(|schema| schema.name != "information_schema") {
            seen += 1;
            let mut pages = workspace.list_tables(catalog, &schema.name)?;
            // One schema may deny what another allows, and a page may be empty.
            for _ in 0..PAGES_MAX {
                let Ok(Some(page)) = pages.next().await else { break };
                if let Some(found) = page.items.iter().find_map(|table| placed(&schema.name, table)) {
                    tables.push(found);
                    break;
                }
            }
            if tables.len() >= TRIED || seen >= SCHEMAS_MAX {
                return Ok(tables);
            }
        }
    }
    Ok(tables)
}

fn placed(schema: &str, table: &TableInfo) -> Option<Tried> {
    let files = matches!(table.table_type, TableKind::Managed | TableKind::External);
    let delta = table.data_source_format.as_deref().is_some_and(|format| format.eq_ignore_ascii_case("delta"));
    let place = table.storage_location.clone().filter(|place| files && delta && !place.is_empty())?;
    Some(Tried { name: format!("{schema}.{}", table.name), place, id: table.table_id.clone() })
}

/// Tries the tables: OK if all can be read, WARNING if only some can.
async fn tried(workspace: &Workspace, tables: &[Tried], storages: &Storages, settings: &StorageSettings) -> Finding {
    let (mut read, mut failed) = (Vec::new(), Vec::new());
    for table in tables {
        match look(workspace, table, storages, settings).await {
            Ok(false) => {}
            Ok(true) => read.push(table.name.as_str()),
            Err((why, remedy)) => failed.push((format!("table {}: {why}", table.name), remedy)),
        }
    }
    match (read.as_slice(), failed.into_iter().next()) {
        ([], None) => Finding::skipped("the workspace shows no Delta table yet to try the credential on"),
        (read, None) => Finding::ok(format!("the log of {} can be listed and read", read.join(", "))),
        ([], Some((text, remedy))) => Finding::failed(text, remedy),
        (read, Some((text, remedy))) => Finding::warning(format!("{} can be read; {text}", read.join(", ")), remedy),
    }
}

/// Whether a table's log can be read; false for local files, which only a worker can tell.
async fn look(
    workspace: &Workspace,
    table: &Tried,
    storages: &Storages,
    settings: &StorageSettings,
) -> Result<bool, (String, &'static str)> {
    let odd = "look at the table's location in the workspace; only Azure storage can be read";
    let location =
        StorageLocation::parse(&table.place, LocalFiles::Refused).map_err(|error| (error.to_string(), odd))?;
    let credential = match storages.of(&location) {
        Some(Storage::With(credential)) => credential.clone(),
        Some(Storage::Vended) => vended(workspace, table).await?,
        // Local files are checked separately.
        Some(Storage::Local(_)) => return Ok(false),
        None => {
            let text = format!("no storage access is for {location}");
            return Err((text, "add one to databricks.storage for its prefix, or one without a prefix"));
        }
    };
    let folder = location.object_path().map_err(|error| (error.to_string(), odd))?.join(LOG);
    let store = mms_storage::open(&location, &credential, settings)
        .map_err(|error| (error.to_string(), "correct the storage access in databricks.storage"))?;
    match mms_storage::probe(store.as_ref(), &folder).await {
        Ok(_) => Ok(true),
        Err(error) => Err((format!("{location}: {}", error.words), remedy(error.why, &credential))),
    }
}

/// The credential that the workspace vends for a table.
async fn vended(workspace: &Workspace, table: &Tried) -> Result<StorageCredential, (String, &'static str)> {
    let odd = "give the data source azure_sas or azure_service_principal for this place";
    let Some(id) = &table.id else { return Err(("the workspace names no id of it".to_owned(), odd)) };
    match workspace.table_credentials(id).await {
        Ok(given) => match given.secret {
            StorageSecret::AzureSas(sas) => Ok(StorageCredential::VendedSas(sas)),
            StorageSecret::AzureBearer(_) => {
                Err(("the workspace vended a token of Entra ID, which is not read".to_owned(), odd))
            }
        },
        Err(DatabricksError::NotVended { why, fault }) => Err((fault.message, why.remedy())),
        Err(error) => Err((error.to_string(), "see what the workspace says, or use another access for this place")),
    }
}

fn remedy(why: Unreadable, credential: &StorageCredential) -> &'static str {
    if matches!(credential, StorageCredential::VendedSas(_)) {
        return "see that the storage account lets this machine in, and that the storage credential of the workspace still reaches it";
    }
    let sas = matches!(credential, StorageCredential::Sas(_));
    match why {
        Unreadable::Expired if sas => "make a new signature with Read and List and set azure_sas",
        Unreadable::Expired => "make a new client secret and set azure_service_principal.client_secret",
        Unreadable::Unauthenticated if sas => {
            "make a signature of this storage account, with Read and List, and set azure_sas to its query string"
        }
        Unreadable::Unauthenticated => "check tenant_id, client_id and client_secret of azure_service_principal",
        Unreadable::ListDenied if sas => {
            "make the signature with List as well as Read, for containers and objects; and see that the account's firewall lets this machine in"
        }
        Unreadable::ReadDenied if sas => "make the signature with Read as well as List, for containers and objects",
        Unreadable::ListDenied | Unreadable::ReadDenied => {
            "give the service principal the role Storage Blob Data Reader on the account or container"
        }
        Unreadable::NotYetValid if sas => {
            "wait until the signature begins, or make one that begins now and set azure_sas"
        }
        Unreadable::NotYetValid => "see that the clock of this machine is right, and check again",
        Unreadable::AddressDenied => {
            "let this machine's address through the storage account's firewall, and through the addresses that the signature names"
        }
        Unreadable::KeysDenied => {
            "make a user delegation signature, or use azure_service_principal: the account takes nothing signed with its key"
        }
        Unreadable::AccountDisabled => "have the storage account enabled in the Azure portal, and check again",
        Unreadable::LoginAway => {
            "see that this machine (or the network connection's proxy) gets to the login endpoint (authority_host), and check again"
        }
        Unreadable::Missing => "look at the table's location in the workspace: its container or log is not there",
        Unreadable::Unreachable => {
            "see that this machine (or the network connection's proxy) gets to the storage account, and check again"
        }
    }
}

async fn folder(root: PathBuf) -> Finding {
    let shown = root.display().to_string();
    let read = tokio::task::spawn_blocking(move || std::fs::read_dir(root).map(|entries| entries.take(1000).count()));
    match read.await {
        Ok(Ok(entries)) => {
            Finding::ok(format!("{shown} can be read here, with {entries} entries; workers must see it too"))
        }
        Ok(Err(error)) => Finding::failed(
            format!("{shown}: {error}"),
            "give local_files.root a folder that the registry and every worker can read",
        ),
        Err(error) => Finding::failed(format!("{shown}: {error}"), "check again"),
    }
}

/// The problem that a signature's own text shows, if any.
fn signature(sas: &Sas, now_ms: i64) -> Option<Finding> {
    let remedy = "make a new signature with Read and List and set azure_sas";
    let lacking = sas.lacks();
    match (sas.begins_ms, sas.ends_ms) {
        (_, Some(end)) if end <= now_ms => Some(Finding::failed("the shared access signature has expired", remedy)),
        (Some(begin), _) if begin > now_ms => {
            let minutes = (begin - now_ms) / 60_000 + 1;
            Some(Finding::failed(
                format!("the shared access signature begins in {minutes} minutes"),
                "wait until then, or make one that begins now and set azure_sas",
            ))
        }
        _ if !lacking.is_empty() => Some(Finding::failed(
            format!("the shared access signature does not permit {}", lacking.join(" and ")),
            remedy,
        )),
        (_, Some(end)) if end - now_ms < SOON_MS => {
            let hours = (end - now_ms) / 3_600_000;
            Some(Finding::warning(format!("the shared access signature ends in {hours} hours"), remedy))
        }
        _ => None,
    }
}

#[cfg(test)]
#[path = "storage_tests.rs"]
mod tests;
