//! What the catalog is to be told.

use mms_proto::types::v1::MigrationState;
use mms_store::Known;

use super::target::{TargetName, Version};

/// The last number that was given out.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Sequence {
    #[prost(uint64, tag = "1")]
    pub last: u64,
}

/// Something the catalog is to be told.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Notice {
    #[prost(string, tag = "1")]
    pub task: String,
    #[prost(string, tag = "2")]
    pub table: String,
    #[prost(string, repeated, tag = "3")]
    pub partitions: Vec<String>,
    #[prost(message, required, tag = "4")]
    pub state: Known<MigrationState>,
    #[prost(message, optional, tag = "5")]
    pub version: Option<Version>,
    #[prost(message, optional, tag = "6")]
    pub target: Option<TargetName>,
    /// Of the whole target table, as the job looked at it. Empty: it did not.
    #[prost(bytes = "vec", tag = "7")]
    pub target_digest: Vec<u8>,
    /// Its job moves only some of the table's partitions.
    #[prost(bool, tag = "8")]
    pub of_part: bool,
    /// With the digest of the target: by which rules its rows were made.
    #[prost(bytes = "vec", tag = "9")]
    pub rules_digest: Vec<u8>,
}
