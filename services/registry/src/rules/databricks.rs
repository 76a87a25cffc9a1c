//! The Databricks end.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use mms_databricks::WorkspaceUrl;
use mms_ends::location_prefix;
use mms_http::Url;
use mms_proto::registry::v1 as pb;
use mms_proto::types::v1::ReadPath;
use pb::databricks_source::WorkspaceAuth;
use pb::storage_access::Access;
use secrecy::{ExposeSecret, SecretString};

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
    let jdbc = config.read_path() == ReadPath::Jdbc;
    if jdbc && config.jdbc_url.is_empty() {
        judge.add("databricks.jdbc_url", "is required for read path JDBC");
    }
    if jdbc && config.cluster_id.is_empty() && !config.jdbc_url.contains("/warehouses/") {
        judge.add("databricks.cluster_id", "is required for read path JDBC unless jdbc_url names a warehouse");
    }
    jdbc_url(&config.jdbc_url, judge);
    if config.storage.is_empty() && !jdbc {
        judge.add("databricks.storage", "is required for read path STORAGE: say how files are read");
    }
    let mut seen = Vec::new();
    for (at, storage) in config.storage.iter().enumerate() {
        let shown = format!("databricks.storage[{at}]");
        match location_prefix(&storage.location_prefix) {
            Ok(prefix) if seen.contains(&prefix) => {
                judge.add(&format!("{shown}.location_prefix"), "is the same place as that of an access before");
            }
            Ok(prefix) => seen.push(prefix),
            Err(error) => judge.add(&format!("{shown}.location_prefix"), error),
        }
        if let Some(access) = &storage.access {
            storage_access(access, &shown, &item_path("databricks.storage", &storage.location_prefix), offline, judge);
        }
    }
}

fn jdbc_url(text: &str, judge: &mut Judge<'_>) {
    if text.is_empty() {
        return;
    }
    if !text.starts_with("jdbc:databricks://") {
        judge.add("databricks.jdbc_url", "must begin with jdbc:databricks://");
    }
    let lower = text.to_ascii_lowercase();
    let secrets = ["pwd", "password", "auth_accesstoken", "oauth2secret"];
    let holds =
        |part: &str| part.split_once('=').is_some_and(|(key, value)| secrets.contains(&key) && !value.is_empty());
    if lower.split([';', '?', '&']).any(holds) {
        judge.add("databricks.jdbc_url", "holds a token or password; use access_token and leave it out here");
    }
}

/// One way to read files: `shown` is where it stands in the request, `stored` where its secrets lie.
fn storage_access(access: &Access, shown: &str, stored: &str, offline: Offline<'_>, judge: &mut Judge<'_>) {
    match access {
        Access::AzureSas(_) => {
            let field = format!("{shown}.azure_sas.sas");
            let secret = format!("{stored}.azure_sas.sas");
            judge.secret_at(&secret, &field);
            let Some(sas) = judge.literal(&secret) else { return };
            let signed = sas_pairs(sas).any(|(key, value)| key == "sig" && !value.is_empty());
            let expired = sas_expiry_ms(sas).is_some_and(|at| at <= offline.now_ms);
            if !signed {
                judge.add(&field, "is not a shared access signature: it has no sig=; give the query string alone");
            } else if expired {
                judge.add(&field, "has expired: its se= lies in the past");
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

fn sas_pairs(sas: &SecretString) -> impl Iterator<Item = (&str, &str)> {
    let text = sas.expose_secret().trim();
    text.strip_prefix('?').unwrap_or(text).split('&').filter_map(|pair| pair.split_once('='))
}

/// When a shared access signature ends, if it says so.
pub fn sas_expiry_ms(sas: &SecretString) -> Option<i64> {
    let (_, text) = sas_pairs(sas).find(|(key, _)| *key == "se")?;
    let text = text.replace("%3A", ":").replace("%3a", ":");
    // A time without seconds, and a day alone, are both allowed there.
    let minutes = text.strip_suffix('Z').map(|minutes| format!("{minutes}:00Z"));
    let moment = text.parse::<Timestamp>().ok().or_else(|| minutes?.parse().ok());
    let day = || Some(text.parse::<Date>().ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp());
    moment.or_else(day).map(Timestamp::as_millisecond)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_signature_is_read_in_every_form() {
        let end = |sas: &str| sas_expiry_ms(&SecretString::from(sas));
        let midnight = 1_735_689_600_000;
        assert_eq!(end("?sv=2023-11-03&se=2025-01-01T00%3A00%3A00Z&sig=x"), Some(midnight));
        assert_eq!(end("se=2025-01-01T00:00Z&sig=x"), Some(midnight));
        assert_eq!(end("se=2025-01-01&sig=x"), Some(midnight));
        assert_eq!(end("sv=1&sig=x"), None);
        assert_eq!(end("se=soon&sig=x"), None);
    }
}
