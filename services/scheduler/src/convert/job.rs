//! Jobs and their tables.

use mms_proto::FieldViolation;
use mms_proto::scheduler::v1 as pb;
use mms_proto::types::v1::{MigrationState, TargetPolicy, Verification, VerificationLevel};
use pb::job_spec::Scope;
use prost_types::Timestamp;

use super::plan::{finding_to, target_name_from, target_name_to, target_to, version_to};
use super::{duration, millis, time};
use crate::clock::Progress;
use crate::error::{Result, SchedulerError};
use crate::key;
use crate::record::{Job, JobTable, Reason, Spec};
use crate::store::{JobKey, TableKey};

/// Attempts of a task when the caller does not say.
const MAX_ATTEMPTS: i32 = 5;

pub fn reason_from(reason: pb::JobReason) -> Reason {
    Reason { reason: reason.reason, message: reason.message }
}

pub fn reason_to(reason: &Reason) -> pb::JobReason {
    pb::JobReason { reason: reason.reason.clone(), message: reason.message.clone() }
}

/// The spec of a request with defaults filled in; refuses what this version does not do yet.
pub fn job_from(spec: pb::JobSpec) -> Result<Spec> {
    not_yet(&spec)?;
    let mut own = Spec {
        content: or(spec.content, pb::MigrationContent::SchemaAndData as i32),
        verification_level: or(spec.verification.map_or(0, |v| v.level), VerificationLevel::RowCount as i32),
        target_policy: or(spec.target_policy, TargetPolicy::CreateOrOwn as i32),
        force: spec.force,
        deadline_ms: millis(spec.deadline),
        priority: spec.priority,
        pool: spec.pool,
        table_mapping: spec.table_mapping.into_iter().map(|(k, v)| (k, target_name_from(v))).collect(),
        column_mapping: spec.column_mapping.into_iter().collect(),
        max_concurrent_tasks: spec.max_concurrent_tasks,
        max_partitions_per_task: spec.max_partitions_per_task,
        max_bytes_per_task: spec.max_bytes_per_task,
        max_attempts: or(spec.max_attempts, MAX_ATTEMPTS),
        sql_parameters: spec.sql_parameters.into_iter().collect(),
        tunnel_quota: spec.tunnel_quota,
        ..Spec::default()
    };
    match spec.scope {
        Some(Scope::Schemas(schemas)) => {
            own.schemas = schemas.schemas;
            own.table_whitelist = schemas.table_whitelist;
            own.table_blacklist = schemas.table_blacklist;
        }
        Some(Scope::Tables(tables)) => {
            own.tables_scope = true;
            own.tables = tables.tables;
        }
        Some(Scope::Partitions(_)) => return Err(SchedulerError::NotYet("JobSpec.partitions")),
        None => {
            let field = FieldViolation::new("job.spec.schemas", "set one of schemas, tables or partitions");
            return Err(SchedulerError::Invalid(vec![field]));
        }
    }
    Ok(own)
}

fn or(given: i32, default: i32) -> i32 {
    if given == 0 { default } else { given }
}

fn not_yet(spec: &pb::JobSpec) -> Result<()> {
    let level = spec.verification.as_ref().map_or(VerificationLevel::Unspecified, Verification::level);
    let asked = [
        ("JobSpec.incremental", spec.incremental),
        ("JobSpec.engine SPARK", spec.engine() == pb::Engine::Spark),
        ("JobSpec.time_window", spec.time_window.is_some()),
        ("JobSpec.rate_limit", spec.rate_limit.is_some()),
        ("JobSpec.circuit_breaker", spec.circuit_breaker.is_some()),
        ("JobSpec.dropped_policy DROP", spec.dropped_policy() == pb::DroppedPolicy::Drop),
        ("JobSpec.content VERIFICATION_ONLY", spec.content() == pb::MigrationContent::VerificationOnly),
        (
            "Verification.level above ROW_COUNT",
            matches!(level, VerificationLevel::ColumnMetrics | VerificationLevel::RowHash),
        ),
    ];
    match asked.into_iter().find(|(_, asked)| *asked) {
        Some((feature, _)) => Err(SchedulerError::NotYet(feature)),
        None => Ok(()),
    }
}

fn spec_to(spec: &Spec) -> pb::JobSpec {
    let scope = if spec.tables_scope {
        Scope::Tables(pb::TablesScope { tables: spec.tables.clone() })
    } else {
        Scope::Schemas(pb::SchemasScope {
            schemas: spec.schemas.clone(),
            table_whitelist: spec.table_whitelist.clone(),
            table_blacklist: spec.table_blacklist.clone(),
        })
    };
    pb::JobSpec {
        scope: Some(scope),
        content: spec.content,
        verification: Some(Verification { level: spec.verification_level }),
        target_policy: spec.target_policy,
        force: spec.force,
        deadline: time(spec.deadline_ms),
        priority: spec.priority,
        engine: pb::Engine::BuiltIn as i32,
        pool: spec.pool.clone(),
        table_mapping: spec.table_mapping.iter().map(|(k, v)| (k.clone(), target_name_to(v))).collect(),
        column_mapping: spec.column_mapping.clone().into_iter().collect(),
        max_concurrent_tasks: spec.max_concurrent_tasks,
        max_partitions_per_task: spec.max_partitions_per_task,
        max_bytes_per_task: spec.max_bytes_per_task,
        max_attempts: spec.max_attempts,
        sql_parameters: spec.sql_parameters.clone().into_iter().collect(),
        tunnel_quota: spec.tunnel_quota.clone(),
        dropped_policy: pb::DroppedPolicy::Keep as i32,
        ..pb::JobSpec::default()
    }
}

/// A job as callers see it, with what its running tasks say of themselves and its present speed.
pub fn job_to(key: &JobKey, job: &Job, running: Progress, bytes_per_second: i64) -> pb::Job {
    let counts = &job.counts;
    let bytes_done = (counts.bytes_done + running.bytes).min(counts.bytes_total.max(counts.bytes_done));
    let left = counts.bytes_total - bytes_done;
    let time_left = (bytes_per_second > 0 && left > 0)
        .then(|| std::time::Duration::from_secs((left / bytes_per_second).unsigned_abs()))
        .and_then(duration);
    let progress = pb::JobProgress {
        tables_total: counts.tables_total,
        tables_planned: counts.tables_planned,
        tables_blocked: counts.tables_blocked,
        tables_done: counts.tables_done,
        tasks_total: counts.tasks_total,
        tasks_running: counts.tasks_running,
        tasks_done: counts.tasks_done,
        tasks_failed: counts.tasks_failed,
        rows_total: counts.rows_total,
        rows_done: counts.rows_done + running.rows,
        bytes_total: counts.bytes_total,
        bytes_done,
        bytes_per_second,
        time_left,
    };
    pb::Job {
        name: key::job_name(key),
        uid: job.uid.clone(),
        display_name: job.display_name.clone(),
        etag: job.revision.to_string(),
        spec: Some(spec_to(&job.spec)),
        state: job.state,
        reason: job.reason.as_ref().map(reason_to),
        progress: Some(progress),
        timer: String::new(),
        creator: job.creator.clone(),
        create_time: time(job.create_time_ms),
        start_time: time(job.start_time_ms),
        end_time: time(job.end_time_ms),
    }
}

/// A table of a job as callers see it. `halted`: the job was stopped.
pub fn job_table_to(key: &TableKey, table: &JobTable, running: Progress, halted: bool) -> Result<pb::JobTable> {
    let name = key::table_name(&key.0, &key.2, &key.3)?;
    let end_time: Option<Timestamp> = time(table.end_time_ms);
    Ok(pb::JobTable {
        decision: table.decision,
        decision_reason: table.decision_reason.clone(),
        version: table.version.as_ref().map(version_to),
        target: table.target.as_ref().map(target_to),
        findings: table.findings.iter().map(|finding| finding_to(finding, &name)).collect(),
        state: table_state(table, halted) as i32,
        reason: table.reason.as_ref().map(reason_to),
        task_count: table.task_count,
        unit_count: table.unit_count,
        source_rows: table.source_rows,
        target_rows: (table.verified && table.tasks_done == table.task_count).then_some(table.target_rows),
        source_bytes: table.source_bytes,
        bytes_done: table.bytes_done + running.bytes,
        rows_done: table.rows_done + running.rows,
        start_time: time(table.start_time_ms),
        end_time,
        table: name,
    })
}

fn table_state(table: &JobTable, halted: bool) -> MigrationState {
    match pb::TableDecision::try_from(table.decision).unwrap_or(pb::TableDecision::Unspecified) {
        pb::TableDecision::Blocked => MigrationState::Failed,
        pb::TableDecision::Unchanged => MigrationState::Done,
        pb::TableDecision::Move if !table.planned => MigrationState::Init,
        pb::TableDecision::Move if table.tasks_done == table.task_count => MigrationState::Done,
        pb::TableDecision::Move if table.tasks_done + table.tasks_failed == table.task_count => MigrationState::Failed,
        pb::TableDecision::Move if halted && table.tasks_done > 0 => MigrationState::PartDone,
        pb::TableDecision::Move if !halted && table.start_time_ms > 0 => MigrationState::Doing,
        _ => MigrationState::Init,
    }
}
