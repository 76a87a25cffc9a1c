//! Jobs and their tables.

use mms_proto::FieldViolation;
use mms_proto::scheduler::v1 as pb;
use mms_proto::types::v1::{self as types, MigrationState, TargetPolicy, Verification, VerificationLevel, View};
use mms_proto::uid::derived;
use pb::job_spec::Scope;
use prost_types::Timestamp;

use super::plan::{finding_to, target_name_from, target_name_to, target_to, version_to};
use super::{duration, millis, time};
use crate::clock::Progress;
use crate::error::{Result, SchedulerError};
use crate::key;
use crate::record::{Job, JobTable, Reason, SourceTable, Spec, TableOptions};
use crate::scope;
use crate::store::{JobKey, TableKey};

/// Attempts of a task when the caller does not say.
const MAX_ATTEMPTS: i32 = 5;

pub fn reason_from(reason: pb::JobReason) -> Reason {
    Reason { reason: reason.reason, message: reason.message }
}

pub fn reason_to(reason: &Reason) -> pb::JobReason {
    pb::JobReason { reason: reason.reason, message: reason.message.clone() }
}

/// The spec of a request with defaults filled in. What the contract's options refuse was refused before.
pub fn job_from(spec: pb::JobSpec) -> Result<Spec> {
    let mut own = Spec {
        content: or(spec.content, pb::MigrationContent::SchemaAndData as i32),
        verification_level: or(spec.verification.map_or(0, |v| v.level), VerificationLevel::RowCount as i32),
        target_policy: or(spec.target_policy, TargetPolicy::CreateOrOwn as i32),
        force: spec.force,
        deadline_ms: millis(spec.deadline),
        priority: spec.priority,
        pool: spec.pool,
        table_options: spec.table_options.into_iter().map(table_options_from).collect(),
        unsupported_tables: or(spec.unsupported_tables, pb::UnsupportedTables::Skip as i32),
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
            own.tables = tables.tables.into_iter().map(source_table_from).collect();
        }
        Some(Scope::Partitions(_)) => return Err(SchedulerError::NotYet("JobSpec.partitions")),
        None => {
            let field = FieldViolation::new("job.spec.schemas", "set one of schemas, tables or partitions");
            return Err(SchedulerError::Invalid(vec![field]));
        }
    }
    let named: Vec<SourceTable> = own.table_options.iter().map(|options| options.table.clone()).collect();
    let doubled = scope::doubled(&named).into_iter().map(|at| {
        let text = format!("names {}.{}, of which something is said before", named[at].schema, named[at].table);
        FieldViolation::new(format!("job.spec.table_options[{at}].table"), text)
    });
    let doubled: Vec<FieldViolation> = doubled.collect();
    if doubled.is_empty() { Ok(own) } else { Err(SchedulerError::Invalid(doubled)) }
}

fn source_table_from(table: types::SourceTable) -> SourceTable {
    SourceTable { schema: table.schema, table: table.table }
}

fn source_table_to(table: &SourceTable) -> types::SourceTable {
    types::SourceTable { schema: table.schema.clone(), table: table.table.clone() }
}

fn table_options_from(options: types::TableOptions) -> TableOptions {
    let types = options.type_options.unwrap_or_default();
    TableOptions {
        table: options.table.map(source_table_from).unwrap_or_default(),
        target: options.target.map(target_name_from),
        target_kind: options.target_kind,
        column_names: options.column_names.into_iter().collect(),
        lifecycle_days: options.lifecycle_days,
        large_decimals: types.large_decimals,
        variant: types.variant,
        interval: types.interval,
        statistics_mismatch: options.statistics_mismatch,
    }
}

/// What a job says of a table, as the catalog is told it.
pub fn table_options_to(options: &TableOptions) -> types::TableOptions {
    let said = types::TypeOptions {
        large_decimals: options.large_decimals,
        variant: options.variant,
        interval: options.interval,
    };
    types::TableOptions {
        table: Some(source_table_to(&options.table)),
        target: options.target.as_ref().map(target_name_to),
        target_kind: options.target_kind,
        column_names: options.column_names.clone().into_iter().collect(),
        lifecycle_days: options.lifecycle_days,
        type_options: (said != types::TypeOptions::default()).then_some(said),
        statistics_mismatch: options.statistics_mismatch,
        ..types::TableOptions::default()
    }
}

fn or(given: i32, default: i32) -> i32 {
    if given == 0 { default } else { given }
}

fn spec_to(spec: &Spec) -> pb::JobSpec {
    let scope = if spec.tables_scope {
        Scope::Tables(pb::TablesScope { tables: spec.tables.iter().map(source_table_to).collect() })
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
        table_options: spec.table_options.iter().map(table_options_to).collect(),
        unsupported_tables: spec.unsupported_tables,
        max_concurrent_tasks: spec.max_concurrent_tasks,
        max_partitions_per_task: spec.max_partitions_per_task,
        max_bytes_per_task: spec.max_bytes_per_task,
        max_attempts: spec.max_attempts,
        sql_parameters: spec.sql_parameters.clone().into_iter().collect(),
        tunnel_quota: spec.tunnel_quota.clone(),
        dropped_policy: pb::DroppedPolicy::Keep as i32,
        incremental: pb::IncrementalMode::Whole as i32,
        ..pb::JobSpec::default()
    }
}

/// A job as callers see it, with what its running tasks say of themselves and its present speed.
pub fn job_to(key: &JobKey, job: &Job, running: Progress, bytes_per_second: i64, view: View) -> pb::Job {
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
        tables_skipped: counts.tables_skipped,
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
        spec: (view == View::Full).then(|| spec_to(&job.spec)),
        state: job.state,
        reason: job.reason.as_ref().map(reason_to),
        progress: Some(progress),
        timer: String::new(),
        creator: job.creator.clone(),
        create_time: time(job.create_time_ms),
        start_time: time(job.start_time_ms),
        end_time: time(job.end_time_ms),
        estimate: estimate(job),
        review: Some(review(job)),
    }
}

fn review(job: &Job) -> pb::JobReview {
    let state = match (job.review, job.approved) {
        (false, _) => pb::ReviewState::NotNeeded,
        (true, false) => pb::ReviewState::Pending,
        (true, true) => pb::ReviewState::Approved,
    };
    pb::JobReview { state: state as i32, approver: job.approver.clone(), approve_time: time(job.approve_time_ms) }
}

/// What the whole plan will take, once it is there. Nothing knows yet how long.
fn estimate(job: &Job) -> Option<pb::JobEstimate> {
    let planned = job.scope_listed && job.counts.tables_planned >= job.counts.tables_total;
    let reads = job.spec.content != pb::MigrationContent::SchemaOnly as i32;
    let egress_bytes = if reads { job.counts.bytes_total } else { 0 };
    planned.then_some(pb::JobEstimate { duration: None, egress_bytes: Some(egress_bytes) })
}

/// A table of the job with this uid as callers see it. `halted`: the job was stopped.
pub fn job_table_to(
    key: &TableKey,
    job_uid: &str,
    table: &JobTable,
    running: Progress,
    halted: bool,
    view: View,
) -> Result<pb::JobTable> {
    let name = key::table_name(&key.0, &key.2, &key.3)?;
    let end_time: Option<Timestamp> = time(table.end_time_ms);
    let full = view == View::Full;
    let target = table.target.as_ref();
    let findings = table.findings.iter().filter(|_| full).map(|finding| finding_to(finding, &name));
    Ok(pb::JobTable {
        name: key::job_table_name(key)?,
        uid: derived(&[job_uid, "table", &key.2, &key.3]),
        decision: table.decision,
        decision_reason: table.decision_reason,
        decision_message: table.decision_message.clone(),
        version: table.version.as_ref().map(version_to),
        target: target.and_then(|target| target.name.as_ref()).map(target_name_to),
        definition: target.filter(|_| full).map(target_to),
        findings: findings.collect(),
        finding_counts: Some(finding_counts(table)),
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

fn finding_counts(table: &JobTable) -> types::FindingCounts {
    let of = |severity: types::Severity| {
        let count = table.findings.iter().filter(|finding| finding.severity == severity as i32).count();
        i32::try_from(count).unwrap_or(i32::MAX)
    };
    types::FindingCounts {
        notes: of(types::Severity::Note),
        lossy: of(types::Severity::Lossy),
        blockers: of(types::Severity::Blocker),
    }
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
