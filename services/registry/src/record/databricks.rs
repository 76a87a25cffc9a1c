//! The source of a data source: its Databricks workspace and storage.

/// How to connect to the workspace, and to the storage of its tables.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Databricks {
    #[prost(string, tag = "1")]
    pub workspace_url: String,
    #[prost(string, tag = "2")]
    pub catalog: String,
    #[prost(string, tag = "3")]
    pub cluster_id: String,
    #[prost(int32, tag = "4")]
    pub read_path: i32,
    #[prost(string, tag = "5")]
    pub jdbc_url: String,
    #[prost(oneof = "WorkspaceAuth", tags = "6, 7")]
    pub auth: Option<WorkspaceAuth>,
    #[prost(message, repeated, tag = "12")]
    pub storage: Vec<Storage>,
}

/// How the files below a location prefix are read.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Storage {
    /// Empty: all locations.
    #[prost(string, tag = "1")]
    pub location_prefix: String,
    #[prost(oneof = "StorageAccess", tags = "8, 9, 10, 11")]
    pub access: Option<StorageAccess>,
}

/// How to authenticate to the workspace; the secret itself is sealed elsewhere.
#[derive(Clone, PartialEq, Eq, prost::Oneof)]
pub enum WorkspaceAuth {
    /// A personal access token is set.
    #[prost(bool, tag = "6")]
    AccessToken(bool),
    /// The id of an OAuth client.
    #[prost(string, tag = "7")]
    ClientCredentials(String),
}

/// How to authenticate to the storage; the secret itself is sealed elsewhere.
#[derive(Clone, PartialEq, Eq, prost::Oneof)]
pub enum StorageAccess {
    /// A shared access signature: its expiry in milliseconds since 1970, 0 when it names none.
    #[prost(int64, tag = "8")]
    Sas(i64),
    #[prost(message, tag = "9")]
    ServicePrincipal(ServicePrincipal),
    #[prost(bool, tag = "10")]
    Vended(bool),
    /// The folder that contains all tables.
    #[prost(string, tag = "11")]
    LocalFiles(String),
}

/// An Azure service principal, without its secret.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ServicePrincipal {
    #[prost(string, tag = "1")]
    pub tenant_id: String,
    #[prost(string, tag = "2")]
    pub client_id: String,
    #[prost(string, tag = "3")]
    pub authority_host: String,
}
