//! What verifications found.

use mms_proto::types::v1::{ValueOrigin, Verdict, VerificationKind, VerificationLevel};
use mms_store::Known;

/// One check of the last verification of a task.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Check {
    #[prost(int32, tag = "1")]
    pub unit_index: i32,
    #[prost(message, required, tag = "6")]
    pub kind: Known<VerificationKind>,
    #[prost(string, tag = "7")]
    pub column: String,
    #[prost(string, optional, tag = "8")]
    pub source_value: Option<String>,
    #[prost(message, required, tag = "9")]
    pub source_origin: Known<ValueOrigin>,
    #[prost(string, optional, tag = "10")]
    pub target_value: Option<String>,
    #[prost(message, required, tag = "5")]
    pub verdict: Known<Verdict>,
    #[prost(message, repeated, tag = "11")]
    pub samples: Vec<Sample>,
}

/// A row that differs.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Sample {
    #[prost(string, tag = "1")]
    pub row: String,
    #[prost(string, optional, tag = "2")]
    pub source_value: Option<String>,
    #[prost(string, optional, tag = "3")]
    pub target_value: Option<String>,
}

/// What the last verification came to; its checks are kept beside the task.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Verification {
    #[prost(message, required, tag = "1")]
    pub level: Known<VerificationLevel>,
    #[prost(message, required, tag = "3")]
    pub verdict: Known<Verdict>,
    /// Checks that were made, those that are not kept included.
    #[prost(int64, tag = "4")]
    pub checks_total: i64,
    #[prost(int64, tag = "5")]
    pub checks_different: i64,
    #[prost(int64, tag = "6")]
    pub checks_unknown: i64,
    /// Checks that are kept.
    #[prost(uint32, tag = "8")]
    pub checks_kept: u32,
    /// Rows that were counted at the target, if all units were.
    #[prost(int64, optional, tag = "7")]
    pub target_rows: Option<i64>,
}
