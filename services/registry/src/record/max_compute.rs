//! The target of a data source: its MaxCompute project.

/// How to connect to the project, and which other projects tables may go to.
#[derive(Clone, PartialEq, prost::Message)]
pub struct MaxCompute {
    #[prost(string, tag = "1")]
    pub endpoint: String,
    #[prost(string, tag = "2")]
    pub region: String,
    #[prost(string, tag = "3")]
    pub tunnel_endpoint: String,
    #[prost(oneof = "Account", tags = "4, 5")]
    pub account: Option<Account>,
    #[prost(string, tag = "6")]
    pub default_project: String,
    #[prost(string, repeated, tag = "7")]
    pub projects: Vec<String>,
    #[prost(string, tag = "8")]
    pub job_project: String,
    #[prost(string, tag = "9")]
    pub tunnel_quota: String,
    #[prost(string, tag = "10")]
    pub compute_quota: String,
    #[prost(int32, tag = "11")]
    pub namespace_model: i32,
    /// Whether the access key has a security token.
    #[prost(bool, tag = "12")]
    pub security_token: bool,
}

/// The account in MaxCompute; its secret is sealed elsewhere.
#[derive(Clone, PartialEq, Eq, prost::Oneof)]
pub enum Account {
    /// The id of an access key.
    #[prost(string, tag = "4")]
    AccessKey(String),
    #[prost(bool, tag = "5")]
    BearerToken(bool),
}
