//! Request ids that were answered.

/// A request id that was answered.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Request {
    /// Digest of the request's content.
    #[prost(bytes = "vec", tag = "1")]
    pub digest: Vec<u8>,
    /// The resource it made or started.
    #[prost(string, tag = "2")]
    pub resource: String,
    #[prost(int64, tag = "3")]
    pub time_ms: i64,
    /// The uid of the job: its name may be used again.
    #[prost(string, tag = "4")]
    pub uid: String,
}
