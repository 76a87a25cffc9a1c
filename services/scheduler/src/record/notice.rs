//! Notices: migration reports that are still to be delivered to the catalog.

use mms_proto::types::v1::MigrationState;
use mms_store::Known;

use super::target::{TargetName, Version};

/// The number of the newest notice.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Sequence {
    #[prost(uint64, tag = "1")]
    pub last: u64,
}

/// A migration report that the catalog is to get.
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
    /// Digest of the whole target table, as the job's LOOK step saw it. Empty if the job did not look.
    #[prost(bytes = "vec", tag = "7")]
    pub target_digest: Vec<u8>,
    /// The job moves only some of the table's partitions.
    #[prost(bool, tag = "8")]
    pub of_part: bool,
    /// With the digest of the target: by which rules its rows were made.
    #[prost(bytes = "vec", tag = "9")]
    pub rules_digest: Vec<u8>,
}
