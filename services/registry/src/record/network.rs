//! The record of a network connection.

use std::collections::BTreeMap;

/// Egress settings without their secrets.
#[derive(Clone, PartialEq, prost::Message)]
pub struct NetworkConnection {
    #[prost(string, tag = "1")]
    pub display_name: String,
    #[prost(int64, tag = "2")]
    pub create_ms: i64,
    #[prost(int64, tag = "3")]
    pub update_ms: i64,
    /// The revision of the last change, from which the etag is made.
    #[prost(uint64, tag = "4")]
    pub revision: u64,
    #[prost(string, tag = "5")]
    pub proxy_url: String,
    #[prost(string, tag = "6")]
    pub ca_certificates_pem: String,
    #[prost(string, tag = "7")]
    pub client_certificate_pem: String,
    #[prost(btree_map = "string, string", tag = "8")]
    pub host_overrides: BTreeMap<String, String>,
    #[prost(string, repeated, tag = "9")]
    pub allowed_hosts: Vec<String>,
    #[prost(string, tag = "10")]
    pub uid: String,
    /// Whether a user and password for the proxy are stored.
    #[prost(bool, tag = "11")]
    pub proxy_authorization: bool,
    /// Whether a key of the client certificate is stored.
    #[prost(bool, tag = "12")]
    pub client_key: bool,
    #[prost(string, repeated, tag = "13")]
    pub plain_http_hosts: Vec<String>,
}
