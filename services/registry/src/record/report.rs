//! The record of a check.

/// The report of a finished check.
#[derive(Clone, PartialEq, prost::Message)]
pub struct CheckReport {
    #[prost(message, repeated, tag = "1")]
    pub steps: Vec<CheckStep>,
    #[prost(int32, tag = "2")]
    pub state: i32,
    #[prost(int64, tag = "3")]
    pub end_ms: i64,
}

/// A step of a check.
#[derive(Clone, PartialEq, prost::Message)]
pub struct CheckStep {
    /// The number of the contract's CheckStepId.
    #[prost(int32, tag = "6")]
    pub id: i32,
    #[prost(string, tag = "7")]
    pub subject: String,
    #[prost(int32, tag = "2")]
    pub state: i32,
    #[prost(string, tag = "3")]
    pub message: String,
    #[prost(string, tag = "4")]
    pub remedy: String,
    #[prost(int64, tag = "5")]
    pub duration_ms: i64,
}
