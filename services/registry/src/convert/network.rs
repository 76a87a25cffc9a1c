//! Converts network connections.

use mms_proto::registry::v1 as pb;
use mms_proto::time::timestamp;

use super::value::etag;
use crate::record::NetworkConnection;

/// Puts the configuration into a record; its other fields stay.
pub fn network_from(record: &mut NetworkConnection, network: pb::NetworkConnection) {
    record.display_name = network.display_name;
    record.proxy_url = network.proxy_url;
    record.ca_certificates_pem = network.ca_certificates_pem;
    record.client_certificate_pem = network.client_certificate_pem;
    record.host_overrides = network.host_overrides.into_iter().collect();
    record.allowed_hosts = network.allowed_hosts;
    record.plain_http_hosts = network.plain_http_hosts;
}

/// The network connection as callers see it, without secrets.
pub fn network_to(id: &str, record: &NetworkConnection) -> pb::NetworkConnection {
    let record = record.clone();
    pb::NetworkConnection {
        name: format!("networkConnections/{id}"),
        uid: record.uid,
        display_name: record.display_name,
        etag: etag(record.revision),
        create_time: timestamp(record.create_ms),
        update_time: timestamp(record.update_ms),
        proxy_url: record.proxy_url,
        ca_certificates_pem: record.ca_certificates_pem,
        client_certificate_pem: record.client_certificate_pem,
        host_overrides: record.host_overrides.into_iter().collect(),
        allowed_hosts: record.allowed_hosts,
        proxy_authorization_is_set: record.proxy_authorization,
        client_key_is_set: record.client_key,
        plain_http_hosts: record.plain_http_hosts,
        ..pb::NetworkConnection::default()
    }
}
