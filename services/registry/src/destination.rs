//! Knows which fields decide where a secret is sent. Whoever may change such a field need not know the secret, so after the
//! change a stored secret must not be sent to the new destination: it has to be sent again with the change. Pure.

use mms_proto::registry::v1 as pb;
use pb::storage_access::Access;

use crate::secrets::item_path;

/// Secrets that a change would send to another destination.
#[derive(Debug, PartialEq, Eq)]
pub struct Moved {
    /// The prefix of the paths of these secrets.
    pub secrets: String,
    /// The field whose change redirects them.
    pub by: &'static str,
}

/// The host that is asked for tokens of the storage below a prefix.
fn authority<'a>(config: &'a pb::DatabricksSource, prefix: &str) -> &'a str {
    let access = config.storage.iter().find(|storage| storage.location_prefix == prefix);
    match access.and_then(|storage| storage.access.as_ref()) {
        Some(Access::AzureServicePrincipal(principal)) => &principal.authority_host,
        _ => "",
    }
}

/// Whether two addresses are equal, ignoring a slash at the end.
fn same(before: &str, after: &str) -> bool {
    before.trim_end_matches('/') == after.trim_end_matches('/')
}

/// The secrets that a change of a data source would redirect.
pub fn of_source(before: &pb::DataSource, after: &pb::DataSource) -> Vec<Moved> {
    let mut moved = Vec::new();
    let mut note = |changed: bool, secrets: &str, by| {
        if changed {
            moved.push(Moved { secrets: secrets.to_owned(), by });
        }
    };
    // A connection may override addresses of hosts and trust other certificate authorities. Removing the connection cannot.
    let network = !after.network_connection.is_empty() && before.network_connection != after.network_connection;
    note(network, "", "network_connection");
    if let (Some(before), Some(after)) = (before.databricks(), after.databricks()) {
        // The workspace reports where tables are, and so decides to whom the storage credentials are shown.
        let changed = !same(&before.workspace_url, &after.workspace_url);
        note(changed, "databricks.", "databricks.workspace_url");
        for storage in &after.storage {
            let prefix = &storage.location_prefix;
            let changed = !same(authority(before, prefix), authority(after, prefix));
            note(changed, &item_path("databricks.storage", prefix), "azure_service_principal.authority_host");
        }
    }
    if let (Some(before), Some(after)) = (&before.max_compute, &after.max_compute) {
        note(!same(&before.endpoint, &after.endpoint), "max_compute.", "max_compute.endpoint");
        let changed = !same(&before.tunnel_endpoint, &after.tunnel_endpoint);
        note(changed, "max_compute.", "max_compute.tunnel_endpoint");
    }
    moved
}

/// The secrets that a change of a network connection would redirect. The key of a client certificate is never sent.
pub fn of_network(before: &pb::NetworkConnection, after: &pb::NetworkConnection) -> Vec<Moved> {
    let changed = !same(&before.proxy_url, &after.proxy_url);
    changed.then_some(Moved { secrets: "proxy_authorization".to_owned(), by: "proxy_url" }).into_iter().collect()
}

/// The changed fields of a network connection that could make its data sources connect to other hosts, trust others, or be
/// intercepted, with secrets that whoever makes the change need not know.
pub fn reroutes(before: &pb::NetworkConnection, after: &pb::NetworkConnection) -> Vec<&'static str> {
    let fields = [
        ("proxy_url", !same(&before.proxy_url, &after.proxy_url)),
        ("ca_certificates_pem", before.ca_certificates_pem != after.ca_certificates_pem),
        ("host_overrides", before.host_overrides != after.host_overrides),
        ("allowed_hosts", before.allowed_hosts != after.allowed_hosts),
        ("plain_http_hosts", before.plain_http_hosts != after.plain_http_hosts),
    ];
    fields.into_iter().filter(|(_, changed)| *changed).map(|(field, _)| field).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leads_elsewhere_reroutes_and_a_name_does_not() {
        let before = pb::NetworkConnection { proxy_url: "http://a:1".into(), ..pb::NetworkConnection::default() };
        let with = |change: fn(&mut pb::NetworkConnection)| {
            let mut after = before.clone();
            change(&mut after);
            reroutes(&before, &after)
        };
        assert!(with(|after| after.display_name = "other".into()).is_empty());
        assert!(
            with(|after| after.client_certificate_pem = "chain".into()).is_empty(),
            "it is shown, it leads nowhere"
        );
        assert_eq!(with(|after| after.proxy_url = String::new()), ["proxy_url"]);
        assert_eq!(with(|after| after.ca_certificates_pem = "another".into()), ["ca_certificates_pem"]);
        assert_eq!(with(|after| after.plain_http_hosts = vec!["*".into()]), ["plain_http_hosts"]);
        let both = with(|after| {
            after.host_overrides.insert("adb-1.azuredatabricks.net".into(), "10.0.0.1".into());
            after.allowed_hosts = vec!["*".into()];
        });
        assert_eq!(both, ["host_overrides", "allowed_hosts"]);
    }

    fn source(workspace: &str, authority: &str, endpoint: &str, network: &str) -> pb::DataSource {
        let principal =
            pb::AzureServicePrincipal { authority_host: authority.to_owned(), ..pb::AzureServicePrincipal::default() };
        let storage = pb::StorageAccess {
            location_prefix: "abfss://a@b".to_owned(),
            access: Some(Access::AzureServicePrincipal(principal)),
        };
        let databricks = pb::DatabricksSource {
            workspace_url: workspace.to_owned(),
            storage: vec![storage],
            ..pb::DatabricksSource::default()
        };
        pb::DataSource {
            source: Some(databricks.into()),
            max_compute: Some(pb::MaxComputeConfig {
                endpoint: endpoint.to_owned(),
                ..pb::MaxComputeConfig::default()
            }),
            network_connection: network.to_owned(),
            ..pb::DataSource::default()
        }
    }

    #[test]
    fn each_field_moves_the_secrets_that_are_sent_there() {
        let before = source("https://a", "", "https://m", "networkConnections/n");
        let by = |after: &pb::DataSource| of_source(&before, after).iter().map(|m| m.by).collect::<Vec<_>>();
        assert!(by(&source("https://a/", "", "https://m", "")).is_empty(), "to go without a connection is safe");
        assert_eq!(by(&source("https://b", "", "https://m", "")), ["databricks.workspace_url"]);
        assert_eq!(by(&source("https://a", "https://x", "https://m", "")), ["azure_service_principal.authority_host"]);
        assert_eq!(by(&source("https://a", "", "https://n", "")), ["max_compute.endpoint"]);
        assert_eq!(by(&source("https://a", "", "https://m", "networkConnections/o")), ["network_connection"]);
    }
}
