//! Converts tasks, reports and logs.

use mms_proto::scheduler::v1 as pb;
use mms_proto::time::{duration, timestamp};
use mms_proto::types::v1 as types;
use mms_proto::uid::derived;
use mms_store::Known;
use pb::task_report::Event as PbEvent;

use super::intent::intent_to;
use super::job::{reason_from, reason_to};
use super::limits::rate_to;
use super::number::{count, numbers};
use super::plan::{delta_to, identity_from, identity_to, target_name_to, target_to, value_from, value_to, version_to};
use super::worker::epoch_to;
use crate::error::Result;
use crate::key::TaskKey;
use crate::lease::clock::Progress;
use crate::lease::dispatch::Granted;
use crate::name;
use crate::plan::scope;
use crate::record::{Check, JobTable, Log, Rate, Sample, Step, TablePlan, Task, TaskState, Unit, Verification};
use crate::report::at_target::{Looked, LookedUnit};
use crate::report::take::{Found, Said};

/// Most source partitions of a unit that are shown in a task, and in a check: a unit may have tens of thousands.
const SHOWN_OF_UNIT: usize = 1_000;
const SHOWN_OF_CHECK: usize = 100;

fn unit_to(index: usize, unit: &Unit) -> types::TargetUnit {
    types::TargetUnit {
        index: count(index),
        partition: unit.partition.iter().map(value_to).collect(),
        source_partitions: unit.source_partitions.iter().take(SHOWN_OF_UNIT).cloned().collect(),
        source_partition_count: long(unit.source_partitions.len()),
        file_count: unit.file_count,
        source_bytes: unit.source_bytes,
        source_rows: unit.source_rows,
        at_target: unit.at_target,
    }
}

fn units_to(task: &Task) -> Vec<types::TargetUnit> {
    task.units.iter().enumerate().map(|(index, unit)| unit_to(index, unit)).collect()
}

fn verification_to(found: Verification) -> types::VerificationSummary {
    types::VerificationSummary {
        level: found.level.number(),
        verdict: found.verdict.number(),
        checks_total: found.checks_total,
        checks_different: found.checks_different,
        checks_unknown: found.checks_unknown,
    }
}

fn long(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A check of a task's unit, as callers see it.
pub fn check_to(key: &TaskKey, task: &Task, check: Check) -> types::VerificationCheck {
    let unit = usize::try_from(check.unit_index).ok().and_then(|index| task.units.get(index));
    let source = unit.map(|unit| unit.source_partitions.as_slice()).unwrap_or_default();
    let sample = |sample: Sample| types::VerificationSample {
        row: sample.row,
        source_value: sample.source_value,
        target_value: sample.target_value,
    };
    types::VerificationCheck {
        task: name::task_name(key),
        unit_index: check.unit_index,
        target_partition: unit.map(|unit| unit.partition.iter().map(value_to).collect()).unwrap_or_default(),
        source_partitions: source.iter().take(SHOWN_OF_CHECK).cloned().collect(),
        source_partition_count: long(source.len()),
        kind: check.kind.number(),
        column: check.column,
        source_value: check.source_value,
        source_origin: check.source_origin.number(),
        target_value: check.target_value,
        verdict: check.verdict.number(),
        samples: check.samples.into_iter().map(sample).collect(),
    }
}

fn found_from(found: types::VerificationResult) -> Found {
    let sample = |sample: types::VerificationSample| Sample {
        row: sample.row,
        source_value: sample.source_value,
        target_value: sample.target_value,
    };
    let check = |check: types::VerificationCheck| Check {
        unit_index: check.unit_index,
        kind: check.kind().into(),
        source_origin: check.source_origin().into(),
        verdict: check.verdict().into(),
        column: check.column,
        source_value: check.source_value,
        target_value: check.target_value,
        samples: check.samples.into_iter().map(sample).collect(),
    };
    let (level, verdict) = (found.level(), found.verdict());
    let checks: Vec<Check> = found.checks.into_iter().map(check).collect();
    let of = |verdict: types::Verdict| long(checks.iter().filter(|check| check.verdict == verdict).count());
    let total = found.checks_total.max(long(checks.len()));
    let counts = checks.iter().filter(|check| check.kind == types::VerificationKind::RowCount);
    let rows = counts.map(|check| check.target_value.as_ref()?.parse::<i64>().ok());
    // If checks were left out of the report, their rows are unknown, and so is the sum.
    let target_rows = if total == long(checks.len()) { rows.sum() } else { None };
    let summary = Verification {
        level: level.into(),
        verdict: verdict.into(),
        checks_total: total,
        checks_different: found.checks_different.max(of(types::Verdict::Different)),
        checks_unknown: found.checks_unknown.max(of(types::Verdict::Unknown)),
        target_rows,
        ..Verification::default()
    };
    Found { summary, checks }
}

/// A task as callers see it. `halted`: the job was stopped.
pub fn task_to(
    key: &TaskKey,
    task: &Task,
    table: Option<&JobTable>,
    running: Progress,
    (job_uid, halted): (&str, bool),
    view: types::View,
) -> Result<pb::Task> {
    let ended = task.state.is_failed() || task.state == TaskState::Done;
    let state = if halted && !ended { TaskState::Stopped } else { *task.state };
    let plan = table.map(|table| &table.plan);
    let target = plan.and_then(TablePlan::target_name);
    let worker = task.worker().map(|worker| format!("workers/{worker}")).unwrap_or_default();
    Ok(pb::Task {
        name: name::task_name(key),
        uid: derived(&[job_uid, "task", &key.number.to_string()]),
        table: name::source_table_name(&task.table_key(&key.job))?,
        target: target.map(target_name_to),
        version: plan.and_then(|plan| plan.version.as_ref()).map(version_to),
        state: state.into(),
        reason: task.reason.as_ref().map(reason_to),
        role: pb::TaskRole::Single as i32,
        group: String::new(),
        units: if view == types::View::Full { units_to(task) } else { Vec::new() },
        units_total: count(task.units.len()),
        units_done: count(task.units.iter().filter(|unit| unit.published).count()),
        attempt: task.attempt,
        worker,
        rows_done: task.rows_done.max(running.rows),
        rows_total: task.rows_total(),
        bytes_done: task.bytes_done.max(running.bytes),
        bytes_total: task.bytes_total(),
        verification: task.verification.map(verification_to),
        create_time: timestamp(task.planned().create_time_ms),
        start_time: timestamp(task.start_time_ms),
        end_time: timestamp(task.end_time_ms),
        retry_time: timestamp(task.retry_time_ms),
    })
}

/// A lease as its worker gets it: `term` is how long it lasts without a heartbeat, `rate` how fast the worker may read.
pub fn lease_to(granted: &Granted, term: std::time::Duration, rate: Rate) -> Result<pb::Lease> {
    let task = &granted.task;
    let done = |(index, unit): (usize, &Unit)| pb::UnitResult {
        unit_index: count(index),
        rows: unit.published_rows,
        bytes: unit.published_bytes,
    };
    Ok(pb::Lease {
        task: Some(spec_to(granted)?),
        epoch: Some(epoch_to(task.epoch)),
        expire_after: duration(term),
        first_step: task.next_step().map_or(0, Into::into),
        units_done: task.units.iter().enumerate().filter(|(_, unit)| unit.published).map(done).collect(),
        open_intents: granted.open.iter().map(|(id, intent)| intent_to(id, intent)).collect(),
        checkpoint: task.checkpoint.clone().into(),
        limits: (rate != Rate::default()).then(|| rate_to(rate)),
    })
}

/// All that a worker is told about a task that it has leased.
fn spec_to(granted: &Granted) -> Result<pb::TaskSpec> {
    let Granted { key, task, job, table, .. } = granted;
    let (planned, plan, spec) = (task.planned(), &table.plan, job.spec());
    Ok(pb::TaskSpec {
        name: name::task_name(key),
        job_uid: job.uid().to_owned(),
        attempt: task.attempt,
        data_source: format!("dataSources/{}", key.job.data_source),
        table: name::source_table_name(&task.table_key(&key.job))?,
        version: plan.version.as_ref().map(version_to),
        location: plan.location.clone(),
        format: plan.delta.as_ref().map(|delta| pb::task_spec::Format::Delta(delta_to(delta))),
        read_path: plan.path() as i32,
        target: plan.target.as_ref().map(target_to),
        target_policy: spec.target_policy.number(),
        dropped_policy: spec.dropped.number(),
        makes_table: planned.makes_table,
        steps: numbers(&planned.steps),
        units: units_to(task),
        verification: Some(types::Verification { level: spec.verification_level.number() }),
        sql_parameters: job.limits.sql_parameters.clone().into_iter().collect(),
        tunnel_quota: job.limits.tunnel_quota.clone(),
        role: pb::TaskRole::Single as i32,
        group: None,
        identity: granted.identity.as_ref().map(identity_to),
        statistics_mismatch: scope::options(spec, &planned.schema, &planned.table)
            .map_or(0, |options| options.statistics_mismatch.number()),
    })
}

/// The event of a report; None if the report only carries log lines, or names a step that this version does not know.
pub fn said_from(event: Option<PbEvent>) -> Option<Said> {
    let step = |number: i32| Step::try_from(number).ok();
    match event? {
        PbEvent::StepBegun(begun) => step(begun.step).map(Said::Begun),
        PbEvent::StepDone(done) => step(done.step).map(|step| Said::Done {
            step,
            rows: done.rows,
            bytes: done.bytes,
            verification: done.verification.map(found_from),
            identity: done.identity.map(identity_from),
            look: done.look.map(looked_from).map(Box::new),
        }),
        PbEvent::Failed(failed) => step(failed.step).map(|step| Said::Failed {
            step,
            permanent: failed.failure_class() == pb::FailureClass::Permanent,
            reason: failed.reason.map(reason_from).unwrap_or_default(),
            verification: failed.verification.map(found_from),
            missed: failed.table_gone.then(|| failed.identity.map(identity_from)),
            lost: Vec::new(),
        }),
    }
}

fn looked_from(look: pb::TargetLook) -> Looked {
    let units = |units: Vec<pb::LookedUnit>| {
        let unit = |unit: pb::LookedUnit| LookedUnit {
            partition: unit.partition.into_iter().map(value_from).collect(),
            rows: unit.rows,
        };
        units.into_iter().map(unit).collect()
    };
    Looked {
        identity: look.identity.map(identity_from).unwrap_or_default(),
        rows: look.rows,
        different: (look.different_count, units(look.different)),
        surplus: (look.surplus_count, units(look.surplus)),
        digest: look.state_digest.to_vec(),
    }
}

/// A line of a task's log, as callers see it.
pub fn log_to(sequence: u64, log: Log) -> pb::TaskLog {
    pb::TaskLog {
        sequence: i64::try_from(sequence).unwrap_or(i64::MAX),
        time: timestamp(log.time_ms),
        attempt: log.attempt,
        worker: if log.worker.is_empty() { String::new() } else { format!("workers/{}", log.worker) },
        state: log.state.number(),
        message: log.message,
        step: log.step.map_or(0, Known::number),
        level: log.level.number(),
    }
}
