//! Registered workers.

use mms_proto::scheduler::v1::{Engine, TaskRole};
use mms_proto::types::v1::{ReadPath, TargetKind};
use mms_store::Known;

use super::task_state::Step;

/// A registered worker.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Worker {
    #[prost(string, tag = "1")]
    pub instance: String,
    #[prost(string, tag = "2")]
    pub pool: String,
    #[prost(int32, tag = "3")]
    pub slots: i32,
    /// Steps, read paths and target kinds that it supports, as far as this version knows them.
    #[prost(message, repeated, tag = "4")]
    pub steps: Vec<Known<Step>>,
    #[prost(message, repeated, tag = "5")]
    pub read_paths: Vec<Known<ReadPath>>,
    #[prost(message, repeated, tag = "6")]
    pub target_kinds: Vec<Known<TargetKind>>,
    #[prost(string, repeated, tag = "7")]
    pub reader_features: Vec<String>,
    #[prost(message, required, tag = "8")]
    pub engine: Known<Engine>,
    #[prost(string, tag = "9")]
    pub endpoint: String,
    #[prost(int64, tag = "10")]
    pub seen_time_ms: i64,
    /// Roles in a group of tasks that it can take; empty for SINGLE only.
    #[prost(message, repeated, tag = "11")]
    pub roles: Vec<Known<TaskRole>>,
    /// Given at its first registration.
    #[prost(string, tag = "12")]
    pub uid: String,
}
