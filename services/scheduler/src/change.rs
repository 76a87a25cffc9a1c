//! Changes of a job that concern all its tasks, or take them away: stop, start, retry, delete. A job may have a hundred
//! thousand tables, so each is done in many small commits, and what is under way is written down: a process that dies in
//! the middle goes on after its restart. [`crate::control`] says what is to be done; [`step`] does a piece of it, inside a
//! commit.

use mms_proto::scheduler::v1::{DecisionReason, TableDecision};
use mms_store::{Read, Scope, Tx};
use prost::Message;

use crate::claim;
use crate::control;
use crate::error::{Result, SchedulerError};
use crate::job::{JobEvent, JobState};
use crate::key;
use crate::lease::{self, Epoch, LeaseEnd};
use crate::notice;
use crate::record::{Job, JobTable, Target, Task};
use crate::rollup::{self, Line, Moment, Roll};
use crate::store::{
    CHECKS, DOING_TASKS, INTENTS, JOB_TABLES, JOBS, JobKey, LINEAGE, LOGS, MANIFESTS, TASKS, TableKey, TaskKey, UNITS,
};
use crate::task::TaskState;

/// Rows that one commit looks at.
const ROWS_AT_ONCE: usize = 500;
/// Bytes after which a commit is large enough: a quarter of what the store takes.
const BYTES_AT_ONCE: usize = 16 << 20;

/// What is under way. The numbers are kept on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum Change {
    /// It goes on after a stop.
    Start = 1,
    /// What failed is tried again.
    Retry = 2,
    /// It goes away.
    Delete = 3,
    /// It comes to a stop. Not kept as a change: the state STOPPING says it.
    Stop = 4,
}

/// What is under way with a job.
pub fn of(job: &Job) -> Option<Change> {
    let kept = [Change::Start, Change::Retry, Change::Delete].into_iter().find(|change| *change as i32 == job.change);
    kept.or_else(|| (JobState::of(job) == Some(JobState::Stopping)).then_some(Change::Stop))
}

/// Whether a job that has ended claims its targets, as it is coming back.
pub fn claims(job: &Job) -> bool {
    matches!(of(job), Some(Change::Start | Change::Retry))
}

/// How far a change has come. Kept in memory only: from the beginning on is always right too.
#[derive(Debug, Clone, Default)]
pub struct Cursor {
    claimed: bool,
    task: Option<TaskKey>,
    reworked: bool,
    table: Option<TableKey>,
}

/// What came of a piece of a change.
#[derive(Debug)]
pub enum Step {
    /// There is more to do, from here. These leases have ended.
    More(Cursor, Vec<(TaskKey, Epoch)>),
    /// It is done; None: the job is gone.
    Done(Option<Box<Job>>),
    /// Nothing is under way, any more.
    Idle(Box<Job>),
    /// It cannot be done, and the job is what it was.
    Refused(SchedulerError),
}

/// Does a piece of what is under way with a job.
pub fn step(tx: &mut Tx<'_>, at: &Moment, key: &JobKey, cursor: Cursor) -> Result<Step> {
    let Some(job) = tx.get(&JOBS, key)? else { return Ok(Step::Done(None)) };
    match of(&job) {
        None => Ok(Step::Idle(Box::new(job))),
        Some(Change::Stop) => stop(tx, at, key, job),
        Some(Change::Delete) => delete(tx, at, key, &job),
        Some(Change::Start | Change::Retry) if !cursor.claimed => claim_some(tx, key, job, cursor),
        Some(Change::Start | Change::Retry) if !cursor.reworked => rework_some(tx, at, key, &job, cursor),
        Some(Change::Retry) if job.change_task.is_none() => unplan_some(tx, at, key, job, cursor),
        Some(Change::Start | Change::Retry) => come_back(tx, at, key, job),
    }
}

fn more(cursor: Cursor) -> Step {
    Step::More(cursor, Vec::new())
}

fn own<K: mms_store::Key>(key: &JobKey) -> Scope<K>
where
    JobKey: mms_store::KeyPrefix<K>,
{
    Scope::prefix(key)
}

/// Ends leases, and tells of tasks that somebody was at work on.
fn stop(tx: &mut Tx<'_>, at: &Moment, key: &JobKey, mut job: Job) -> Result<Step> {
    let page = tx.index_page(&TASKS, &DOING_TASKS, &own(key), None, ROWS_AT_ONCE)?;
    if page.items.is_empty() {
        job.state = JobState::Stopped as i32;
        job.end_time_ms = at.now_ms;
        job.revision = tx.revision();
        tx.put(&JOBS, key, &job)?;
        return Ok(Step::Done(Some(Box::new(job))));
    }
    let (mut ended, mut bytes) = (Vec::new(), 0);
    for (task_key, before) in page.items {
        if bytes > BYTES_AT_ONCE {
            break;
        }
        let table = tx.get(&JOB_TABLES, &key::table_of(&task_key, &before))?;
        bytes += table.map_or(0, |table| table.encoded_len()) + 2 * before.encoded_len();
        if before.leased() {
            lease::end(tx, at, &task_key, before.epoch(), LeaseEnd::Stopped)?;
            ended.push((task_key, before.epoch()));
        } else {
            let mut task = Task { parked: true, ..before.clone() };
            rollup::log(tx, at, &task_key, &mut task, &Line::own("the job was stopped"))?;
            rollup::save(tx, at, &task_key, &before, task)?;
        }
    }
    Ok(Step::More(Cursor::default(), ended))
}

/// Claims the targets of a job that comes back; refused if another live job has taken one meanwhile.
fn claim_some(tx: &mut Tx<'_>, key: &JobKey, mut job: Job, cursor: Cursor) -> Result<Step> {
    let page = tx.page(&TASKS, &own(key), cursor.task.as_ref(), ROWS_AT_ONCE)?;
    let mut known: Option<(TableKey, Option<Target>)> = None;
    for (task_key, task) in &page.items {
        let table_key = key::table_of(task_key, task);
        if known.as_ref().is_none_or(|(known, _)| *known != table_key) {
            let target = tx.get(&JOB_TABLES, &table_key)?.and_then(|table| table.target);
            known = Some((table_key, target));
        }
        let Some((table_key, Some(target))) = &known else { continue };
        match claim::units(tx, table_key, &job, target, &task.units) {
            Ok(()) => {}
            Err(refused @ SchedulerError::TargetOwned { .. }) => {
                (job.change, job.change_task) = (0, None);
                job.revision = tx.revision();
                tx.put(&JOBS, key, &job)?;
                return Ok(Step::Refused(refused));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(more(Cursor { claimed: page.next.is_none(), task: page.next, ..cursor }))
}

/// Makes tasks ready that have to go again: those whose rows another job has replaced, and, of a retry, those that failed.
fn rework_some(tx: &mut Tx<'_>, at: &Moment, key: &JobKey, job: &Job, mut cursor: Cursor) -> Result<Step> {
    let page = tx.page(&TASKS, &own(key), cursor.task.as_ref(), ROWS_AT_ONCE)?;
    cursor.task.clone_from(&page.next);
    let mut roll: Option<Roll> = None;
    let mut bytes = 0;
    for (task_key, before) in page.items {
        if !roll.as_ref().is_some_and(|roll| roll.is_of(&task_key, &before)) {
            if let Some(done) = roll.take() {
                bytes += done.weight();
                done.close(tx, at)?;
            }
            roll = Some(Roll::open(tx, &key::table_of(&task_key, &before))?);
        }
        let Some(roll) = &mut roll else { continue };
        let chosen = match (of(job), job.change_task) {
            (Some(Change::Retry), Some(only)) => is_for(tx, &task_key, &before, only)?,
            (change, _) => change == Some(Change::Retry),
        };
        if let Some((mut task, line)) = rework(tx, &task_key, &before, job, roll.target(), chosen)? {
            bytes += 2 * task.encoded_len();
            rollup::log(tx, at, &task_key, &mut task, &Line::own(line))?;
            roll.take(tx, at, &task_key, &before, task)?;
        }
        if bytes > BYTES_AT_ONCE {
            cursor.task = Some(task_key);
            break;
        }
    }
    if let Some(roll) = roll {
        roll.close(tx, at)?;
    }
    cursor.reworked = cursor.task.is_none();
    Ok(more(cursor))
}

/// Whether a retry of one task concerns this one: it is that task, or makes the table that the task waits for.
fn is_for(read: &impl Read, key: &TaskKey, task: &Task, only: u32) -> Result<bool> {
    if key.2 == only {
        return Ok(true);
    }
    let other = read.get(&TASKS, &(key.0.clone(), key.1.clone(), only))?;
    let waits =
        other.is_some_and(|other| other.blocked && (&other.schema, &other.table) == (&task.schema, &task.table));
    Ok(task.makes_table && waits)
}

/// The task as it has to go again, and why; None if it is right as it is.
fn rework(
    read: &impl Read,
    key: &TaskKey,
    before: &Task,
    job: &Job,
    target: Option<&Target>,
    retry: bool,
) -> Result<Option<(Task, &'static str)>> {
    let mut task = before.clone();
    let mut lost = false;
    if let Some(name) = target.and_then(|target| target.name.as_ref()) {
        for unit in task.units.iter_mut().filter(|unit| unit.published) {
            let place = key::unit_key(name, &unit.partition);
            // An intent of another job that nobody has resolved may have been applied.
            let open = read.get(&UNITS, &place)?.unwrap_or_default().open_intent;
            let open = read.get(&INTENTS, &open)?.is_some_and(|intent| intent.job_uid != job.uid);
            let entry = read.get(&LINEAGE, &place)?;
            if open || entry.is_none_or(|entry| entry.job_uid != job.uid || entry.task != key::task_name(key)) {
                unit.published = false;
                lost = true;
            }
        }
    }
    let Some(state) = TaskState::of(before) else { return Ok(None) };
    if state.is_failed() && retry {
        return Ok(Some((control::again(task, state.rest()), "tried again by hand")));
    }
    if !lost {
        return Ok(None);
    }
    if matches!(state, TaskState::DataDone | TaskState::Done) {
        task.verification = None;
        task = control::again(task, TaskState::SchemaDone);
    }
    Ok(Some((task, "another job has replaced rows of this task: they are moved again")))
}

/// Lets tables be planned again that were blocked: what kept them may have passed.
fn unplan_some(tx: &mut Tx<'_>, at: &Moment, key: &JobKey, mut job: Job, mut cursor: Cursor) -> Result<Step> {
    let page = tx.page(&JOB_TABLES, &own(key), cursor.table.as_ref(), ROWS_AT_ONCE)?;
    for (table_key, table) in page.items {
        if table.decision == TableDecision::Blocked as i32 && table.planned {
            let fresh = JobTable {
                decision: TableDecision::Move as i32,
                decision_reason: DecisionReason::Retried as i32,
                decision_message: "tried again by hand".to_owned(),
                revision: tx.revision(),
                ..JobTable::default()
            };
            tx.put(&JOB_TABLES, &table_key, &fresh)?;
            job.counts.tables_blocked -= 1;
            job.counts.tables_planned -= 1;
        }
    }
    if page.next.is_none() {
        return come_back(tx, at, key, job);
    }
    tx.put(&JOBS, key, &job)?;
    cursor.table = page.next;
    Ok(more(cursor))
}

/// The last piece of a start or a retry.
fn come_back(tx: &mut Tx<'_>, at: &Moment, key: &JobKey, mut job: Job) -> Result<Step> {
    let planned = control::planned(&job);
    let event = match of(&job) {
        Some(Change::Retry) => JobEvent::Retry { planned },
        _ => JobEvent::Start { planned, approved: control::approved(&job) },
    };
    if of(&job) == Some(Change::Retry) && !planned {
        // What is planned anew is looked at anew.
        job.approved = false;
        job.approver.clear();
        job.approve_time_ms = 0;
    }
    job.state = control::after(key, &job, event)? as i32;
    (job.change, job.change_task) = (0, None);
    job.reason = None;
    job.end_time_ms = 0;
    job.logs_dropped = false;
    rollup::settle(tx, at, &mut job);
    tx.put(&JOBS, key, &job)?;
    Ok(Step::Done(Some(Box::new(job))))
}

/// Takes away a page of what a job has, and with the last of it the job. Its open intents stay.
fn delete(tx: &mut Tx<'_>, at: &Moment, key: &JobKey, job: &Job) -> Result<Step> {
    let tasks = tx.page(&TASKS, &own(key), None, ROWS_AT_ONCE)?.items;
    for (task_key, task) in &tasks {
        if notice::at_work(task) {
            notice::gone(tx, at, task_key, task)?;
        }
        let table = tx.get(&JOB_TABLES, &key::table_of(task_key, task))?;
        if let Some(name) = table.and_then(|table| table.target).and_then(|target| target.name) {
            for unit in &task.units {
                claim::release(tx, &job.uid, &key::unit_key(&name, &unit.partition))?;
            }
        }
        tx.delete(&TASKS, task_key)?;
    }
    if !tasks.is_empty() {
        return Ok(more(Cursor::default()));
    }
    let tables = tx.page(&JOB_TABLES, &own(key), None, ROWS_AT_ONCE)?.items;
    for (table_key, table) in &tables {
        if let Some(name) = table.target.as_ref().and_then(|target| target.name.as_ref()) {
            claim::release_table(tx, key, &job.uid, name)?;
        }
        tx.delete(&JOB_TABLES, table_key)?;
    }
    let cleared = clear_some(tx, &MANIFESTS, &own(key))? || clear_some(tx, &CHECKS, &own(key))?;
    if !tables.is_empty() || cleared || clear_some(tx, &LOGS, &own(key))? {
        return Ok(more(Cursor::default()));
    }
    tx.delete(&JOBS, key)?;
    Ok(Step::Done(None))
}

/// Deletes a page of rows; whether there were any.
pub fn clear_some<K: mms_store::Key, R: Message + Default>(
    tx: &mut Tx<'_>,
    table: &mms_store::Table<K, R>,
    scope: &Scope<K>,
) -> Result<bool> {
    let page = tx.page(table, scope, None, ROWS_AT_ONCE)?;
    for (key, _) in &page.items {
        tx.delete(table, key)?;
    }
    Ok(!page.items.is_empty())
}
