//! This service's tables. Owns keys and indexes; decides nothing.

use mms_store::{Index, Schema, Table};

use crate::job::JobState;
use crate::record;
use crate::task::TaskState;

/// (data source, job)
pub type JobKey = (String, String);
/// (data source, job, source schema, source table)
pub type TableKey = (String, String, String, String);
/// (data source, job, number)
pub type TaskKey = (String, String, u32);
/// (data source, job, (source schema, source table), unit, chunk): a piece of the files of one unit.
pub type ChunkKey = (String, String, (String, String), u32, u32);
/// (task key, sequence)
pub type LogKey = (String, String, u32, u64);
/// (target table's key, partition text): one target unit.
pub type UnitKey = (String, String);

pub static JOBS: Table<JobKey, record::Job> = Table::new("jobs", 1).indexed(&[&LIVE_JOBS]);
/// Jobs that are not at rest, in the order in which their tasks go: deadline, then priority, then age.
pub static LIVE_JOBS: Index<(i64, i64, i64), JobKey, record::Job> = Index::new("live", |_, job| {
    let live = JobState::of(job).is_some_and(JobState::is_live);
    let deadline = if job.spec.deadline_ms == 0 { i64::MAX } else { job.spec.deadline_ms };
    if live { vec![(deadline, -i64::from(job.spec.priority), job.create_time_ms)] } else { Vec::new() }
});

pub static JOB_TABLES: Table<TableKey, record::JobTable> = Table::new("job_tables", 1);

pub static TASKS: Table<TaskKey, record::Task> = Table::new("tasks", 1).indexed(&[&READY_TASKS, &LEASED_TASKS]);
/// Tasks that could be leased if their job runs and their retry time has come.
pub static READY_TASKS: Index<TaskKey, TaskKey, record::Task> = Index::new("ready", |key, task| {
    let ready = !task.leased() && !task.blocked && TaskState::of(task).is_some_and(TaskState::is_ready);
    if ready { vec![key.clone()] } else { Vec::new() }
});
/// Tasks that somebody holds.
pub static LEASED_TASKS: Index<TaskKey, TaskKey, record::Task> =
    Index::new("leased", |key, task| if task.leased() { vec![key.clone()] } else { Vec::new() });

pub static MANIFESTS: Table<ChunkKey, record::ManifestChunk> = Table::new("manifests", 1);
pub static LOGS: Table<LogKey, record::Log> = Table::new("logs", 1);
pub static UNITS: Table<UnitKey, record::UnitClaim> = Table::new("units", 1);
/// Open intents by their id; a resolved one is removed with its claim.
pub static INTENTS: Table<String, record::Intent> = Table::new("intents", 1).indexed(&[&REPLACEMENTS]);
/// Open intents that replace a whole target table, by the table's key.
pub static REPLACEMENTS: Index<String, String, record::Intent> =
    Index::new("replacements", |_, intent| if intent.replaces() { vec![intent.target.key()] } else { Vec::new() });
/// By target unit: the last commit that was applied.
pub static LINEAGE: Table<UnitKey, record::Lineage> = Table::new("lineage", 1);
pub static WORKERS: Table<String, record::Worker> = Table::new("workers", 1);
/// What the catalog is still to be told, by sequence.
pub static NOTICES: Table<u64, record::Notice> = Table::new("notices", 1);
pub static REQUESTS: Table<(String, String), record::Request> = Table::new("requests", 1);

/// The schema of this service's store.
pub fn schema() -> Schema {
    Schema::new("scheduler")
}
