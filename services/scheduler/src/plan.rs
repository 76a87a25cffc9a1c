//! Turning a planned table into tasks, inside a commit. [`crate::planner`] fetches; this decides and writes.

use mms_proto::scheduler::v1::{MigrationContent, TableDecision};
use mms_proto::types::v1::VerificationLevel;
use mms_store::{Read, Scope, Tx};

use crate::control;
use crate::error::{Result, SchedulerError};
use crate::job::{JobEvent, JobState};
use crate::key;
use crate::record::{Job, JobTable, Reason, Task, Unit};
use crate::rollup::{self, Moment};
use crate::split::{Bounds, split};
use crate::store::{JOB_TABLES, JOBS, JobKey, LIVE_JOBS, MANIFESTS, TASKS, TableKey};
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
    let page = read.index_page(&JOBS, &LIVE_JOBS, &Scope::all(), None, 1000)?;
    let planning = |job: &Job| JobState::of(job) == Some(JobState::Planning);
    Ok(page.items.into_iter().filter(|(_, job)| planning(job)).collect())
}

/// The job, if it is still that very job and still being planned.
fn still(tx: &Tx<'_>, key: &JobKey, uid: &str) -> Result<Option<Job>> {
    let job = tx.get(&JOBS, key)?.filter(|job| job.uid == uid);
    Ok(job.filter(|job| JobState::of(job) == Some(JobState::Planning)))
}

/// Stores the tables of a job's scope, with the limits that hold for it. False: the job is gone or stopped.
pub fn list(
    tx: &mut Tx<'_>,
    key: &JobKey,
    uid: &str,
    tables: Vec<(String, String, JobTable)>,
    limits: impl FnOnce(&mut Job),
) -> Result<bool> {
    let Some(mut job) = still(tx, key, uid)? else { return Ok(false) };
    control::clear(tx, &JOB_TABLES, &Scope::prefix(&(key.0.clone(), key.1.clone())))?;
    job.counts.tables_total = 0;
    for (schema, name, mut table) in tables {
        if table.decision != TableDecision::Excluded as i32 {
            job.counts.tables_total += 1;
        }
        table.revision = tx.revision();
        tx.put(&JOB_TABLES, &(key.0.clone(), key.1.clone(), schema, name), &table)?;
    }
    limits(&mut job);
    job.scope_listed = true;
    job.revision = tx.revision();
    tx.put(&JOBS, key, &job)?;
    Ok(true)
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

/// Removes what an interrupted plan of a table left.
pub fn clear_manifest(tx: &mut Tx<'_>, key: &TableKey) -> Result<()> {
    let scope = Scope::prefix(&(key.0.clone(), key.1.clone(), (key.2.clone(), key.3.clone())));
    control::clear(tx, &MANIFESTS, &scope)
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
        && let Err(owned) = claim_all(tx, &job_key, uid, key, &table, &units)?
    {
        table.decision = TableDecision::Blocked as i32;
        table.decision_reason = owned.to_string();
        table.reason = Some(Reason { reason: "TARGET_OWNED".to_owned(), message: owned.to_string() });
    }
    if table.decision == TableDecision::Move as i32 {
        make_tasks(tx, at, &mut job, key, &mut table, units)?;
    } else {
        clear_manifest(tx, key)?;
    }
    job.counts.tables_blocked += i32::from(table.decision == TableDecision::Blocked as i32);
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
    job: &JobKey,
    uid: &str,
    key: &TableKey,
    table: &JobTable,
    units: &[Unit],
) -> Result<Result<(), SchedulerError>> {
    let Some(name) = table.target.as_ref().and_then(|target| target.name.as_ref()) else { return Ok(Ok(())) };
    let source = format!("{}.{}", key.2, key.3);
    for unit in units {
        match control::claim(tx, job, uid, &source, &key::unit_key(name, &unit.partition)) {
            Ok(()) => {}
            Err(owned @ SchedulerError::TargetOwned { .. }) => return Ok(Err(owned)),
            Err(error) => return Err(error),
        }
    }
    Ok(Ok(()))
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
        rollup::log(tx, at, &task_key, &mut task, "", &line)?;
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
    let event = JobEvent::Planned { review: job.review };
    if let Some(next) = JobState::of(&job).and_then(|state| state.after(event).ok()) {
        job.state = next as i32;
        rollup::settle(tx, at, &mut job);
        tx.put(&JOBS, key, &job)?;
    }
    Ok(())
}
