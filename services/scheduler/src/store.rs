//! This service's tables and indexes: their keys, records and names on disk. Decides nothing.

use mms_server::requests;
use mms_store::{Index, Schema, StoreError, Table, Tx};

use crate::key::{
    ChangedKey, CheckKey, ChunkKey, DataSourceKey, DueKey, EndedKey, JobKey, LiveKey, LogKey, RunKey, TableClaimKey,
    TableKey, TargetKey, TaskKey, TimerKey, UnitKey,
};
use crate::record;

pub static JOBS: Table<JobKey, record::Job> = Table::new("jobs", 1)
    .indexed(&[&LIVE_JOBS, &OPEN_JOBS, &ENDED_JOBS])
    .classed(|job| job.state.number().unsigned_abs());
/// Jobs that are planned or dispatched, in the order in which tasks are leased.
pub static LIVE_JOBS: Index<LiveKey, JobKey, record::Job> = Index::new("live", |_, job| {
    let spec = job.spec();
    let live = LiveKey {
        deadline_ms: if spec.deadline_ms == 0 { i64::MAX } else { spec.deadline_ms },
        rank: -i64::from(spec.priority),
        create_time_ms: job.asked().create_time_ms,
    };
    if job.state.is_live() { vec![live] } else { Vec::new() }
});
/// Jobs that are not at rest: they have not ended, or a change is under way. They hold their data source.
pub static OPEN_JOBS: Index<JobKey, JobKey, record::Job> =
    Index::new("open", |key, job| if job.is_at_rest() { Vec::new() } else { vec![key.clone()] });
/// Jobs at rest.
pub static ENDED_JOBS: Index<EndedKey, JobKey, record::Job> = Index::new("ended", |_, job| {
    let ended = EndedKey { logs_dropped: job.logs_dropped, end_time_ms: job.end_time_ms };
    if job.is_at_rest() { vec![ended] } else { Vec::new() }
});

pub static JOB_TABLES: Table<TableKey, record::JobTable> =
    Table::new("job_tables", 1).indexed(&[&CHANGED_TABLES, &UNTOLD_TABLES]);
pub static CHANGED_TABLES: Index<ChangedKey, TableKey, record::JobTable> =
    Index::new("changed", |key, table| vec![ChangedKey { job: key.job.clone(), revision: table.revision }]);
/// Tables with tasks that are still to be told the outcome of the task that makes the table.
pub static UNTOLD_TABLES: Index<TableKey, TableKey, record::JobTable> =
    Index::new("untold", |key, table| if table.untold { vec![key.clone()] } else { Vec::new() });

pub static TASKS: Table<TaskKey, record::Task> = Table::new("tasks", 1)
    .indexed(&[&READY_TASKS, &LOOKS, &LEASED_TASKS, &DOING_TASKS])
    .classed(|task| task.state.number().unsigned_abs());
/// Tasks that can be leased once their job runs and their retry time has come.
pub static READY_TASKS: Index<TaskKey, TaskKey, record::Task> =
    Index::new("ready", |key, task| if task.is_ready() { vec![key.clone()] } else { Vec::new() });
/// Tasks with only their LOOK step left, which can be leased once every other task of their job has ended.
pub static LOOKS: Index<TaskKey, TaskKey, record::Task> =
    Index::new("looks", |key, task| if task.is_ready_to_look() { vec![key.clone()] } else { Vec::new() });
/// Leased tasks.
pub static LEASED_TASKS: Index<TaskKey, TaskKey, record::Task> =
    Index::new("leased", |key, task| if task.leased() { vec![key.clone()] } else { Vec::new() });
/// Tasks that the catalog was told are being worked on.
pub static DOING_TASKS: Index<TaskKey, TaskKey, record::Task> =
    Index::new("doing", |key, task| if task.is_at_work() { vec![key.clone()] } else { Vec::new() });

pub static MANIFESTS: Table<ChunkKey, record::ManifestChunk> = Table::new("manifests", 1);
pub static LOGS: Table<LogKey, record::Log> = Table::new("logs", 1);
/// The checks of the last verification of each task.
pub static CHECKS: Table<CheckKey, record::Check> = Table::new("checks", 1);
/// What is known of target tables that jobs have written to.
pub static TARGETS: Table<TargetKey, record::AtTarget> = Table::new("targets", 1).indexed(&[&STALE_TARGETS]);
/// Targets with tasks of live jobs that may still count rows of an earlier generation.
pub static STALE_TARGETS: Index<TargetKey, TargetKey, record::AtTarget> =
    Index::new("stale", |key, at| if at.is_stale() { vec![key.clone()] } else { Vec::new() });
pub static UNITS: Table<UnitKey, record::UnitClaim> = Table::new("units", 1);
pub static TABLE_CLAIMS: Table<TableClaimKey, record::TableClaim> = Table::new("table_claims", 1);
/// Open intents by id. A resolved one is deleted with its claims.
pub static INTENTS: Table<String, record::Intent> = Table::new("intents", 1).indexed(&[&REPLACEMENTS]);
/// Open intents that drop a target table or partitions of it.
pub static REPLACEMENTS: Index<TargetKey, String, record::Intent> =
    Index::new("replacements", |_, intent| if intent.replaces() { vec![intent.target.key()] } else { Vec::new() });
/// By target unit: the last commit that was published.
pub static LINEAGE: Table<UnitKey, record::Lineage> = Table::new("lineage", 1);
/// By worker id.
pub static WORKERS: Table<String, record::Worker> = Table::new("workers", 1);
/// Notices that are to be delivered to the catalog, by sequence number.
pub static NOTICES: Table<u64, record::Notice> = Table::new("notices", 1);
/// The last sequence number of a notice.
pub static NOTICE_SEQUENCE: Table<(), record::Sequence> = Table::new("notice_sequence", 1);
/// Uses of data sources that jobs hold at the registry: from a job's first commit until it is at rest and the use is
/// released.
pub static SOURCE_USES: Table<JobKey, record::SourceUse> = Table::new("source_uses", 1);

/// Data sources whose credential was refused while open jobs used them.
pub static DENIALS: Table<DataSourceKey, record::Denial> = Table::new("denials", 1);

pub static TIMERS: Table<TimerKey, record::Timer> = Table::new("timers", 1).indexed(&[&DUE_TIMERS, &WAITING_TIMERS]);
/// Timers that run by themselves, by their next time.
pub static DUE_TIMERS: Index<DueKey, TimerKey, record::Timer> = Index::new("due", |_, timer| {
    let due = DueKey { next_time_ms: timer.next_time_ms };
    if timer.next_time_ms == 0 { Vec::new() } else { vec![due] }
});
/// Timers with a run that waits.
pub static WAITING_TIMERS: Index<TimerKey, TimerKey, record::Timer> =
    Index::new("waiting", |key, timer| if timer.waiting.is_some() { vec![key.clone()] } else { Vec::new() });
pub static TIMER_RUNS: Table<RunKey, record::TimerRun> = Table::new("timer_runs", 1);

/// Refuses a store that a version before 0.1.0 wrote.
fn too_old(_: &mut Tx<'_>) -> Result<(), StoreError> {
    let why = "the jobs were stored by a version before 0.1.0, in another form: start with an empty data folder; tables that older versions made are taken over by a job with target_policy ADOPT";
    Err(StoreError::OlderData { why })
}

/// The schema of this service's store.
pub fn schema() -> Schema {
    // One step for each schema version before 0.1.0; a store of any of them is refused.
    Schema::new("scheduler").migration(too_old).migration(too_old).migration(too_old).migration(requests::file)
}
