//! Commit intents. What is stored is open: an intent that is resolved goes away, and [`Intent::resolve`] says once what
//! follows from its outcome. Pure: no store.

use mms_proto::scheduler::v1::CommitOutcome;

use super::at_target::Identity;
use super::target::{PartitionValue, TargetName};
use crate::key::{JobKey, TaskKey};

/// One unit that an intent publishes.
#[derive(Clone, PartialEq, prost::Message)]
pub struct IntentUnit {
    #[prost(int32, tag = "1")]
    pub unit_index: i32,
    #[prost(message, repeated, tag = "2")]
    pub partition: Vec<PartitionValue>,
    #[prost(int64, tag = "3")]
    pub rows: i64,
    #[prost(int64, tag = "4")]
    pub bytes: i64,
}

/// A session of the tunnel.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct TunnelCommit {
    #[prost(string, tag = "1")]
    pub session_id: String,
    #[prost(int64, repeated, tag = "2")]
    pub block_ids: Vec<i64>,
}

/// A session of the Storage API.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct StorageCommit {
    #[prost(string, tag = "1")]
    pub session_id: String,
    #[prost(string, repeated, tag = "2")]
    pub commit_messages: Vec<String>,
}

/// A statement.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SqlCommit {
    #[prost(string, tag = "1")]
    pub instance_key: String,
    #[prost(message, optional, tag = "2")]
    pub staging: Option<TargetName>,
}

/// The drop of the target table, to be made anew, or of some partitions of it.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Replacement {
    #[prost(string, tag = "1")]
    pub instance_key: String,
    /// Empty: the whole table.
    #[prost(message, repeated, tag = "2")]
    pub partitions: Vec<DroppedPartition>,
}

/// A partition that is dropped.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct DroppedPartition {
    #[prost(message, repeated, tag = "1")]
    pub values: Vec<PartitionValue>,
}

/// What is committed.
#[derive(Clone, PartialEq, Eq, prost::Oneof)]
pub enum Commit {
    #[prost(message, tag = "10")]
    Tunnel(TunnelCommit),
    #[prost(message, tag = "11")]
    Storage(StorageCommit),
    #[prost(message, tag = "12")]
    Sql(SqlCommit),
    #[prost(message, tag = "13")]
    Replace(Replacement),
}

/// A commit intent. It outlives its job: an open one is dropped only when it is resolved.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Intent {
    #[prost(string, tag = "1")]
    pub data_source: String,
    #[prost(string, tag = "2")]
    pub job: String,
    /// Number of the task.
    #[prost(uint32, tag = "3")]
    pub task: u32,
    /// Uid of the job, so that a later job of the same id is not taken for it.
    #[prost(string, tag = "4")]
    pub job_uid: String,
    #[prost(message, required, tag = "5")]
    pub target: TargetName,
    #[prost(message, repeated, tag = "6")]
    pub units: Vec<IntentUnit>,
    #[prost(int64, tag = "7")]
    pub begin_time_ms: i64,
    #[prost(oneof = "Commit", tags = "10, 11, 12, 13")]
    pub commit: Option<Commit>,
    /// The table that the session was made in.
    #[prost(message, optional, tag = "8")]
    pub identity: Option<Identity>,
    /// Its generation. What is published counts in no other.
    #[prost(uint64, tag = "9")]
    pub generation: u64,
    /// When a lease last began or ended whose holder may send its statement; 0: that of whoever began it.
    #[prost(int64, tag = "14")]
    pub handed_ms: i64,
}

/// What follows from the outcome of an intent.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Its units are published.
    Published(Box<Intent>),
    /// Nothing of its table is there any more, or of these partitions of it, if any are named.
    Dropped(TargetName, Vec<DroppedPartition>),
    /// Nothing was done.
    Nothing,
}

impl Intent {
    /// The same, opened by a task of a job.
    pub fn of(self, task: &TaskKey, job_uid: &str, begin_time_ms: i64) -> Self {
        Self {
            data_source: task.job.data_source.clone(),
            job: task.job.job.clone(),
            task: task.number,
            job_uid: job_uid.to_owned(),
            begin_time_ms,
            ..self
        }
    }

    /// The key of the task that opened it.
    pub fn task_key(&self) -> TaskKey {
        let job = JobKey { data_source: self.data_source.clone(), job: self.job.clone() };
        TaskKey { job, number: self.task }
    }

    /// Whether it replaces the whole table, and so covers all its units.
    pub fn replaces(&self) -> bool {
        matches!(self.commit, Some(Commit::Replace(_)))
    }

    /// Whether it drops the table itself.
    pub fn drops_table(&self) -> bool {
        matches!(&self.commit, Some(Commit::Replace(replaced)) if replaced.partitions.is_empty())
    }

    /// It is over: what follows.
    pub fn resolve(self, outcome: CommitOutcome) -> Effect {
        match outcome {
            CommitOutcome::Committed => match self.commit {
                Some(Commit::Replace(replaced)) => Effect::Dropped(self.target, replaced.partitions),
                _ => Effect::Published(Box::new(self)),
            },
            _ => Effect::Nothing,
        }
    }
}
