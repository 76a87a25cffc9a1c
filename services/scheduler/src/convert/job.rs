//! Converts jobs and their tables.

use mms_expr::Expr;
use mms_proto::FieldViolation;
use mms_proto::defaults::MAX_ATTEMPTS;
use mms_proto::scheduler::v1 as pb;
use mms_proto::time::{duration, millis, timestamp};
use mms_proto::types::v1::{self as types, MigrationState, TargetPolicy, Verification, VerificationLevel, View};
use mms_proto::uid::derived;
use mms_schedule::{Window, Windows};
use mms_store::{Known, Numbered};
use pb::job_spec::Scope;
use prost_types::Timestamp;

use super::breaker::{breaker_from, breaker_to};
use super::limits::{concurrency_from, concurrency_to, rate_from, rate_to};
use super::number::asked;
use super::plan::{finding_to, target_name_from, target_name_to, target_to, version_to};
use crate::error::{Result, SchedulerError};
use crate::key::{JobKey, TableKey, TimerKey};
use crate::lease::clock::Progress;
use crate::name;
use crate::plan::{parts, scope};
use crate::record::{Job, JobTable, Reason, SourceTable, Spec, SpecChange, TableOptions};

/// The reason that a worker gives. Of a reason that this version does not know, the text is kept.
pub fn reason_from(reason: pb::JobReason) -> Reason {
    Reason::new(reason.reason(), reason.message)
}

pub fn reason_to(reason: &Reason) -> pb::JobReason {
    pb::JobReason { reason: reason.reason.number(), message: reason.message.clone() }
}

/// The spec of a request with defaults filled in, after the rules of the contract's options were checked. `field` is
/// the path of the spec in the request. Reports the violations of scope, table options and filters together.
pub fn job_from(spec: pb::JobSpec, field: &str) -> Result<Spec> {
    let at = |below: &str| format!("{field}.{below}");
    let level = spec.verification.map_or(0, |verification| verification.level);
    let windows = Windows::read(&spec.time_windows, &at("time_windows")).map_err(SchedulerError::Invalid)?;
    let mut own = Spec {
        content: or(&at("content"), spec.content, pb::MigrationContent::SchemaAndData)?,
        verification_level: or(&at("verification.level"), level, VerificationLevel::RowCount)?,
        target_policy: or(&at("target_policy"), spec.target_policy, TargetPolicy::CreateOrOwn)?,
        force: spec.force,
        deadline_ms: millis(spec.deadline),
        priority: spec.priority,
        pool: spec.pool,
        table_options: {
            let path = at("table_options");
            spec.table_options.into_iter().map(|options| table_options_from(options, &path)).collect::<Result<_>>()?
        },
        older_version: or(&at("older_version"), spec.older_version, pb::OlderVersion::Refuse)?,
        unsupported_tables: or(&at("unsupported_tables"), spec.unsupported_tables, pb::UnsupportedTables::Skip)?,
        max_concurrent_tasks: spec.max_concurrent_tasks,
        max_partitions_per_task: spec.max_partitions_per_task,
        max_bytes_per_task: spec.max_bytes_per_task,
        max_attempts: if spec.max_attempts == 0 { MAX_ATTEMPTS } else { spec.max_attempts },
        sql_parameters: spec.sql_parameters.into_iter().collect(),
        tunnel_quota: spec.tunnel_quota,
        time_windows: windows.texts(),
        breaker: Some(breaker_from(spec.circuit_breaker, &at("circuit_breaker"))?),
        concurrency: spec.concurrency.map(concurrency_from),
        rate: spec.rate_limit.map(rate_from),
        incremental: or(&at("incremental"), spec.incremental, pb::IncrementalMode::Whole)?,
        dropped: or(&at("dropped_policy"), spec.dropped_policy, pb::DroppedPolicy::Keep)?,
        ..Spec::default()
    };
    let mut violations = Vec::new();
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
        Some(Scope::Partitions(given)) => {
            own.tables_scope = true;
            match parts::grouped(&given.partitions) {
                Ok(partitions) => own.partitions = partitions,
                Err(wrong) => violations.extend(
                    wrong
                        .into_iter()
                        .map(|(place, why)| FieldViolation::new(at(&format!("partitions.partitions[{place}]")), why)),
                ),
            }
            own.tables = own.partitions.iter().map(|of| of.table.clone()).collect();
        }
        None => {
            let path = format!("{field}.schemas");
            let violation = FieldViolation::new(path, "set one of schemas, tables or partitions");
            return Err(SchedulerError::Invalid(vec![violation]));
        }
    }
    let named: Vec<SourceTable> = own.table_options.iter().map(|options| options.table.clone()).collect();
    let doubled = scope::doubled(&named).into_iter().map(|at| {
        let text = format!("names {}.{}, which an earlier entry names already", named[at].schema, named[at].table);
        FieldViolation::new(format!("{field}.table_options[{at}].table"), text)
    });
    violations.extend(doubled);
    violations.extend(filters(&own, field));
    violations.extend(contradictions(&own, field));
    if violations.is_empty() { Ok(own) } else { Err(SchedulerError::Invalid(violations)) }
}

/// Returns the violations of partition filters, as far as they show without the tables, and of taking parts of tables
/// under policy REPLACE.
fn filters(spec: &Spec, field: &str) -> Vec<FieldViolation> {
    let filters = spec.table_options.iter().enumerate().filter(|(_, options)| !options.partition_filter.is_empty());
    let mut wrong: Vec<FieldViolation> = filters
        .filter_map(|(at, options)| {
            let error = options.partition_filter.parse::<Expr>().err()?;
            Some(FieldViolation::new(format!("{field}.table_options[{at}].partition_filter"), error.to_string()))
        })
        .collect();
    if spec.target_policy == TargetPolicy::Replace && parts::takes_any_part(spec) {
        let text =
            "is REPLACE, which makes whole tables anew, and the job takes parts of tables: take CREATE_OR_OWN or ADOPT";
        wrong.push(FieldViolation::new(format!("{field}.target_policy"), text));
    }
    wrong
}

/// The violations of settings that contradict each other.
fn contradictions(spec: &Spec, field: &str) -> Vec<FieldViolation> {
    let mut wrong = Vec::new();
    let mut refuse = |path: &str, text: &str| wrong.push(FieldViolation::new(format!("{field}.{path}"), text));
    if spec.incremental == pb::IncrementalMode::ChangedUnits && spec.target_policy == TargetPolicy::Replace {
        let text = "is CHANGED_UNITS, which leaves units as they are, and target_policy REPLACE makes whole tables anew: take \
                    CREATE_OR_OWN or ADOPT";
        refuse("incremental", text);
    }
    if spec.drops_gone() && parts::takes_any_part(spec) {
        refuse(
            "dropped_policy",
            "is DROP, and the job takes parts of tables, of which the others stay as they are: take KEEP",
        );
    }
    if spec.drops_gone() && !spec.moves_rows() {
        refuse(
            "dropped_policy",
            "is DROP, and the job moves no rows: take KEEP, or content SCHEMA_AND_DATA or DATA_ONLY",
        );
    }
    if spec.only_verifies() && spec.verification_level == VerificationLevel::None {
        refuse("verification.level", "is NONE, and the job only verifies: take ROW_COUNT");
    }
    wrong
}

/// The changes of a job's spec that an update makes, by the paths of its mask.
pub fn spec_change_from(spec: pb::JobSpec, paths: &[String]) -> Result<SpecChange> {
    let mut change = SpecChange::default();
    let mut wrong = Vec::new();
    for (at, path) in paths.iter().enumerate() {
        match path.as_str() {
            "spec.deadline" => change.deadline_ms = Some(millis(spec.deadline)),
            "spec.priority" => change.priority = Some(spec.priority),
            "spec.max_concurrent_tasks" => change.max_concurrent_tasks = Some(spec.max_concurrent_tasks),
            "spec.time_windows" => match Windows::read(&spec.time_windows, "job.spec.time_windows") {
                Ok(windows) => change.time_windows = Some(windows.texts()),
                Err(violations) => wrong.extend(violations),
            },
            "spec.rate_limit" => change.rate = Some(spec.rate_limit.map(rate_from)),
            "spec.concurrency" => change.concurrency = Some(spec.concurrency.clone().map(concurrency_from)),
            "spec.circuit_breaker" => match breaker_from(spec.circuit_breaker, "job.spec.circuit_breaker") {
                Ok(breaker) => change.breaker = Some(breaker),
                Err(SchedulerError::Invalid(violations)) => wrong.extend(violations),
                Err(error) => return Err(error),
            },
            other => {
                let known = "spec.deadline, spec.priority, spec.max_concurrent_tasks, spec.time_windows, spec.concurrency, \
                             spec.rate_limit, spec.circuit_breaker";
                let text = format!("names {other:?}; what can be changed is {known}");
                wrong.push(FieldViolation::new(format!("update_mask.paths[{at}]"), text));
            }
        }
    }
    if wrong.is_empty() { Ok(change) } else { Err(SchedulerError::Invalid(wrong)) }
}

fn source_table_from(table: types::SourceTable) -> SourceTable {
    SourceTable { schema: table.schema, table: table.table }
}

fn source_table_to(table: &SourceTable) -> types::SourceTable {
    types::SourceTable { schema: table.schema.clone(), table: table.table.clone() }
}

fn table_options_from(options: types::TableOptions, field: &str) -> Result<TableOptions> {
    let types = options.type_options.unwrap_or_default();
    Ok(TableOptions {
        table: options.table.map(source_table_from).unwrap_or_default(),
        target: options.target.map(target_name_from),
        target_kind: asked(field, options.target_kind)?,
        column_names: options.column_names.into_iter().collect(),
        lifecycle_days: options.lifecycle_days,
        large_decimals: asked(field, types.large_decimals)?,
        variant: asked(field, types.variant)?,
        interval: asked(field, types.interval)?,
        statistics_mismatch: asked(field, options.statistics_mismatch)?,
        partition_filter: options.partition_filter,
    })
}

/// A job's options for one table, as the catalog gets them.
pub fn table_options_to(options: &TableOptions) -> types::TableOptions {
    let said = types::TypeOptions {
        large_decimals: options.large_decimals.number(),
        variant: options.variant.number(),
        interval: options.interval.number(),
    };
    types::TableOptions {
        table: Some(source_table_to(&options.table)),
        target: options.target.as_ref().map(target_name_to),
        target_kind: options.target_kind.number(),
        column_names: options.column_names.clone().into_iter().collect(),
        lifecycle_days: options.lifecycle_days,
        type_options: (said != types::TypeOptions::default()).then_some(said),
        statistics_mismatch: options.statistics_mismatch.number(),
        partition_filter: options.partition_filter.clone(),
        ..types::TableOptions::default()
    }
}

pub fn or<E: Numbered>(field: &str, given: i32, default: E) -> Result<Known<E>> {
    if given == 0 { Ok(Known::from(default)) } else { asked(field, given) }
}

pub fn spec_to(spec: &Spec) -> pb::JobSpec {
    let scope = if !spec.partitions.is_empty() {
        Scope::Partitions(pb::PartitionsScope { partitions: parts::names(&spec.partitions) })
    } else if spec.tables_scope {
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
        content: spec.content.number(),
        verification: Some(Verification { level: spec.verification_level.number() }),
        target_policy: spec.target_policy.number(),
        force: spec.force,
        deadline: timestamp(spec.deadline_ms),
        priority: spec.priority,
        engine: pb::Engine::BuiltIn as i32,
        pool: spec.pool.clone(),
        table_options: spec.table_options.iter().map(table_options_to).collect(),
        older_version: spec.older_version.number(),
        unsupported_tables: spec.unsupported_tables.number(),
        max_concurrent_tasks: spec.max_concurrent_tasks,
        max_partitions_per_task: spec.max_partitions_per_task,
        max_bytes_per_task: spec.max_bytes_per_task,
        max_attempts: spec.max_attempts,
        sql_parameters: spec.sql_parameters.clone().into_iter().collect(),
        tunnel_quota: spec.tunnel_quota.clone(),
        time_windows: windows_to(&spec.time_windows),
        circuit_breaker: spec.breaker.map(breaker_to),
        concurrency: spec.concurrency.as_ref().map(concurrency_to),
        rate_limit: spec.rate.map(rate_to),
        dropped_policy: spec.dropped.number(),
        incremental: spec.incremental.number(),
    }
}

/// The time windows of stored texts. Those that this machine cannot read any more are left out.
fn windows_to(texts: &[String]) -> Vec<types::TimeWindow> {
    texts.iter().filter_map(|text| text.parse::<Window>().ok()).map(|window| window.message()).collect()
}

/// A job as callers see it, with the progress of its running tasks and its present speed.
pub fn job_to(
    key: &JobKey,
    job: &Job,
    running: Progress,
    bytes_per_second: i64,
    waiting_for: Option<&Reason>,
    view: View,
) -> pb::Job {
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
        tables_failed: counts.tables_failed,
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
    let asked = job.asked();
    pb::Job {
        name: name::job_name(key),
        uid: asked.uid.clone(),
        display_name: asked.display_name.clone(),
        etag: job.revision.to_string(),
        spec: (view == View::Full).then(|| spec_to(job.spec())),
        state: job.state.number(),
        reason: job.reason.as_ref().map(reason_to),
        waiting_for: waiting_for.map(reason_to),
        progress: Some(progress),
        timer: match &asked.timer {
            none if none.is_empty() => String::new(),
            id => name::timer_name(&TimerKey { data_source: key.data_source.clone(), timer: id.clone() }),
        },
        creator: asked.creator.clone(),
        create_time: timestamp(asked.create_time_ms),
        start_time: timestamp(job.start_time_ms),
        end_time: timestamp(job.end_time_ms),
        estimate: estimate(job),
        review: Some(review(job)),
    }
}

fn review(job: &Job) -> pb::JobReview {
    let state = match (job.asked().review, &job.approval) {
        (false, _) => pb::ReviewState::NotNeeded,
        (true, None) => pb::ReviewState::Pending,
        (true, Some(_)) => pb::ReviewState::Approved,
    };
    let approval = job.approval.clone().unwrap_or_default();
    pb::JobReview { state: state as i32, approver: approval.approver, approve_time: timestamp(approval.time_ms) }
}

/// The estimate of a job, once it is planned. It has no duration: nothing computes one yet.
fn estimate(job: &Job) -> Option<pb::JobEstimate> {
    let reads = job.spec().content != pb::MigrationContent::SchemaOnly;
    let egress_bytes = if reads { job.counts.bytes_total } else { 0 };
    job.is_planned().then_some(pb::JobEstimate { duration: None, egress_bytes: Some(egress_bytes) })
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
    let name = name::source_table_name(key)?;
    let end_time: Option<Timestamp> = timestamp(table.end_time_ms);
    let full = view == View::Full;
    let plan = &table.plan;
    let target = plan.target.as_ref();
    let findings = plan.findings.iter().filter(|_| full).map(|finding| finding_to(finding, &name));
    Ok(pb::JobTable {
        name: name::job_table_name(key)?,
        uid: derived(&[job_uid, "table", &key.schema, &key.table]),
        decision: plan.decision.number(),
        decision_reason: plan.decision_reason.number(),
        decision_message: plan.decision_message.clone(),
        version: plan.version.as_ref().map(version_to),
        target: target.and_then(|target| target.name.as_ref()).map(target_name_to),
        definition: target.filter(|_| full).map(target_to),
        findings: findings.collect(),
        finding_counts: Some(finding_counts(table)),
        state: table_state(table, halted) as i32,
        reason: table.reason.as_ref().map(reason_to),
        task_count: table.task_count,
        unit_count: table.unit_count,
        source_rows: plan.source_rows,
        target_rows: table.target_rows.filter(|_| table.is_done()),
        source_bytes: plan.source_bytes,
        bytes_done: table.bytes_done + running.bytes,
        rows_done: table.rows_done + running.rows,
        start_time: timestamp(table.start_time_ms),
        end_time,
        table: name,
    })
}

fn finding_counts(table: &JobTable) -> types::FindingCounts {
    let of = |severity: types::Severity| {
        let count = table.plan.findings.iter().filter(|finding| finding.severity == severity).count();
        i32::try_from(count).unwrap_or(i32::MAX)
    };
    types::FindingCounts {
        notes: of(types::Severity::Note),
        lossy: of(types::Severity::Lossy),
        blockers: of(types::Severity::Blocker),
    }
}

fn table_state(table: &JobTable, halted: bool) -> MigrationState {
    match *table.plan.decision {
        pb::TableDecision::Blocked => MigrationState::Failed,
        pb::TableDecision::Unchanged => MigrationState::Done,
        pb::TableDecision::Move if !table.planned => MigrationState::Init,
        pb::TableDecision::Move if table.is_done() => MigrationState::Done,
        pb::TableDecision::Move if table.is_ended() => MigrationState::Failed,
        pb::TableDecision::Move if halted && table.tasks_done > 0 => MigrationState::PartDone,
        pb::TableDecision::Move if !halted && table.start_time_ms > 0 => MigrationState::Doing,
        _ => MigrationState::Init,
    }
}
