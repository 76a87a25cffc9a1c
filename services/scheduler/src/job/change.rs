//! Stops, starts, retries and deletes jobs. A job may have 100,000 tables, so a change is many small commits and never
//! blocks the store. The job's record says which change is under way, so that it continues after a crash.
//! [`super::calls`] begins a change; [`step`] does one piece of it, inside a commit.

use mms_store::{KeyPrefix, Read, Scope, Tx};
use prost::Message;

use super::rollup::{self, Roll};
use super::stored;
use crate::commit::{claim, newer, open, target as targets};
use crate::error::{Result, SchedulerError};
use crate::key::{JobKey, TableKey, TaskKey};
use crate::lease::end;
use crate::moment::Moment;
use crate::name;
use crate::pages::{ROWS_AT_ONCE, clear_some};
use crate::record::{
    Change, Epoch, Job, JobEvent, JobTable, LeaseEnd, Lineage, TableEvent, Target, Task, TaskEvent, Version,
};
use crate::report::log::{self, Line};
use crate::report::notice;
use crate::store::{CHECKS, DOING_TASKS, INTENTS, JOB_TABLES, JOBS, LINEAGE, LOGS, MANIFESTS, TASKS, UNITS};

/// Bytes after which a commit is closed: a quarter of what the store accepts in one.
const BYTES_AT_ONCE: usize = 16 << 20;

/// How far a change has come. Kept in memory only: to begin again from the start is always correct.
#[derive(Debug, Clone, Default)]
pub struct Cursor {
    claimed: bool,
    task: Option<TaskKey>,
    reworked: bool,
    table: Option<TableKey>,
}

/// The outcome of a piece of a change.
#[derive(Debug)]
pub enum Step {
    /// There is more to do, from this position. These leases have ended with the piece.
    More(Cursor, Vec<(TaskKey, Epoch)>),
    /// The change is complete. None: the job is deleted.
    Done(Option<Box<Job>>),
    /// No change is under way any more.
    Idle(Box<Job>),
    /// The change is rejected, and the job is as it was before.
    Refused(SchedulerError),
}

/// Does one piece of the change that is under way with a job.
pub fn step(tx: &mut Tx<'_>, at: &Moment, key: &JobKey, cursor: Cursor) -> Result<Step> {
    let Some(job) = tx.get(&JOBS, key)? else { return Ok(Step::Done(None)) };
    let only = job.under_way.and_then(|under_way| under_way.task);
    match job.change() {
        None => Ok(Step::Idle(Box::new(job))),
        Some(Change::Stop) => stop(tx, at, key, job),
        Some(Change::Delete) => delete(tx, at, key, &job),
        Some(Change::Start | Change::Retry) if !cursor.claimed => claim_some(tx, at, key, job, cursor),
        Some(Change::Start | Change::Retry) if !cursor.reworked => rework_some(tx, at, key, &job, cursor),
        Some(Change::Retry) if only.is_none() => unplan_some(tx, at, key, job, cursor),
        Some(Change::Start | Change::Retry) => come_back(tx, at, key, job),
    }
}

fn more(cursor: Cursor) -> Step {
    Step::More(cursor, Vec::new())
}

fn own<K: mms_store::Key>(key: &JobKey) -> Scope<K>
where
    JobKey: KeyPrefix<K>,
{
    Scope::prefix(key)
}

/// Ends leases, and withdraws what the catalog was told of tasks that a worker worked on.
fn stop(tx: &mut Tx<'_>, at: &Moment, key: &JobKey, job: Job) -> Result<Step> {
    let page = tx.index_page(&TASKS, &DOING_TASKS, &own(key), None, ROWS_AT_ONCE)?;
    if page.items.is_empty() {
        let job = stored::change(tx, at, key, job, JobEvent::Stopped)?;
        return Ok(Step::Done(Some(Box::new(job))));
    }
    let (mut ended, mut bytes) = (Vec::new(), 0);
    for (task_key, before) in page.items {
        if bytes > BYTES_AT_ONCE {
            break;
        }
        let table = tx.get(&JOB_TABLES, &before.table_key(key))?;
        bytes += table.map_or(0, |table| table.encoded_len()) + 2 * before.encoded_len();
        if before.leased() {
            end::end(tx, at, &task_key, before.epoch, LeaseEnd::Stopped)?;
            ended.push((task_key, before.epoch));
        } else {
            let mut task = before.clone();
            task.apply(at, TaskEvent::JobStopped)?;
            log::write(tx, at, &task_key, &mut task, &Line::own("the job was stopped"))?;
            rollup::save(tx, at, &task_key, &before, task)?;
        }
    }
    Ok(Step::More(Cursor::default(), ended))
}

/// Claims targets for a start or a retry. Rejected if another live job has claimed one meanwhile, or if a newer version
/// is there.
fn claim_some(tx: &mut Tx<'_>, at: &Moment, key: &JobKey, job: Job, cursor: Cursor) -> Result<Step> {
    let page = tx.page(&TASKS, &own(key), cursor.task.as_ref(), ROWS_AT_ONCE)?;
    let mut known: Option<(TableKey, Option<Place>)> = None;
    for (_, task) in &page.items {
        let table_key = task.table_key(key);
        if known.as_ref().is_none_or(|(known, _)| *known != table_key) {
            // A table that is planned again claims its target when its plan is stored.
            let table = tx.get(&JOB_TABLES, &table_key)?.filter(|table| table.planned && !repins(&job, table));
            let plan = table.map(JobTable::into_plan);
            known = Some((table_key, plan.and_then(|plan| Some((plan.target?, plan.version)))));
        }
        let Some((table_key, Some(target))) = &known else { continue };
        match claim_task(tx, table_key, &job, target, task) {
            Ok(()) => {}
            Err(refused @ (SchedulerError::TargetOwned { .. } | SchedulerError::TargetNewer { .. })) => {
                stored::change(tx, at, key, job, JobEvent::Refused)?;
                return Ok(Step::Refused(refused));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(more(Cursor { claimed: page.next.is_none(), task: page.next, ..cursor }))
}

/// Whether the retry plans this table again because tasks of it have failed.
fn repins(job: &Job, table: &JobTable) -> bool {
    job.repins() && table.has_failed()
}

/// The target of a table, and the version that is moved there.
type Place = (Target, Option<Version>);

fn claim_task(tx: &mut Tx<'_>, key: &TableKey, job: &Job, (target, version): &Place, task: &Task) -> Result<()> {
    if job.spec().only_verifies() {
        return Ok(());
    }
    if let (Some(name), Some(version)) = (&target.name, version)
        && let Some(newer) = newer::refusal(tx, job, key, name, version, task.units.iter())?
    {
        return Err(newer);
    }
    claim::units(tx, key, job, target, task.units.iter())
}

/// Makes tasks ready that are to be repeated: those whose rows another job has replaced, and, for a retry, those that
/// failed.
fn rework_some(tx: &mut Tx<'_>, at: &Moment, key: &JobKey, job: &Job, mut cursor: Cursor) -> Result<Step> {
    let page = tx.page(&TASKS, &own(key), cursor.task.as_ref(), ROWS_AT_ONCE)?;
    cursor.task.clone_from(&page.next);
    let only = job.under_way.and_then(|under_way| under_way.task);
    let mut roll: Option<Roll> = None;
    let mut bytes = 0;
    for (task_key, before) in page.items {
        if !roll.as_ref().is_some_and(|roll| roll.is_of(&task_key, &before)) {
            if let Some(done) = roll.take() {
                bytes += done.weight();
                done.close(tx)?;
            }
            roll = Some(Roll::open(tx, &before.table_key(key))?);
        }
        let Some(roll) =
            roll.as_mut().filter(|roll| roll.table().is_some_and(|table| table.planned && !repins(job, table)))
        else {
            continue;
        };
        let chosen = match (job.change(), only) {
            (Some(Change::Retry), Some(only)) => is_for(tx, &task_key, &before, only)?,
            (change, _) => change == Some(Change::Retry),
        };
        if let Some((mut task, line)) = rework(tx, at, &task_key, &before, job, roll.target(), chosen)? {
            bytes += 2 * task.encoded_len();
            log::write(tx, at, &task_key, &mut task, &Line::own(line))?;
            roll.take(tx, at, &task_key, &before, task)?;
        }
        if bytes > BYTES_AT_ONCE {
            cursor.task = Some(task_key);
            break;
        }
    }
    if let Some(roll) = roll {
        roll.close(tx)?;
    }
    cursor.reworked = cursor.task.is_none();
    Ok(more(cursor))
}

/// Whether a retry of the task `only` concerns this one: it is that task, or makes the table that the task waits for.
fn is_for(read: &impl Read, key: &TaskKey, task: &Task, only: u32) -> Result<bool> {
    if key.number == only {
        return Ok(true);
    }
    let other = read.get(&TASKS, &TaskKey { number: only, ..key.clone() })?;
    let waits = other.is_some_and(|other| other.blocked && other.table_key(&key.job) == task.table_key(&key.job));
    Ok(task.planned().makes_table && waits)
}

/// Returns the task as it is to be repeated, and why; None if it can stay as it is.
fn rework(
    read: &impl Read,
    at: &Moment,
    key: &TaskKey,
    before: &Task,
    job: &Job,
    target: Option<&Target>,
    retry: bool,
) -> Result<Option<(Task, &'static str)>> {
    let mut lost = Vec::new();
    let name = target.and_then(|target| target.name.as_ref());
    let known = name.map(|name| targets::of(read, name)).transpose()?.unwrap_or_default();
    let mut task = before.clone();
    if !task.is_of_generation(known.generation()) {
        // The task that makes the table is of the same generation, so it makes the table again before any other task
        // runs.
        task.apply(at, TaskEvent::TargetLost { blocked: task.needs_maker() })?;
        if task.state.is_failed() && retry {
            task.apply(at, TaskEvent::Retried)?;
        } else if let Some((maker, failed)) = failed_maker(read, key, &task)?.filter(|_| !retry) {
            task.apply(at, TaskEvent::TableFailed(Some(rollup::because_of(&maker, &failed))))?;
        }
        return Ok(Some((task, "the target table was deleted or made anew: what was written there is written again")));
    }
    if let Some(name) = name {
        for (index, unit) in before.units.iter().enumerate().filter(|(_, unit)| unit.published) {
            let place = name.unit_key(&unit.partition);
            // An unresolved intent of another job may have been applied.
            let open = match read.get(&UNITS, &place)?.unwrap_or_default().open_intent() {
                Some(id) => read.get(&INTENTS, &id.to_owned())?.is_some_and(|intent| intent.job_uid != job.uid()),
                None => false,
            };
            let entry = read.get(&LINEAGE, &place)?;
            let own = |entry: &Lineage| {
                let here = entry.generation == known.generation();
                let by_it = entry.job_uid == job.uid() && entry.task == name::task_name(key);
                // What was there when it was planned was written before.
                let before = unit.at_target && unit.published_rows == 0;
                here && (by_it || (before && entry.time_ms <= task.planned().create_time_ms))
            };
            if open || !entry.as_ref().is_some_and(own) {
                lost.push(index);
            }
        }
    }
    let line = match (before.state.is_failed() && retry, lost.is_empty()) {
        (true, _) => "retried by a caller",
        (false, false) => "another job has replaced rows of this task: they are moved again",
        (false, true) => return Ok(None),
    };
    task.apply(at, TaskEvent::UnitsLost(lost))?;
    if before.state.is_failed() && retry {
        task.apply(at, TaskEvent::Retried)?;
    }
    Ok(Some((task, line)))
}

/// Returns the task that makes the table that this task waits for, if it has failed.
fn failed_maker(read: &impl Read, key: &TaskKey, task: &Task) -> Result<Option<(TaskKey, Task)>> {
    if !task.blocked || task.state.is_failed() {
        return Ok(None);
    }
    let Some(table) = read.get(&JOB_TABLES, &task.table_key(&key.job))? else { return Ok(None) };
    let maker = TaskKey { number: table.first_task, ..key.clone() };
    Ok(read.get(&TASKS, &maker)?.filter(|task| task.state.is_failed()).map(|task| (maker, task)))
}

/// Marks tables to be planned again: blocked ones, because what blocked them may have passed, and on request those with
/// failed tasks.
fn unplan_some(tx: &mut Tx<'_>, at: &Moment, key: &JobKey, mut job: Job, mut cursor: Cursor) -> Result<Step> {
    let page = tx.page(&JOB_TABLES, &own(key), cursor.table.as_ref(), ROWS_AT_ONCE)?;
    let (mut blocked, mut failed) = (0, 0);
    for (table_key, mut table) in page.items {
        let fails = table.has_failed();
        if fails && !repins(&job, &table) {
            continue;
        }
        if table.planned && table.apply(at, TableEvent::Unplanned).is_ok() {
            table.stored_in(tx.revision());
            tx.put(&JOB_TABLES, &table_key, &table)?;
            *(if fails { &mut failed } else { &mut blocked }) += 1;
        }
    }
    let unplanned = JobEvent::Unplanned { blocked, failed };
    if page.next.is_none() {
        stored::apply(at, key, &mut job, unplanned)?;
        return come_back(tx, at, key, job);
    }
    stored::change_unseen(tx, at, key, job, unplanned)?;
    cursor.table = page.next;
    Ok(more(cursor))
}

/// Completes a start or a retry.
fn come_back(tx: &mut Tx<'_>, at: &Moment, key: &JobKey, job: Job) -> Result<Step> {
    let job = stored::change(tx, at, key, job, JobEvent::CameBack)?;
    Ok(Step::Done(Some(Box::new(job))))
}

/// Deletes one page of what a job has, and the job itself with the last of it. Its open intents stay.
fn delete(tx: &mut Tx<'_>, at: &Moment, key: &JobKey, job: &Job) -> Result<Step> {
    let tasks = tx.page(&TASKS, &own(key), None, ROWS_AT_ONCE)?.items;
    for (task_key, task) in &tasks {
        if task.is_at_work() {
            notice::gone(tx, at, task_key, task)?;
        }
        let target = open::target_of(tx, task_key, task)?;
        claim::release_task(tx, job.uid(), target.as_ref(), task)?;
        tx.delete(&TASKS, task_key)?;
    }
    if !tasks.is_empty() {
        return Ok(more(Cursor::default()));
    }
    let tables = tx.page(&JOB_TABLES, &own(key), None, ROWS_AT_ONCE)?.items;
    for (table_key, table) in &tables {
        if let Some(name) = table.plan.target_name() {
            claim::release_table(tx, key, job.uid(), name)?;
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
