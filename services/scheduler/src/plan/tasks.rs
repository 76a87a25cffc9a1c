//! Stores what planning decides, inside commits: the tables of a scope, their manifests, claims and tasks. A function
//! that is given a job's uid first checks that the job still has it and is still PLANNING, so that nothing is stored for
//! a job that was stopped, deleted or made again. [`super::planner`] fetches; this module decides and writes.

use std::ops::ControlFlow;
use std::ops::Range;

use mms_proto::ErrorReason;
use mms_proto::scheduler::v1::{DecisionReason, MigrationContent, TableDecision};
use mms_proto::types::v1::VerificationLevel;
use mms_store::{Read, Scope, Tx};
use prost::Message;

use super::known::Known;
use super::split::{Bounds, split};
use crate::commit::{claim, newer};
use crate::error::{Result, SchedulerError};
use crate::job::stored;
use crate::key::{ChunkKey, JobKey, TableKey, TaskKey};
use crate::moment::Moment;
use crate::pages::{ROWS_AT_ONCE, clear_some};
use crate::record::{
    Counts, Job, JobEvent, JobState, JobTable, Limits, ManifestChunk, Reason, Spec, Step, TableEvent, TablePlan, Task,
    TaskPlan, Unit, counts_of,
};
use crate::report::log::{self, Line};
use crate::store::{CHECKS, JOB_TABLES, JOBS, LIVE_JOBS, LOGS, MANIFESTS, TASKS};

/// Returns the steps of a job's tasks, in order. A task without units has no rows to move, so no DATA and VERIFICATION.
pub fn steps(spec: &Spec, has_units: bool) -> Vec<Step> {
    if spec.only_verifies() {
        return if has_units { vec![Step::Verification] } else { Vec::new() };
    }
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

/// Returns all jobs in state PLANNING.
pub fn planning(read: &impl Read) -> Result<Vec<(JobKey, Job)>> {
    let mut jobs = Vec::new();
    read.index_scan(&JOBS, &LIVE_JOBS, &Scope::all(), |key, job| {
        if job.state == JobState::Planning {
            jobs.push((key, job));
        }
        ControlFlow::Continue(())
    })?;
    Ok(jobs)
}

/// Returns the job if it still has this uid and is still PLANNING.
fn still(tx: &Tx<'_>, key: &JobKey, uid: &str) -> Result<Option<Job>> {
    Ok(tx.get(&JOBS, key)?.filter(|job| job.uid() == uid && job.state == JobState::Planning))
}

/// Deletes one page of the tables that an interrupted listing left. Returns whether there were any.
pub fn unlist(tx: &mut Tx<'_>, at: &Moment, key: &JobKey, uid: &str) -> Result<bool> {
    let Some(job) = still(tx, key, uid)? else { return Ok(false) };
    if job.counts.tables_total != 0 {
        stored::change_unseen(tx, at, key, job, JobEvent::Unlisted)?;
    }
    clear_some(tx, &JOB_TABLES, &Scope::prefix(key))
}

/// Stores some of the tables of a job's scope. Returns false if the job was deleted or is no longer PLANNING.
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

/// Marks the scope as listed completely, and stores the limits that hold for the job.
pub fn listed(tx: &mut Tx<'_>, at: &Moment, key: &JobKey, uid: &str, limits: Limits) -> Result<()> {
    let Some(job) = still(tx, key, uid)? else { return Ok(()) };
    stored::change(tx, at, key, job, JobEvent::ScopeListed(Box::new(limits)))?;
    Ok(())
}

/// Fails a job that cannot be planned at all.
pub fn fail(tx: &mut Tx<'_>, at: &Moment, key: &JobKey, uid: &str, reason: Reason) -> Result<()> {
    let Some(job) = still(tx, key, uid)? else { return Ok(()) };
    stored::change(tx, at, key, job, JobEvent::PlanFailed(reason))?;
    Ok(())
}

/// Deletes one page of the manifest that an interrupted plan of a table left. Returns whether there was any.
pub fn clear_manifest(tx: &mut Tx<'_>, key: &TableKey) -> Result<bool> {
    clear_some(tx, &MANIFESTS, &Scope::prefix(key))
}

/// Stores manifest chunks of a table that is being planned. Returns false, and stores nothing, if the job was deleted
/// or is no longer PLANNING.
pub fn keep_manifest(tx: &mut Tx<'_>, key: &JobKey, uid: &str, chunks: &[(ChunkKey, ManifestChunk)]) -> Result<bool> {
    if still(tx, key, uid)?.is_none() {
        return Ok(false);
    }
    chunks.iter().try_for_each(|(at, chunk)| tx.put(&MANIFESTS, at, chunk))?;
    Ok(true)
}

/// Drops some of the tasks that an earlier plan of a table left, with their logs, checks and claims, highest number
/// first. Returns how many are left, or None if the job was deleted or is no longer PLANNING.
pub fn drop_some(tx: &mut Tx<'_>, at: &Moment, key: &TableKey, uid: &str) -> Result<Option<usize>> {
    let Some(job) = still(tx, &key.job, uid)? else { return Ok(None) };
    let Some(mut table) = tx.get(&JOB_TABLES, key)?.filter(|table| !table.planned && table.task_count > 0) else {
        return Ok(Some(0));
    };
    let mut counts = Counts::default();
    let numbers: Vec<u32> = table.tasks().rev().take(ROWS_AT_ONCE).collect();
    for number in &numbers {
        let task_key = TaskKey { job: key.job.clone(), number: *number };
        let Some(task) = tx.get(&TASKS, &task_key)? else { continue };
        counts += counts_of(&task);
        // Lines and checks of one task are few: each attempt writes a bounded number of them.
        while clear_some(tx, &LOGS, &Scope::prefix(&task_key))? {}
        while clear_some(tx, &CHECKS, &Scope::prefix(&task_key))? {}
        claim::release_task(tx, uid, table.plan.target_name(), &task)?;
        tx.delete(&TASKS, &task_key)?;
    }
    table.apply(at, TableEvent::TasksDropped { tasks: i32::try_from(numbers.len()).unwrap_or(i32::MAX) })?;
    let left = table.tasks().len();
    table.stored_in(tx.revision());
    tx.put(&JOB_TABLES, key, &table)?;
    stored::change(tx, at, &key.job, job, JobEvent::TasksDropped(counts))?;
    Ok(Some(left))
}

/// A part of a planned table that one commit stores. A table of very many units is stored in several pieces; the last
/// one marks it as planned.
#[derive(Debug, Clone)]
pub struct Piece {
    /// The plan of the whole table. A decision other than MOVE makes no tasks.
    pub plan: TablePlan,
    /// The units of each task of this piece.
    pub tasks: Vec<Vec<Unit>>,
    /// The number of units of the whole table if this is the last piece; None for an earlier one.
    pub last: Option<usize>,
}

/// The outcome of storing a piece.
#[derive(Debug)]
pub enum Stored {
    /// The piece is stored, or the table was planned already.
    Yes,
    /// The job was deleted or is no longer PLANNING; nothing is stored.
    Gone,
    /// The table must not be moved, as this plan says; nothing is stored.
    Refused(Box<TablePlan>),
}

/// The most units that are at the target already in one task: they are only counted.
const AT_TARGET_IN_TASK: usize = 1_000;

/// Cuts the units of a table into tasks, and the tasks into pieces. A table without units whose job makes the table has
/// one task without units. Units that are at the target already have tasks of their own, after the others.
pub fn pieces(job: &Job, units: Vec<Unit>, bounds: PieceBounds) -> Vec<Vec<Vec<Unit>>> {
    let (there, moved): (Vec<Unit>, Vec<Unit>) = units.into_iter().partition(|unit| unit.at_target);
    let bytes: Vec<i64> = moved.iter().map(|unit| unit.source_bytes).collect();
    let mut cuts = split(&bytes, task_bounds(job));
    if cuts.is_empty() && there.is_empty() && !steps(job.spec(), false).is_empty() {
        cuts.push(0..0);
    }
    let mut units = moved.into_iter();
    let mut tasks: Vec<Vec<Unit>> = cuts.into_iter().map(|cut| units.by_ref().take(cut.len()).collect()).collect();
    tasks.extend(there.chunks(AT_TARGET_IN_TASK).map(<[Unit]>::to_vec));
    let sizes: Vec<(usize, usize)> =
        tasks.iter().map(|task| (task.len(), task.iter().map(Message::encoded_len).sum())).collect();
    let (mut pieces, mut many, mut bytes) = (vec![Vec::new()], 0, 0);
    for (task, (units, size)) in tasks.into_iter().zip(sizes) {
        if many > 0 && (many + units > bounds.units || bytes + size > bounds.bytes) {
            pieces.push(Vec::new());
            (many, bytes) = (0, 0);
        }
        (many, bytes) = (many + units, bytes + size);
        if let Some(piece) = pieces.last_mut() {
            piece.push(task);
        }
    }
    pieces
}

/// Bounds of one piece. Only a single task may exceed them.
#[derive(Debug, Clone, Copy)]
pub struct PieceBounds {
    /// Most units; each also makes a claim.
    pub units: usize,
    /// Most bytes of the units' records.
    pub bytes: usize,
}

impl Default for PieceBounds {
    fn default() -> Self {
        Self { units: 5_000, bytes: 8 << 20 }
    }
}

fn task_bounds(job: &Job) -> Bounds {
    Bounds {
        units: usize::try_from(job.limits.max_partitions_per_task).unwrap_or(1),
        bytes: job.limits.max_bytes_per_task,
    }
}

/// Stores a piece of a planned table: claims its units and makes its tasks.
pub fn store(tx: &mut Tx<'_>, at: &Moment, key: &TableKey, uid: &str, piece: Piece) -> Result<Stored> {
    let Piece { mut plan, tasks, last } = piece;
    let Some(job) = still(tx, &key.job, uid)? else { return Ok(Stored::Gone) };
    let Some(mut table) = tx.get(&JOB_TABLES, key)?.filter(|table| !table.planned) else { return Ok(Stored::Yes) };
    if plan.moves() && !job.spec().only_verifies() {
        let units = tasks.iter().flatten();
        if let Err(refused) = take_targets(tx, &job, key, &plan, units)? {
            block(&mut plan, refused);
            return Ok(Stored::Refused(Box::new(plan)));
        }
    }
    let mut adds = Counts::default();
    let first = table.task_count == 0;
    let known = Known::of(tx, &plan)?;
    let tasks = if plan.moves() { make_tasks(tx, at, &job, key, (known, tasks), first, &mut adds)? } else { 0..0 };
    match last {
        None => table.apply(at, TableEvent::TasksStored { tasks, target: plan.target.map(Box::new) })?,
        Some(units) => {
            adds += Counts {
                tables_planned: 1,
                tables_blocked: i32::from(plan.decision == TableDecision::Blocked),
                tables_skipped: i32::from(plan.decision == TableDecision::Skipped),
                // A table without tasks has nothing left to do.
                tables_done: i32::from(
                    plan.decision == TableDecision::Unchanged || (plan.moves() && first && tasks.is_empty()),
                ),
                ..Counts::default()
            };
            let units = if plan.moves() { i64::try_from(units).unwrap_or(i64::MAX) } else { 0 };
            table.apply(at, TableEvent::Planned { plan: Box::new(plan), tasks, units })?;
        }
    }
    table.stored_in(tx.revision());
    tx.put(&JOB_TABLES, key, &table)?;
    stored::change(tx, at, &key.job, job, JobEvent::TablePlanned(adds))?;
    Ok(Stored::Yes)
}

/// Why a table must not be moved to its target.
struct Refusal(DecisionReason, ErrorReason, SchedulerError);

fn block(plan: &mut TablePlan, Refusal(decision, reason, why): Refusal) {
    let text = why.to_string();
    plan.decision = TableDecision::Blocked.into();
    plan.decision_reason = decision.into();
    plan.decision_message.clone_from(&text);
    plan.reason = Some(Reason::new(reason, text));
}

/// Claims units at the target, all of them or none. Refused if another job has claimed one, or if the target has a
/// newer version.
fn take_targets<'a>(
    tx: &mut Tx<'_>,
    job: &Job,
    key: &TableKey,
    plan: &TablePlan,
    units: impl Iterator<Item = &'a Unit> + Clone,
) -> Result<Result<(), Refusal>> {
    let Some(target) = &plan.target else { return Ok(Ok(())) };
    if let (Some(name), Some(version)) = (&target.name, &plan.version)
        && let Some(newer) = newer::refusal(tx, job, key, name, version, units.clone())?
    {
        return Ok(Err(Refusal(DecisionReason::TargetNewer, ErrorReason::TargetNewer, newer)));
    }
    match claim::units(tx, key, job, target, units) {
        Ok(()) => Ok(Ok(())),
        Err(owned @ SchedulerError::TargetOwned { .. }) => {
            Ok(Err(Refusal(DecisionReason::TargetOwned, ErrorReason::TargetOwned, owned)))
        }
        Err(error) => Err(error),
    }
}

/// Stores tasks of a table and adds them to `adds`, the job's counts. `first`: the table has no task yet. Returns their
/// numbers.
fn make_tasks(
    tx: &mut Tx<'_>,
    at: &Moment,
    job: &Job,
    key: &TableKey,
    (known, tasks): (Known, Vec<Vec<Unit>>),
    first: bool,
    adds: &mut Counts,
) -> Result<Range<u32>> {
    let mut number = job.next_task;
    for mut units in tasks {
        known.judge(tx, &mut units)?;
        let first = first && number == job.next_task;
        let steps = steps(job.spec(), !units.is_empty());
        let makes_table = steps.contains(&Step::Schema);
        // Exactly one task of each table looks at the whole table in the end.
        let looks = (first && !job.spec().only_verifies()).then_some(Step::Look);
        let planned = TaskPlan {
            schema: key.schema.clone(),
            table: key.table.clone(),
            steps: steps.into_iter().chain(looks).map(Into::into).collect(),
            makes_table: first && makes_table,
            create_time_ms: at.now_ms,
        };
        let mut task = Task::new(planned, units, !first && makes_table).in_generation(known.generation());
        *adds += counts_of(&task);
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
    let (there, moved): (Vec<&Unit>, Vec<&Unit>) = task.units.iter().partition(|unit| unit.at_target);
    let files: i64 = moved.iter().map(|unit| unit.file_count).sum();
    let there =
        if there.is_empty() { String::new() } else { format!(", {} units are at the target already", there.len()) };
    format!("{} target units, {files} files, {} bytes{there}", moved.len(), task.bytes_total())
}

/// Ends the planning of a job if all its tables are planned.
pub fn finish(tx: &mut Tx<'_>, at: &Moment, key: &JobKey, uid: &str) -> Result<()> {
    let Some(job) = still(tx, key, uid)?.filter(Job::is_planned) else { return Ok(()) };
    stored::change(tx, at, key, job, JobEvent::Planned)?;
    Ok(())
}

#[cfg(test)]
#[path = "tasks_tests.rs"]
mod tests;
