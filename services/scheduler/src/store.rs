//! This service's tables. Owns keys and indexes; decides nothing.

use mms_store::{Index, Schema, StoreError, Table, Tx};

use crate::change;
use crate::job::JobState;
use crate::notice;
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
/// (task key, number): a check of the last verification of a task.
pub type CheckKey = (String, String, u32, u32);
/// (target table's key, partition text): one target unit.
pub type UnitKey = (String, String);
/// (target table's key, data source, job)
pub type TableClaimKey = (String, String, String);

pub static JOBS: Table<JobKey, record::Job> = Table::new("jobs", 1).indexed(&[&LIVE_JOBS, &OPEN_JOBS, &ENDED_JOBS]);
/// Jobs that are not at rest, in the order in which their tasks go: deadline, then priority, then age.
pub static LIVE_JOBS: Index<(i64, i64, i64), JobKey, record::Job> = Index::new("live", |_, job| {
    let live = JobState::of(job).is_some_and(JobState::is_live);
    let deadline = if job.spec.deadline_ms == 0 { i64::MAX } else { job.spec.deadline_ms };
    if live { vec![(deadline, -i64::from(job.spec.priority), job.create_time_ms)] } else { Vec::new() }
});

/// Jobs that have not come to an end, or that a change is under way of: they hold their data source.
pub static OPEN_JOBS: Index<JobKey, JobKey, record::Job> = Index::new("open", |key, job| {
    let ended = JobState::of(job).is_none_or(JobState::is_ended) && change::of(job).is_none();
    if ended { Vec::new() } else { vec![key.clone()] }
});
/// Jobs that have, by whether their logs are gone (0 or 1) and by the time of their end.
pub static ENDED_JOBS: Index<(u32, i64), JobKey, record::Job> = Index::new("ended", |_, job| {
    let ended = JobState::of(job).is_some_and(JobState::is_ended) && change::of(job).is_none();
    if ended { vec![(u32::from(job.logs_dropped), job.end_time_ms)] } else { Vec::new() }
});

pub static JOB_TABLES: Table<TableKey, record::JobTable> = Table::new("job_tables", 1).indexed(&[&CHANGED_TABLES]);
/// (data source, job, revision of the last change)
pub static CHANGED_TABLES: Index<(String, String, u64), TableKey, record::JobTable> =
    Index::new("changed", |key, table| vec![(key.0.clone(), key.1.clone(), table.revision)]);

pub static TASKS: Table<TaskKey, record::Task> =
    Table::new("tasks", 1).indexed(&[&READY_TASKS, &LEASED_TASKS, &DOING_TASKS]);
/// Tasks that could be leased if their job runs and their retry time has come.
pub static READY_TASKS: Index<TaskKey, TaskKey, record::Task> = Index::new("ready", |key, task| {
    let ready = !task.leased() && !task.blocked && TaskState::of(task).is_some_and(TaskState::is_ready);
    if ready { vec![key.clone()] } else { Vec::new() }
});
/// Tasks that somebody holds.
pub static LEASED_TASKS: Index<TaskKey, TaskKey, record::Task> =
    Index::new("leased", |key, task| if task.leased() { vec![key.clone()] } else { Vec::new() });

/// Tasks that the catalog believes to be at work.
pub static DOING_TASKS: Index<TaskKey, TaskKey, record::Task> =
    Index::new("doing", |key, task| if notice::at_work(task) { vec![key.clone()] } else { Vec::new() });

pub static MANIFESTS: Table<ChunkKey, record::ManifestChunk> = Table::new("manifests", 1);
pub static LOGS: Table<LogKey, record::Log> = Table::new("logs", 1);
/// What the last verification of each task compared.
pub static CHECKS: Table<CheckKey, record::Check> = Table::new("checks", 1);
pub static UNITS: Table<UnitKey, record::UnitClaim> = Table::new("units", 1);
pub static TABLE_CLAIMS: Table<TableClaimKey, record::TableClaim> = Table::new("table_claims", 1);
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
/// The last sequence number of a notice, under 0.
pub static NOTICE_SEQUENCE: Table<u32, record::Sequence> = Table::new("notice_sequence", 1);
pub static REQUESTS: Table<(String, String), record::Request> = Table::new("requests", 1);

/// What a version before 0.1.0 wrote.
fn too_old(_: &mut Tx<'_>) -> Result<(), StoreError> {
    let why = "the jobs were stored by a version before 0.1.0, in another form: start with an empty data folder; tables that older versions made are taken over by a job with target_policy ADOPT";
    Err(StoreError::OlderData { why })
}

/// The schema of this service's store.
pub fn schema() -> Schema {
    // One refusal for each version that there was.
    Schema::new("scheduler").migration(too_old).migration(too_old)
}
