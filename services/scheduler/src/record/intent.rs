//! Commit intents. A stored intent is open; when it is resolved it is deleted, and [`Intent::resolve`] says once what
//! follows from its outcome. Pure.

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

/// The commit of a tunnel session.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct TunnelCommit {
    #[prost(string, tag = "1")]
    pub session_id: String,
    #[prost(int64, repeated, tag = "2")]
    pub block_ids: Vec<i64>,
}

/// The commit of a Storage API session.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct StorageCommit {
    #[prost(string, tag = "1")]
    pub session_id: String,
    #[prost(string, repeated, tag = "2")]
    pub commit_messages: Vec<String>,
}

/// The commit by a SQL statement.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SqlCommit {
    #[prost(string, tag = "1")]
    pub instance_key: String,
    #[prost(message, optional, tag = "2")]
    pub staging: Option<TargetName>,
}

/// The drop of the target table, which is then recreated, or of some of its partitions.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Replacement {
    #[prost(string, tag = "1")]
    pub instance_key: String,
    /// Empty for the whole table.
    #[prost(message, repeated, tag = "2")]
    pub partitions: Vec<DroppedPartition>,
}

/// A partition that is dropped.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct DroppedPartition {
    #[prost(message, repeated, tag = "1")]
    pub values: Vec<PartitionValue>,
}

/// What the worker commits at the target.
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

/// A commit intent. It outlives its job: an open one is deleted only when it is resolved.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Intent {
    #[prost(string, tag = "1")]
    pub data_source: String,
    #[prost(string, tag = "2")]
    pub job: String,
    /// Number of the task.
    #[prost(uint32, tag = "3")]
    pub task: u32,
    /// Uid of the job, so that a later job with the same id is not taken for it.
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
    /// The table that the session was opened in.
    #[prost(message, optional, tag = "8")]
    pub identity: Option<Identity>,
    /// The generation of that table. What is published counts in no other.
    #[prost(uint64, tag = "9")]
    pub generation: u64,
    /// When a lease last began or ended whose holder may send the intent's statement; 0 if only the one that began the
    /// intent may.
    #[prost(int64, tag = "14")]
    pub handed_ms: i64,
}

/// What follows from the outcome of an intent.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Its units are published.
    Published(Box<Intent>),
    /// The table was dropped, or only the named partitions of it.
    Dropped(TargetName, Vec<DroppedPartition>),
    /// Nothing was committed.
    Nothing,
}

impl Intent {
    /// Fills in the task that opens the intent, its job and the time.
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

    /// Whether it drops rows of the table, and so covers all units of it.
    pub fn replaces(&self) -> bool {
        matches!(self.commit, Some(Commit::Replace(_)))
    }

    /// Whether it drops the table itself.
    pub fn drops_table(&self) -> bool {
        matches!(&self.commit, Some(Commit::Replace(replaced)) if replaced.partitions.is_empty())
    }

    /// Resolves the intent. Returns what follows from its outcome.
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
