//! What this service keeps: its own prost messages, never those of the contract, so that the contract and the disk can
//! change apart from each other. Shapes only; the decisions stand in [`crate::job`], [`crate::task`] and [`crate::commit`].

mod job;
mod plan;
mod task;
mod worker;

pub use job::{Counts, Job, JobTable, Reason, SourceTable, Spec, TableOptions};
pub use plan::{
    Column, ColumnStatistics, Deletion, DeltaTable, FileStatistics, Finding, ManifestChunk, PartitionValue, SourceFile,
    Target, TargetName, Version,
};
pub use task::{Check, Log, Sample, Task, Unit, Verification};
pub use worker::{Intent, IntentUnit, Lineage, Notice, Request, Sequence, TableClaim, UnitClaim, Worker};
