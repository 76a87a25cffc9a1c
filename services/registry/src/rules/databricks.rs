//! Validates the configuration of a Databricks source. Each violation names its field and what to set instead.

use mms_databricks::{HttpPath, WorkspaceUrl};
use mms_ends::location_prefix;
use mms_http::Url;
use mms_proto::registry::v1 as pb;
use mms_proto::types::v1::ReadPath;
use mms_storage::Sas;
use pb::databricks_source::WorkspaceAuth;
use pb::storage_access::Access;
use secrecy::ExposeSecret;

use super::judge::{Judge, Offline};
use crate::secrets::item_path;

pub(super) fn judge(config: &pb::DatabricksSource, offline: Offline<'_>, judge: &mut Judge<'_>) {
    match config.workspace_url.parse::<WorkspaceUrl>() {
        _ if config.workspace_url.is_empty() => {}
        Ok(workspace) => judge.reachable("databricks.workspace_url", workspace.base()),
        Err(error) => judge.add("databricks.workspace_url", error.to_string()),
    }
    if config.catalog.chars().any(|c| c == '.' || c == '/' || c.is_control()) {
        judge.add("databricks.catalog", "cannot have a dot, a slash or a control character: it is one catalog's name");
    }
    match &config.workspace_auth {
        Some(WorkspaceAuth::AccessToken(_)) => judge.secret("databricks.access_token.token"),
        Some(WorkspaceAuth::ClientCredentials(_)) => judge.secret("databricks.client_credentials.client_secret"),
        None => judge.add("databricks.workspace_auth", "is required: set one of access_token, client_credentials"),
    }
    sql(config, judge);
    if config.storage.is_empty() {
        judge.add("databricks.storage", "is required: say how the tables' files and logs are read");
    }
    let mut seen = Vec::new();
    for (at, storage) in config.storage.iter().enumerate() {
        let shown = format!("databricks.storage[{at}]");
        match location_prefix(&storage.location_prefix) {
            Ok(prefix) if seen.contains(&prefix) => {
                judge.add(&format!("{shown}.location_prefix"), "is the location of an earlier access");
            }
            Ok(prefix) => seen.push(prefix),
            Err(error) => judge.add(&format!("{shown}.location_prefix"), error),
        }
        if let Some(access) = &storage.access {
            storage_access(access, &shown, &item_path("databricks.storage", &storage.location_prefix), offline, judge);
        }
    }
}

/// Validates where SQL runs: the JDBC URL and the cluster.
fn sql(config: &pb::DatabricksSource, judge: &mut Judge<'_>) {
    let (url, cluster) = (config.jdbc_url.as_str(), config.cluster_id.as_str());
    if holds_secret(url) {
        judge.add("databricks.jdbc_url", "holds a token or password; use access_token and leave it out here");
    }
    // An invalid workspace URL is reported by its own rule.
    let Ok(workspace) = config.workspace_url.parse::<WorkspaceUrl>() else { return };
    let named = match url {
        "" => None,
        url => match HttpPath::of_jdbc_url(&workspace, url) {
            Ok(named) => named,
            Err(error) => return judge.add("databricks.jdbc_url", error.to_string()),
        },
    };
    let other = named.as_ref().and_then(HttpPath::cluster_id).filter(|other| !cluster.is_empty() && *other != cluster);
    if let Some(other) = other {
        let text = format!("is another cluster than that of jdbc_url's httpPath, {other}: leave one of both out");
        judge.add("databricks.cluster_id", text);
    }
    if config.read_path() == ReadPath::Jdbc && named.is_none() {
        if cluster.is_empty() {
            let text = "is required for read path JDBC, unless jdbc_url names a cluster or warehouse by its httpPath";
            judge.add("databricks.cluster_id", text);
        } else if let Err(error) = HttpPath::of_cluster(&workspace, cluster) {
            judge.add("databricks.cluster_id", error.to_string());
        }
    }
}

fn holds_secret(jdbc_url: &str) -> bool {
    let lower = jdbc_url.to_ascii_lowercase();
    let secrets = ["pwd", "password", "auth_accesstoken", "oauth2secret"];
    let holds =
        |part: &str| part.split_once('=').is_some_and(|(key, value)| secrets.contains(&key) && !value.is_empty());
    lower.split([';', '?', '&']).any(holds)
}

/// Validates how files of a location are read. `shown` is the path in the request, `stored` the prefix of the secrets' paths.
fn storage_access(access: &Access, shown: &str, stored: &str, offline: Offline<'_>, judge: &mut Judge<'_>) {
    match access {
        Access::AzureSas(_) => {
            let field = format!("{shown}.azure_sas.sas");
            let secret = format!("{stored}.azure_sas.sas");
            judge.secret_at(&secret, &field);
            let Some(sas) = judge.literal(&secret) else { return };
            let sas = Sas::read(sas.expose_secret());
            if sas.is_url {
                judge.add(&field, "is a URL: give its query string alone, what follows the \"?\"");
            } else if !sas.signed {
                judge.add(&field, "is not a shared access signature: it has no sig=; give the query string alone");
            } else if sas.ends_ms.is_some_and(|at| at <= offline.now_ms) {
                judge.add(&field, "has expired: its se= lies in the past");
            } else if let lacking @ [_, ..] = &*sas.lacks() {
                judge.add(
                    &field,
                    format!("does not permit {}: make one with Read and List (sp=rl)", lacking.join(" and ")),
                );
            }
        }
        Access::AzureServicePrincipal(principal) => {
            let at = format!("{shown}.azure_service_principal");
            judge.secret_at(&format!("{stored}.azure_service_principal.client_secret"), &format!("{at}.client_secret"));
            let host = &principal.authority_host;
            if !host.is_empty() {
                let field = format!("{at}.authority_host");
                let plain = judge.url(&field, host).is_some_and(|url| url.scheme() != "https" && !is_loopback(&url));
                if plain {
                    judge.add(&field, "must be https: the client secret is sent there");
                }
            }
        }
        Access::Vended(_) => {}
        Access::LocalFiles(_) if !offline.allow_local_files => judge.add(
            &format!("{shown}.local_files"),
            "is not allowed here: set registry.allow_local_files in the registry's configuration",
        ),
        Access::LocalFiles(local) => {
            if local.root.split('/').any(|step| step == "..") {
                judge.add(&format!("{shown}.local_files.root"), "must not have \"..\" in it");
            }
        }
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
