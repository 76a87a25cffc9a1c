//! The rules of network connections. What only the HTTP client can judge (PEM, proxy, host patterns) is judged by creating one.

use mms_ends::host_override;
use mms_http::{HostPattern, ProxyUrl, Url};
use mms_proto::FieldViolation;
use mms_proto::registry::v1 as pb;
use secrecy::ExposeSecret;

use super::judge::Judge;
use crate::reference::Guard;
use crate::secrets::{Secrets, join};

/// All violations of these rules; `secrets` are those sent and those kept.
pub fn judge_network(
    network: &pb::NetworkConnection,
    secrets: &Secrets,
    guard: &Guard,
    denied_hosts: &[String],
    at: &str,
) -> Vec<FieldViolation> {
    let mut judge = Judge { at, secrets, guard, denied_hosts, found: Vec::new() };
    proxy(&network.proxy_url, &mut judge);
    for field in ["proxy_authorization", "client_key_pem"] {
        judge.optional_secret(field);
    }
    if let Some(user) = judge.literal("proxy_authorization")
        && !user.expose_secret().contains(':')
    {
        judge.add("proxy_authorization", "must be user:password");
    }
    if judge.secrets.get("proxy_authorization").is_some() && network.proxy_url.is_empty() {
        judge.add("proxy_url", "is required with proxy_authorization");
    }
    if network.client_certificate_pem.is_empty() != secrets.get("client_key_pem").is_none() {
        judge.add("client_certificate_pem", "and client_key_pem go together: one is missing");
    }
    let mut hosts: Vec<_> = network.host_overrides.iter().collect();
    hosts.sort();
    for (host, address) in hosts {
        let field = format!("host_overrides[{host:?}]");
        if !is_name(host) {
            judge.add(&field, "names no host: write a host name, or *.suffix for all names below one, without a port");
            continue;
        }
        match host_override(address) {
            None => judge.add(&field, format!("value {address:?} is not an address: write ip or ip:port")),
            Some(address) => {
                if let Ok(url) = Url::parse(&format!("https://{address}")) {
                    judge.reachable(&field, &url);
                }
            }
        }
    }
    for (field, hosts) in [("allowed_hosts", &network.allowed_hosts), ("plain_http_hosts", &network.plain_http_hosts)] {
        for (at, host) in hosts.iter().enumerate() {
            if let Err(error) = host.parse::<HostPattern>() {
                judge.add(&format!("{field}[{at}]"), error.to_string());
            }
        }
    }
    if judge.found.is_empty() {
        whole(network, &mut judge);
    }
    judge.found
}

/// Whether it is a host name, or `*.` and one.
fn is_name(host: &str) -> bool {
    let name = host.strip_prefix("*.").unwrap_or(host);
    !name.contains([':', '*', '/']) && name.parse::<HostPattern>().is_ok()
}

fn proxy(text: &str, judge: &mut Judge<'_>) {
    if text.is_empty() {
        return;
    }
    if let Err(error) = text.parse::<ProxyUrl>() {
        judge.add("proxy_url", error.to_string());
    } else if Url::parse(text).is_ok_and(|url| !url.username().is_empty() || url.password().is_some()) {
        judge.add("proxy_url", "holds a user or password: use proxy_authorization");
    } else if let Ok(url) = Url::parse(text) {
        judge.reachable("proxy_url", &url);
    }
}

/// Tries to create the client. References are resolved only when the connection is used, so with references nothing can be tried
/// here.
fn whole(network: &pb::NetworkConnection, judge: &mut Judge<'_>) {
    let only_literals = judge.secrets.iter().all(|(_, secret)| crate::reference::is_literal(secret));
    if !only_literals {
        return;
    }
    if let Err(error) = crate::far::http(Some(&join(network, judge.secrets)), &mms_http::Traffic::default()) {
        let text = error.to_string();
        let field = if text.contains("client identity") { "client_certificate_pem" } else { "ca_certificates_pem" };
        judge.add(field, text);
    }
}
