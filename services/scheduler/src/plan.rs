//! Turning a planned table into tasks, inside a commit. [`crate::planner`] fetches; this decides and writes.

use mms_proto::ErrorReason;
use mms_proto::scheduler::v1::{DecisionReason, MigrationContent, TableDecision};
use mms_proto::types::v1::VerificationLevel;
use mms_store::{Read, Scope, Tx};

use crate::change;
use crate::claim;
use crate::control;
use crate::error::{Result, SchedulerError};
use crate::job::{JobEvent, JobState};
use crate::record::{Job, JobTable, ManifestChunk, Reason, Task, Unit};
use crate::rollup::{self, Line, Moment};
use crate::split::{Bounds, split};
use crate::store::{ChunkKey, JOB_TABLES, JOBS, JobKey, LIVE_JOBS, MANIFESTS, TASKS, TableKey};
use crate::task::{Step, TaskState};

/// The steps that a job's tasks have. A table without any unit has no rows to move.
pub fn steps(content: i32, verification: i32, has_units: bool) -> Vec<Step> {
    let schema_only = content == MigrationContent::SchemaOnly as i32;
    let data_only = content == MigrationContent::DataOnly as i32;
    let mut steps = Vec::new();
    if !data_only {
        steps.push(Step::Schema);
    }
    if !schema_only && has_units {
        steps.push(Step::Data);
        if verification != VerificationLevel::None as i32 {
            steps.push(Step::Verification);
        }
    }
    steps
}

/// Jobs that are being planned.
pub fn planning(read: &impl Read) -> Result<Vec<(JobKey, Job)>> {
    let planning = |job: &Job| JobState::of(job) == Some(JobState::Planning);
    let (mut jobs, mut next) = (Vec::new(), None);
    loop {
        let page = read.index_page(&JOBS, &LIVE_JOBS, &Scope::all(), next.as_ref(), 1000)?;
        jobs.extend(page.items.into_iter().filter(|(_, job)| planning(job)));
        next = page.next;
        if next.is_none() {
            return Ok(jobs);
        }
    }
}

/// The job, if it is still that very job and still being planned.
fn still(tx: &Tx<'_>, key: &JobKey, uid: &str) -> Result<Option<Job>> {
    let job = tx.get(&JOBS, key)?.filter(|job| job.uid == uid);
    Ok(job.filter(|job| JobState::of(job) == Some(JobState::Planning)))
}

/// Removes a page of what an interrupted listing left; whether there was anything.
pub fn unlist(tx: &mut Tx<'_>, key: &JobKey, uid: &str) -> Result<bool> {
    let Some(mut job) = still(tx, key, uid)? else { return Ok(false) };
    if job.counts.tables_total != 0 {
        job.counts.tables_total = 0;
        tx.put(&JOBS, key, &job)?;
    }
    change::clear_some(tx, &JOB_TABLES, &Scope::prefix(key))
}

/// Stores some of the tables of a job's scope. False: the job is gone or stopped.
pub fn list(tx: &mut Tx<'_>, key: &JobKey, uid: &str, tables: Vec<(String, String, JobTable)>) -> Result<bool> {
    let Some(mut job) = still(tx, key, uid)? else { return Ok(false) };
    for (schema, name, mut table) in tables {
        if table.decision != TableDecision::Excluded as i32 {
            job.counts.tables_total += 1;
        }
        table.revision = tx.revision();
        tx.put(&JOB_TABLES, &(key.0.clone(), key.1.clone(), schema, name), &table)?;
    }
    job.revision = tx.revision();
    tx.put(&JOBS, key, &job)?;
    Ok(true)
}

/// All tables of the scope are stored; the limits that hold for the job are known.
pub fn listed(tx: &mut Tx<'_>, key: &JobKey, uid: &str, limits: impl FnOnce(&mut Job)) -> Result<()> {
    let Some(mut job) = still(tx, key, uid)? else { return Ok(()) };
    limits(&mut job);
    job.scope_listed = true;
    job.revision = tx.revision();
    tx.put(&JOBS, key, &job)?;
    Ok(())
}

/// Ends a job that cannot be planned at all.
pub fn fail(tx: &mut Tx<'_>, at: &Moment, key: &JobKey, uid: &str, reason: Reason) -> Result<()> {
    let Some(mut job) = still(tx, key, uid)? else { return Ok(()) };
    if let Some(next) = JobState::of(&job).and_then(|state| state.after(JobEvent::PlanFailed).ok()) {
        job.state = next as i32;
        job.reason = Some(reason);
        job.end_time_ms = at.now_ms;
        job.revision = tx.revision();
        tx.put(&JOBS, key, &job)?;
    }
    Ok(())
}

/// Removes a page of the files that an interrupted plan of a table left; whether there were any.
pub fn clear_manifest(tx: &mut Tx<'_>, key: &TableKey) -> Result<bool> {
    let scope = Scope::prefix(&(key.0.clone(), key.1.clone(), (key.2.clone(), key.3.clone())));
    change::clear_some(tx, &MANIFESTS, &scope)
}

/// Stores some of the files of a table that is being planned. False: the job is gone or stopped, and nothing was stored.
pub fn keep_manifest(tx: &mut Tx<'_>, key: &JobKey, uid: &str, chunks: &[(ChunkKey, ManifestChunk)]) -> Result<bool> {
    if still(tx, key, uid)?.is_none() {
        return Ok(false);
    }
    chunks.iter().try_for_each(|(at, chunk)| tx.put(&MANIFESTS, at, chunk))?;
    Ok(true)
}

/// Stores a planned table: its units become tasks, and are claimed. `table` says what was planned; a decision other than
/// MOVE makes no task. False: the job is gone or stopped.
pub fn table(
    tx: &mut Tx<'_>,
    at: &Moment,
    key: &TableKey,
    uid: &str,
    mut table: JobTable,
    units: Vec<Unit>,
) -> Result<bool> {
    let job_key: JobKey = (key.0.clone(), key.1.clone());
    let Some(mut job) = still(tx, &job_key, uid)? else { return Ok(false) };
    if tx.get(&JOB_TABLES, key)?.is_none_or(|stored| stored.planned) {
        return Ok(true);
    }
    if table.decision == TableDecision::Move as i32
        && let Err(owned) = claim_all(tx, &job, key, &table, &units)?
    {
        table.decision = TableDecision::Blocked as i32;
        table.decision_reason = DecisionReason::TargetOwned as i32;
        table.decision_message = owned.to_string();
        table.reason = Some(Reason { reason: ErrorReason::TargetOwned as i32, message: owned.to_string() });
    }
    if table.decision == TableDecision::Move as i32 {
        make_tasks(tx, at, &mut job, key, &mut table, units)?;
    }
    job.counts.tables_blocked += i32::from(table.decision == TableDecision::Blocked as i32);
    job.counts.tables_skipped += i32::from(table.decision == TableDecision::Skipped as i32);
    job.counts.tables_done += i32::from(table.decision == TableDecision::Unchanged as i32);
    job.counts.tables_planned += 1;
    table.planned = true;
    table.revision = tx.revision();
    tx.put(&JOB_TABLES, key, &table)?;
    job.revision = tx.revision();
    tx.put(&JOBS, &job_key, &job)?;
    Ok(true)
}

fn claim_all(
    tx: &mut Tx<'_>,
    job: &Job,
    key: &TableKey,
    table: &JobTable,
    units: &[Unit],
) -> Result<Result<(), SchedulerError>> {
    let Some(target) = &table.target else { return Ok(Ok(())) };
    match claim::units(tx, key, job, target, units) {
        Ok(()) => Ok(Ok(())),
        Err(owned @ SchedulerError::TargetOwned { .. }) => Ok(Err(owned)),
        Err(error) => Err(error),
    }
}

fn make_tasks(
    tx: &mut Tx<'_>,
    at: &Moment,
    job: &mut Job,
    key: &TableKey,
    table: &mut JobTable,
    units: Vec<Unit>,
) -> Result<()> {
    let steps = steps(job.spec.content, job.spec.verification_level, !units.is_empty());
    let bytes: Vec<i64> = units.iter().map(|unit| unit.source_bytes).collect();
    let bounds =
        Bounds { units: usize::try_from(job.max_partitions_per_task).unwrap_or(1), bytes: job.max_bytes_per_task };
    let mut cuts = split(&bytes, bounds);
    if cuts.is_empty() && !steps.is_empty() {
        cuts.push(0..0);
    }
    table.first_task = job.next_task;
    table.task_count = i32::try_from(cuts.len()).unwrap_or(i32::MAX);
    table.unit_count = i64::try_from(units.len()).unwrap_or(i64::MAX);
    for (at_cut, cut) in cuts.into_iter().enumerate() {
        let first = at_cut == 0;
        let mut task = Task {
            schema: key.2.clone(),
            table: key.3.clone(),
            state: TaskState::Init as i32,
            units: units[cut].to_vec(),
            steps: steps.iter().map(|step| *step as i32).collect(),
            makes_table: first && steps.contains(&Step::Schema),
            blocked: !first && steps.contains(&Step::Schema),
            create_time_ms: at.now_ms,
            ..Task::default()
        };
        job.counts.tasks_total += 1;
        job.counts.rows_total += task.rows_total().unwrap_or(0);
        job.counts.bytes_total += task.bytes_total();
        let task_key = (key.0.clone(), key.1.clone(), job.next_task);
        let line = format!("planned: {}", describe(&task));
        rollup::log(tx, at, &task_key, &mut task, &Line::own(line))?;
        task.revision = tx.revision();
        tx.put(&TASKS, &task_key, &task)?;
        job.next_task += 1;
    }
    if table.task_count == 0 {
        job.counts.tables_done += 1;
    }
    Ok(())
}

fn describe(task: &Task) -> String {
    let files: i64 = task.units.iter().map(|unit| unit.file_count).sum();
    format!("{} target units, {files} files, {} bytes", task.units.len(), task.bytes_total())
}

/// Moves a job on whose tables are all planned.
pub fn finish(tx: &mut Tx<'_>, at: &Moment, key: &JobKey, uid: &str) -> Result<()> {
    let Some(mut job) = still(tx, key, uid)? else { return Ok(()) };
    if !job.scope_listed || job.counts.tables_planned < job.counts.tables_total {
        return Ok(());
    }
    let event = JobEvent::Planned { review: !control::approved(&job) };
    if let Some(next) = JobState::of(&job).and_then(|state| state.after(event).ok()) {
        job.state = next as i32;
        rollup::settle(tx, at, &mut job);
        tx.put(&JOBS, key, &job)?;
    }
    Ok(())
}
