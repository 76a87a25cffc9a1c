//! Lines of task logs.

use mms_proto::scheduler::v1::LogLevel;
use mms_store::Known;

use super::task_state::{Step, TaskState};

/// One line of a task's log.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Log {
    #[prost(int64, tag = "1")]
    pub time_ms: i64,
    #[prost(int32, tag = "2")]
    pub attempt: i32,
    #[prost(string, tag = "3")]
    pub worker: String,
    #[prost(message, required, tag = "4")]
    pub state: Known<TaskState>,
    #[prost(string, tag = "5")]
    pub message: String,
    /// The step that the task was in.
    #[prost(message, optional, tag = "6")]
    pub step: Option<Known<Step>>,
    #[prost(message, required, tag = "7")]
    pub level: Known<LogLevel>,
}
