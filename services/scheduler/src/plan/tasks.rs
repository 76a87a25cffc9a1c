//! Turning a planned table into tasks, inside a commit. [`super::planner`] fetches; this decides and writes.

use std::ops::Range;

use mms_proto::ErrorReason;
use mms_proto::scheduler::v1::{DecisionReason, MigrationContent, TableDecision};
use mms_proto::types::v1::VerificationLevel;
use mms_store::{Read, Scope, Tx};

use super::split::{Bounds, split};
use crate::commit::{claim, newer};
use crate::error::{Result, SchedulerError};
use crate::job::stored;
use crate::key::{ChunkKey, JobKey, TableKey, TaskKey};
use crate::moment::Moment;
use crate::pages::clear_some;
use crate::record::{
    Counts, Job, JobEvent, JobState, JobTable, Limits, ManifestChunk, Reason, Spec, Step, TableEvent, TablePlan, Task,
    TaskPlan, Unit,
};
use crate::report::log::{self, Line};
use crate::store::{JOB_TABLES, JOBS, LIVE_JOBS, MANIFESTS, TASKS};

/// The steps that a job's tasks have. A table without any unit has no rows to move.
pub fn steps(spec: &Spec, has_units: bool) -> Vec<Step> {
    let mut steps = Vec::new();
    if spec.content != MigrationContent::DataOnly {
        steps.push(Step::Schema);
    }
    if spec.content != MigrationContent::SchemaOnly && has_units {
        steps.push(Step::Data);
        if spec.verification_level != VerificationLevel::None {
            steps.push(Step::Verification);
        }
    }
    steps
}

/// Jobs that are being planned.
pub fn planning(read: &impl Read) -> Result<Vec<(JobKey, Job)>> {
    let (mut jobs, mut next) = (Vec::new(), None);
    loop {
        let page = read.index_page(&JOBS, &LIVE_JOBS, &Scope::all(), next.as_ref(), 1000)?;
        jobs.extend(page.items.into_iter().filter(|(_, job)| job.state == JobState::Planning));
        next = page.next;
        if next.is_none() {
            return Ok(jobs);
        }
    }
}

/// The job, if it is still that very job and still being planned.
fn still(tx: &Tx<'_>, key: &JobKey, uid: &str) -> Result<Option<Job>> {
    Ok(tx.get(&JOBS, key)?.filter(|job| job.uid() == uid && job.state == JobState::Planning))
}

/// Removes a page of what an interrupted listing left; whether there was anything.
pub fn unlist(tx: &mut Tx<'_>, at: &Moment, key: &JobKey, uid: &str) -> Result<bool> {
    let Some(job) = still(tx, key, uid)? else { return Ok(false) };
    if job.counts.tables_total != 0 {
        stored::change_unseen(tx, at, key, job, JobEvent::Unlisted)?;
    }
    clear_some(tx, &JOB_TABLES, &Scope::prefix(key))
}

/// Stores some of the tables of a job's scope. False: the job is gone or stopped.
pub fn list(
    tx: &mut Tx<'_>,
    at: &Moment,
    key: &JobKey,
    uid: &str,
    tables: Vec<(String, String, TablePlan)>,
) -> Result<bool> {
    let Some(job) = still(tx, key, uid)? else { return Ok(false) };
    let mut counted = 0;
    for (schema, name, plan) in tables {
        if plan.decision != TableDecision::Excluded {
            counted += 1;
        }
        let mut table = JobTable::new(plan);
        table.stored_in(tx.revision());
        tx.put(&JOB_TABLES, &TableKey { job: key.clone(), schema, table: name }, &table)?;
    }
    stored::change(tx, at, key, job, JobEvent::Listed { tables: counted })?;
    Ok(true)
}

/// All tables of the scope are stored; the limits that hold for the job are known.
pub fn listed(tx: &mut Tx<'_>, at: &Moment, key: &JobKey, uid: &str, limits: Limits) -> Result<()> {
    let Some(job) = still(tx, key, uid)? else { return Ok(()) };
    stored::change(tx, at, key, job, JobEvent::ScopeListed(Box::new(limits)))?;
    Ok(())
}

/// Ends a job that cannot be planned at all.
pub fn fail(tx: &mut Tx<'_>, at: &Moment, key: &JobKey, uid: &str, reason: Reason) -> Result<()> {
    let Some(job) = still(tx, key, uid)? else { return Ok(()) };
    stored::change(tx, at, key, job, JobEvent::PlanFailed(reason))?;
    Ok(())
}

/// Removes a page of the files that an interrupted plan of a table left; whether there were any.
pub fn clear_manifest(tx: &mut Tx<'_>, key: &TableKey) -> Result<bool> {
    clear_some(tx, &MANIFESTS, &Scope::prefix(key))
}

/// Stores some of the files of a table that is being planned. False: the job is gone or stopped, and nothing was stored.
pub fn keep_manifest(tx: &mut Tx<'_>, key: &JobKey, uid: &str, chunks: &[(ChunkKey, ManifestChunk)]) -> Result<bool> {
    if still(tx, key, uid)?.is_none() {
        return Ok(false);
    }
    chunks.iter().try_for_each(|(at, chunk)| tx.put(&MANIFESTS, at, chunk))?;
    Ok(true)
}

/// Stores a planned table: its units become tasks, and are claimed. `plan` says what was found; a decision other than
/// MOVE makes no task. False: the job is gone or stopped.
pub fn table(
    tx: &mut Tx<'_>,
    at: &Moment,
    key: &TableKey,
    uid: &str,
    mut plan: TablePlan,
    units: Vec<Unit>,
) -> Result<bool> {
    let Some(job) = still(tx, &key.job, uid)? else { return Ok(false) };
    let Some(mut table) = tx.get(&JOB_TABLES, key)?.filter(|table| !table.planned) else { return Ok(true) };
    if plan.moves()
        && let Some(newer) = newer_there(tx, &job, key, &plan, &units)?
    {
        block(&mut plan, DecisionReason::TargetNewer, ErrorReason::TargetNewer, &newer);
    }
    if plan.moves()
        && let Err(owned) = claim_all(tx, &job, key, &plan, &units)?
    {
        block(&mut plan, DecisionReason::TargetOwned, ErrorReason::TargetOwned, &owned);
    }
    let unit_count = if plan.moves() { i64::try_from(units.len()).unwrap_or(i64::MAX) } else { 0 };
    let mut adds = Counts {
        tables_planned: 1,
        tables_blocked: i32::from(plan.decision == TableDecision::Blocked),
        tables_skipped: i32::from(plan.decision == TableDecision::Skipped),
        tables_done: i32::from(plan.decision == TableDecision::Unchanged),
        ..Counts::default()
    };
    let mut tasks = 0..0;
    if plan.moves() {
        tasks = make_tasks(tx, at, &job, key, units, &mut adds)?;
        // One without tasks has nothing to be done.
        adds.tables_done += i32::from(tasks.is_empty());
    }
    table.apply(at, TableEvent::Planned { plan: Box::new(plan), tasks, units: unit_count })?;
    table.stored_in(tx.revision());
    tx.put(&JOB_TABLES, key, &table)?;
    stored::change(tx, at, &key.job, job, JobEvent::TablePlanned(adds))?;
    Ok(true)
}

fn block(plan: &mut TablePlan, decision: DecisionReason, reason: ErrorReason, why: &SchedulerError) {
    let text = why.to_string();
    plan.decision = TableDecision::Blocked.into();
    plan.decision_reason = decision.into();
    plan.decision_message.clone_from(&text);
    plan.reason = Some(Reason::new(reason, text));
}

/// Why an older version must not be written over the one that is there, if that is so.
fn newer_there(
    read: &impl Read,
    job: &Job,
    key: &TableKey,
    plan: &TablePlan,
    units: &[Unit],
) -> Result<Option<SchedulerError>> {
    let (Some(target), Some(version)) = (plan.target_name(), &plan.version) else { return Ok(None) };
    newer::refusal(read, job, key, target, version, units)
}

fn claim_all(
    tx: &mut Tx<'_>,
    job: &Job,
    key: &TableKey,
    plan: &TablePlan,
    units: &[Unit],
) -> Result<Result<(), SchedulerError>> {
    let Some(target) = &plan.target else { return Ok(Ok(())) };
    match claim::units(tx, key, job, target, units) {
        Ok(()) => Ok(Ok(())),
        Err(owned @ SchedulerError::TargetOwned { .. }) => Ok(Err(owned)),
        Err(error) => Err(error),
    }
}

/// Stores the tasks of a table; their numbers, and what they add to what the job has to do.
fn make_tasks(
    tx: &mut Tx<'_>,
    at: &Moment,
    job: &Job,
    key: &TableKey,
    units: Vec<Unit>,
    adds: &mut Counts,
) -> Result<Range<u32>> {
    let steps = steps(job.spec(), !units.is_empty());
    let bytes: Vec<i64> = units.iter().map(|unit| unit.source_bytes).collect();
    let bounds = Bounds {
        units: usize::try_from(job.limits.max_partitions_per_task).unwrap_or(1),
        bytes: job.limits.max_bytes_per_task,
    };
    let mut cuts = split(&bytes, bounds);
    if cuts.is_empty() && !steps.is_empty() {
        cuts.push(0..0);
    }
    let mut number = job.next_task;
    for cut in cuts {
        let first = number == job.next_task;
        let makes_table = steps.contains(&Step::Schema);
        // One task of each table looks at the whole of it in the end.
        let looks = first.then_some(Step::Look);
        let planned = TaskPlan {
            schema: key.schema.clone(),
            table: key.table.clone(),
            steps: steps.iter().copied().chain(looks).map(Into::into).collect(),
            makes_table: first && makes_table,
            create_time_ms: at.now_ms,
        };
        let mut task = Task::new(planned, units[cut].to_vec(), !first && makes_table);
        *adds += Counts {
            tasks_total: 1,
            rows_total: task.rows_total().unwrap_or(0),
            bytes_total: task.bytes_total(),
            ..Counts::default()
        };
        let task_key = TaskKey { job: key.job.clone(), number };
        let line = format!("planned: {}", describe(&task));
        log::write(tx, at, &task_key, &mut task, &Line::own(line))?;
        task.stored_in(tx.revision());
        tx.put(&TASKS, &task_key, &task)?;
        number += 1;
    }
    Ok(job.next_task..number)
}

fn describe(task: &Task) -> String {
    let files: i64 = task.units.iter().map(|unit| unit.file_count).sum();
    format!("{} target units, {files} files, {} bytes", task.units.len(), task.bytes_total())
}

/// Moves a job on whose tables are all planned.
pub fn finish(tx: &mut Tx<'_>, at: &Moment, key: &JobKey, uid: &str) -> Result<()> {
    let Some(job) = still(tx, key, uid)?.filter(Job::is_planned) else { return Ok(()) };
    stored::change(tx, at, key, job, JobEvent::Planned)?;
    Ok(())
}
