//! Tasks, reports and logs.

use mms_proto::scheduler::v1 as pb;
use mms_proto::types::v1 as types;
use mms_proto::uid::derived;
use pb::task_report::Event as PbEvent;

use super::job::{reason_from, reason_to};
use super::plan::{delta_to, target_name_to, target_to, value_to, version_to};
use super::time;
use crate::clock::Progress;
use crate::key;
use crate::lease::Granted;
use crate::record::{Check, JobTable, Log, Sample, Task, Unit, Verification};
use crate::report::{Event, Found};
use crate::scope;
use crate::store::TaskKey;
use crate::task::{Step, TaskState};

/// Source partitions of a unit that are shown in a task and in a check: a unit may have tens of thousands.
const SHOWN_OF_UNIT: usize = 1_000;
const SHOWN_OF_CHECK: usize = 100;

fn unit_to(index: usize, unit: &Unit) -> types::TargetUnit {
    types::TargetUnit {
        index: i32::try_from(index).unwrap_or(i32::MAX),
        partition: unit.partition.iter().map(value_to).collect(),
        source_partitions: unit.source_partitions.iter().take(SHOWN_OF_UNIT).cloned().collect(),
        source_partition_count: count(unit.source_partitions.len()),
        file_count: unit.file_count,
        source_bytes: unit.source_bytes,
        source_rows: unit.source_rows,
    }
}

fn units_to(task: &Task) -> Vec<types::TargetUnit> {
    task.units.iter().enumerate().map(|(index, unit)| unit_to(index, unit)).collect()
}

fn verification_to(found: Verification) -> types::VerificationSummary {
    types::VerificationSummary {
        level: found.level,
        verdict: found.verdict,
        checks_total: found.checks_total,
        checks_different: found.checks_different,
        checks_unknown: found.checks_unknown,
    }
}

fn count(number: usize) -> i64 {
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
        task: key::task_name(key),
        unit_index: check.unit_index,
        target_partition: unit.map(|unit| unit.partition.iter().map(value_to).collect()).unwrap_or_default(),
        source_partitions: source.iter().take(SHOWN_OF_CHECK).cloned().collect(),
        source_partition_count: count(source.len()),
        kind: check.kind,
        column: check.column,
        source_value: check.source_value,
        source_origin: check.source_origin,
        target_value: check.target_value,
        verdict: check.verdict,
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
        kind: check.kind,
        column: check.column,
        source_value: check.source_value,
        source_origin: check.source_origin,
        target_value: check.target_value,
        verdict: check.verdict,
        samples: check.samples.into_iter().map(sample).collect(),
    };
    let checks: Vec<Check> = found.checks.into_iter().map(check).collect();
    let of = |verdict: types::Verdict| count(checks.iter().filter(|check| check.verdict == verdict as i32).count());
    let total = found.checks_total.max(count(checks.len()));
    let counts = checks.iter().filter(|check| check.kind == types::VerificationKind::RowCount as i32);
    let rows = counts.map(|check| check.target_value.as_ref()?.parse::<i64>().ok());
    // Of checks that were left out, nobody knows what they counted.
    let target_rows = if total == count(checks.len()) { rows.sum() } else { None };
    let summary = Verification {
        level: found.level,
        verdict: found.verdict,
        checks_total: total,
        checks_different: found.checks_different.max(of(types::Verdict::Different)),
        checks_unknown: found.checks_unknown.max(of(types::Verdict::Unknown)),
        target_rows,
        ..Verification::default()
    };
    Found { summary, checks }
}

/// A task as callers see it.
pub fn task_to(
    key: &TaskKey,
    task: &Task,
    table: Option<&JobTable>,
    running: Progress,
    (job_uid, halted): (&str, bool),
    view: types::View,
) -> crate::error::Result<pb::Task> {
    let ended = TaskState::of(task).is_some_and(|state| state.is_failed() || state == TaskState::Done);
    let target = table.and_then(|table| table.target.as_ref()).and_then(|target| target.name.as_ref());
    let worker = if task.leased() { format!("workers/{}", task.worker) } else { String::new() };
    Ok(pb::Task {
        name: key::task_name(key),
        uid: derived(&[job_uid, "task", &key.2.to_string()]),
        table: key::table_name(&key.0, &task.schema, &task.table)?,
        target: target.map(target_name_to),
        version: table.and_then(|table| table.version.as_ref()).map(version_to),
        state: if halted && !ended { TaskState::Stopped as i32 } else { task.state },
        reason: task.reason.as_ref().map(reason_to),
        role: pb::TaskRole::Single as i32,
        group: String::new(),
        units: if view == types::View::Full { units_to(task) } else { Vec::new() },
        units_total: i32::try_from(task.units.len()).unwrap_or(i32::MAX),
        units_done: i32::try_from(task.units.iter().filter(|unit| unit.published).count()).unwrap_or(i32::MAX),
        attempt: task.attempt,
        worker,
        rows_done: task.rows_done.max(running.rows),
        rows_total: task.rows_total(),
        bytes_done: task.bytes_done.max(running.bytes),
        bytes_total: task.bytes_total(),
        verification: task.verification.map(verification_to),
        create_time: time(task.create_time_ms),
        start_time: time(task.start_time_ms),
        end_time: time(task.end_time_ms),
        retry_time: time(task.retry_time_ms),
    })
}

/// All that a worker is told of a task it leased.
pub fn spec_to(granted: &Granted) -> crate::error::Result<pb::TaskSpec> {
    let Granted { key, task, job, table } = granted;
    Ok(pb::TaskSpec {
        name: key::task_name(key),
        job_uid: job.uid.clone(),
        attempt: task.attempt,
        data_source: format!("dataSources/{}", key.0),
        table: key::table_name(&key.0, &task.schema, &task.table)?,
        version: table.version.as_ref().map(version_to),
        location: table.location.clone(),
        format: table.delta.as_ref().map(|delta| pb::task_spec::Format::Delta(delta_to(delta))),
        read_path: types::ReadPath::Storage as i32,
        target: table.target.as_ref().map(target_to),
        target_policy: job.spec.target_policy,
        makes_table: task.makes_table,
        steps: task.steps.clone(),
        units: units_to(task),
        verification: Some(types::Verification { level: job.spec.verification_level }),
        sql_parameters: job.sql_parameters.clone().into_iter().collect(),
        tunnel_quota: job.tunnel_quota.clone(),
        role: pb::TaskRole::Single as i32,
        group: None,
        statistics_mismatch: scope::options(&job.spec, &task.schema, &task.table)
            .map_or(0, |options| options.statistics_mismatch),
    })
}

/// What a report says; None when it only carries log lines.
pub fn event_from(event: Option<PbEvent>) -> Option<Event> {
    match event? {
        PbEvent::StepBegun(begun) => Step::of(begun.step).map(Event::Begun),
        PbEvent::StepDone(done) => Step::of(done.step).map(|step| Event::Done {
            step,
            rows: done.rows,
            bytes: done.bytes,
            verification: done.verification.map(found_from),
        }),
        PbEvent::Failed(failed) => Step::of(failed.step).map(|step| Event::Failed {
            step,
            permanent: failed.failure_class() == pb::FailureClass::Permanent,
            reason: failed.reason.map(reason_from).unwrap_or_default(),
            verification: failed.verification.map(found_from),
        }),
    }
}

/// A line of a task's log.
pub fn log_to(sequence: u64, log: Log) -> pb::TaskLog {
    pb::TaskLog {
        sequence: i64::try_from(sequence).unwrap_or(i64::MAX),
        time: time(log.time_ms),
        attempt: log.attempt,
        worker: if log.worker.is_empty() { String::new() } else { format!("workers/{}", log.worker) },
        state: log.state,
        message: log.message,
        step: log.step,
        level: log.level,
    }
}
