//! The records that this service stores: its own prost messages, never those of the contract, so that contract and disk
//! format can change independently. Records with states ([`Job`], [`JobTable`], [`Task`], [`UnitClaim`]) are readable
//! by all, but change only by their `apply(event)`, and only a record's own file decides what follows from an event. An
//! [`Intent`] is resolved once. Knows neither the store nor who raises events.

mod at_target;
mod breaker;
mod claim;
mod counts;
mod delta;
mod denial;
mod intent;
mod job;
mod job_state;
mod lease;
mod lineage;
mod log;
mod manifest;
mod notice;
mod reason;
mod source_use;
mod spec;
mod table;
mod target;
mod task;
mod task_event;
mod task_state;
mod timer;
mod timer_run;
mod unit;
mod verification;
mod worker;

pub use at_target::{AtTarget, Identity, TargetEvent};
pub use breaker::BreakerBounds;
pub use claim::{ClaimEvent, Owner, TableClaim, UnitClaim};
pub use counts::Counts;
pub use delta::{TaskDelta, counts_of, flip};
pub use denial::Denial;
pub use intent::{
    Commit, DroppedPartition, Effect, Intent, IntentUnit, Replacement, SqlCommit, StorageCommit, TunnelCommit,
};
pub use job::{Asked, Job};
pub use job_state::{Change, JobEvent, JobState, WrongState};
pub use lease::{Epoch, Holder, LeaseEnd};
pub use lineage::Lineage;
pub use log::Log;
pub use manifest::{ColumnStatistics, Deletion, FileStatistics, ManifestChunk, SourceFile};
pub use notice::{Notice, Sequence};
pub use reason::{NotTaken, Reason};
pub use source_use::SourceUse;
pub use spec::{Concurrency, Limits, PartitionsOf, Rate, SourceTable, Spec, SpecChange, TableBound, TableOptions};
pub use table::{JobTable, TableEvent, TablePlan};
pub use target::{Column, DeltaTable, Finding, PartitionValue, Target, TargetName, Version, partition_text};
pub use task::{Task, TaskPlan};
pub use task_event::TaskEvent;
#[cfg(test)]
pub use task_state::EXPIRIES_MAX;
pub use task_state::{Step, TaskState, backoff};
pub use timer::{Timer, TimerEvent, Told};
pub use timer_run::{RunEvent, TimerRun};
pub use unit::Unit;
pub use verification::{Check, Sample, Verification};
pub use worker::Worker;
