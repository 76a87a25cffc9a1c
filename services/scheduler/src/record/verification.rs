//! Results of verifications.

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

/// A row that differs between source and target.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Sample {
    #[prost(string, tag = "1")]
    pub row: String,
    #[prost(string, optional, tag = "2")]
    pub source_value: Option<String>,
    #[prost(string, optional, tag = "3")]
    pub target_value: Option<String>,
}

/// The summary of a task's last verification. Its checks are stored beside the task.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Verification {
    #[prost(message, required, tag = "1")]
    pub level: Known<VerificationLevel>,
    #[prost(message, required, tag = "3")]
    pub verdict: Known<Verdict>,
    /// Checks that were made, including those that were not stored.
    #[prost(int64, tag = "4")]
    pub checks_total: i64,
    #[prost(int64, tag = "5")]
    pub checks_different: i64,
    #[prost(int64, tag = "6")]
    pub checks_unknown: i64,
    /// Checks that are stored.
    #[prost(uint32, tag = "8")]
    pub checks_kept: u32,
    /// Rows counted at the target; None unless all units were counted.
    #[prost(int64, optional, tag = "7")]
    pub target_rows: Option<i64>,
}
