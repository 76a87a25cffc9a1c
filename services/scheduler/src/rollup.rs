//! Keeps what hangs on a task in step with it, in the same commit: its table, its job, its log, and what the catalog is
//! to be told. Every change of a task goes through [`save`].

use mms_proto::types::v1::{MigrationState, Verdict};
use mms_store::{Incarnation, Read, Scope, Tx};

use crate::error::Result;
use crate::job::{JobEvent, JobState};
use crate::key;
use crate::record::{self, Job, JobTable, Log, Notice, Task};
use crate::store::{JOB_TABLES, JOBS, LOGS, NOTICES, TASKS, TaskKey};
use crate::task::TaskState;

/// Lines of a task's log that are kept.
const LOGS_MAX: u64 = 1_000;
/// Characters of one line that are kept.
const LOG_CHARS_MAX: usize = 4_000;

/// What a commit needs from outside: the time, and which life of the store this is.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// Milliseconds since 1970, by the wall clock.
    pub now_ms: i64,
    /// A random number in 0.0..1.0.
    pub spread: f64,
    /// The store's incarnation.
    pub incarnation: Incarnation,
}

/// Writes a line into a task's log; the oldest goes when there are too many.
pub fn log(tx: &mut Tx<'_>, at: &Moment, key: &TaskKey, task: &mut Task, worker: &str, message: &str) -> Result<()> {
    task.next_log += 1;
    let sequence = task.next_log;
    let line = Log {
        time_ms: at.now_ms,
        attempt: if worker.is_empty() { 0 } else { task.attempt },
        worker: worker.to_owned(),
        state: task.state,
        message: message.chars().take(LOG_CHARS_MAX).collect(),
    };
    tx.put(&LOGS, &(key.0.clone(), key.1.clone(), key.2, sequence), &line)?;
    if let Some(oldest) = sequence.checked_sub(LOGS_MAX).filter(|n| *n > 0) {
        tx.delete(&LOGS, &(key.0.clone(), key.1.clone(), key.2, oldest))?;
    }
    Ok(())
}

/// Stores a task that changed, with all that follows for its table and job. `before` is the task as it was stored.
pub fn save(tx: &mut Tx<'_>, at: &Moment, key: &TaskKey, before: &Task, mut after: Task) -> Result<()> {
    after.revision = tx.revision();
    let table_key = key::table_of(key, &after);
    if let Some(mut table) = tx.get(&JOB_TABLES, &table_key)? {
        let made = !before_made(before) && before_made(&after) && after.makes_table;
        roll_table(&mut table, before, &after, at.now_ms);
        table.revision = tx.revision();
        if made {
            unblock(tx, key, &table)?;
        }
        if after.makes_table && TaskState::of(&after) == Some(TaskState::SchemaFailed) {
            fail_blocked(tx, key, &mut table, &after)?;
        }
        notify(tx, at, key, &table, before, &after)?;
        tx.put(&JOB_TABLES, &table_key, &table)?;
    }
    tx.put(&TASKS, key, &after)?;
    roll_job(tx, at, key, before, &after)
}

fn before_made(task: &Task) -> bool {
    TaskState::of(task).is_some_and(TaskState::table_made)
}

fn is(task: &Task, state: TaskState) -> bool {
    task.state == state as i32
}

fn failed(task: &Task) -> bool {
    TaskState::of(task).is_some_and(TaskState::is_failed)
}

fn flip(before: bool, after: bool) -> i32 {
    i32::from(after) - i32::from(before)
}

fn roll_table(table: &mut JobTable, before: &Task, after: &Task, now_ms: i64) {
    if table.start_time_ms == 0 && after.leased() {
        table.start_time_ms = now_ms;
    }
    let done = flip(is(before, TaskState::Done), is(after, TaskState::Done));
    table.tasks_done += done;
    table.tasks_failed += flip(failed(before), failed(after));
    if done != 0 {
        table.rows_done += i64::from(done) * after.rows_done;
        table.bytes_done += i64::from(done) * after.bytes_done;
        if let Some(counted) = counted_rows(after) {
            table.verified = true;
            table.target_rows += counted;
        }
    }
    table.reason = match (failed(after), table.tasks_failed) {
        (true, _) => after.reason.clone(),
        (false, 0) => None,
        (false, _) => table.reason.take(),
    };
    let ended = table.tasks_done + table.tasks_failed == table.task_count;
    table.end_time_ms = if ended { now_ms } else { 0 };
}

/// Rows that verification counted in the target.
fn counted_rows(task: &Task) -> Option<i64> {
    let found = task.verification.as_ref()?;
    if found.verdict != Verdict::Equal as i32 {
        return None;
    }
    let counts = found.checks.iter().filter(|check| check.kind == "row_count");
    counts.map(|check| check.target_value.parse::<i64>().ok()).sum()
}

/// The table is made: its other tasks may go.
fn unblock(tx: &mut Tx<'_>, maker: &TaskKey, table: &JobTable) -> Result<()> {
    for_others(tx, maker, table, |task| {
        task.blocked = false;
        None
    })
    .map(drop)
}

/// The table cannot be made: its other tasks cannot either.
fn fail_blocked(tx: &mut Tx<'_>, maker: &TaskKey, table: &mut JobTable, cause: &Task) -> Result<()> {
    let reason = cause.reason.clone();
    let failed = for_others(tx, maker, table, |task| {
        (task.blocked && is(task, TaskState::Init)).then(|| {
            task.state = TaskState::SchemaFailed as i32;
            task.reason.clone_from(&reason);
        })
    })?;
    table.tasks_failed += failed;
    if let Some(mut job) = tx.get(&JOBS, &key::job_of(maker))? {
        job.counts.tasks_failed += failed;
        tx.put(&JOBS, &key::job_of(maker), &job)?;
    }
    Ok(())
}

/// Changes the other tasks of a table; answers how many gave something.
fn for_others(
    tx: &mut Tx<'_>,
    maker: &TaskKey,
    table: &JobTable,
    mut change: impl FnMut(&mut Task) -> Option<()>,
) -> Result<i32> {
    let mut changed = 0;
    let first = table.first_task;
    for number in first..first + table.task_count.unsigned_abs() {
        let other = (maker.0.clone(), maker.1.clone(), number);
        if number == maker.2 {
            continue;
        }
        if let Some(mut task) = tx.get(&TASKS, &other)? {
            changed += i32::from(change(&mut task).is_some());
            task.revision = tx.revision();
            tx.put(&TASKS, &other, &task)?;
        }
    }
    Ok(changed)
}

fn roll_job(tx: &mut Tx<'_>, at: &Moment, key: &TaskKey, before: &Task, after: &Task) -> Result<()> {
    let job_key = key::job_of(key);
    let Some(mut job) = tx.get(&JOBS, &job_key)? else { return Ok(()) };
    let counts = &mut job.counts;
    counts.tasks_running += flip(before.leased(), after.leased());
    counts.tasks_failed += flip(failed(before), failed(after));
    let done = flip(is(before, TaskState::Done), is(after, TaskState::Done));
    counts.tasks_done += done;
    counts.rows_done += i64::from(done) * after.rows_done;
    counts.bytes_done += i64::from(done) * after.bytes_done;
    if done != 0
        && let Some(table) = tx.get(&JOB_TABLES, &key::table_of(key, after))?
    {
        counts.tables_done += flip(table.tasks_done - done == table.task_count, table.tasks_done == table.task_count);
    }
    if after.leased() && job.start_time_ms == 0 {
        job.start_time_ms = at.now_ms;
    }
    if after.leased()
        && let Some(next) = JobState::of(&job).and_then(|state| state.after(JobEvent::Leased).ok())
    {
        job.state = next as i32;
    }
    settle(tx, at, &mut job);
    tx.put(&JOBS, &job_key, &job)?;
    Ok(())
}

/// Ends a job whose tasks all have.
pub fn settle(tx: &Tx<'_>, at: &Moment, job: &mut Job) {
    job.revision = tx.revision();
    let counts = &job.counts;
    if counts.tasks_done + counts.tasks_failed < counts.tasks_total || counts.tables_planned < counts.tables_total {
        return;
    }
    let failed = counts.tasks_failed > 0 || counts.tables_blocked > 0;
    if let Some(next) = JobState::of(job).and_then(|state| state.after(JobEvent::Ended { failed }).ok()) {
        job.state = next as i32;
        job.end_time_ms = at.now_ms;
        job.reason = failed.then(|| failure(counts));
    }
}

fn failure(counts: &record::Counts) -> record::Reason {
    let (reason, message) = match (counts.tasks_failed, counts.tables_blocked) {
        (0, blocked) => ("BLOCKED", format!("{blocked} tables cannot be carried: ListFindings says why")),
        (failed, 0) => ("INTERNAL", format!("{failed} tasks failed: ListTasks says why; RetryJob runs them again")),
        (failed, blocked) => {
            ("INTERNAL", format!("{failed} tasks failed, {blocked} tables cannot be carried: see ListJobTables"))
        }
    };
    record::Reason { reason: reason.to_owned(), message }
}

/// What the catalog is to be told of a change, if anything.
fn migration_state(before: &Task, after: &Task) -> Option<MigrationState> {
    let state = |task: &Task| match TaskState::of(task) {
        Some(TaskState::Done) => MigrationState::Done,
        Some(state) if state.is_failed() => MigrationState::Failed,
        Some(TaskState::Stopped) => MigrationState::Init,
        _ if task.leased() || task.attempt > 0 => MigrationState::Doing,
        _ => MigrationState::Init,
    };
    let now = state(after);
    (state(before) != now).then_some(now)
}

fn notify(tx: &mut Tx<'_>, at: &Moment, key: &TaskKey, table: &JobTable, before: &Task, after: &Task) -> Result<()> {
    let Some(state) = migration_state(before, after) else { return Ok(()) };
    let notice = Notice {
        task: key::task_name(key),
        table: key::table_name(&key.0, &after.schema, &after.table)?,
        partitions: after.units.iter().flat_map(|unit| unit.source_partitions.iter().cloned()).collect(),
        state: state as i32,
        version: table.version.clone(),
    };
    let sequence = next_notice(tx, at)?;
    tx.put(&NOTICES, &sequence, &notice)?;
    Ok(())
}

/// A sequence number above all before it, also above those that a copy of this store gave out before it was restored:
/// the incarnation makes its upper bits.
fn next_notice(tx: &Tx<'_>, at: &Moment) -> Result<u64> {
    let base = (at.incarnation.number << 40) | (tx.revision() << 8);
    let taken = tx.page(&NOTICES, &Scope::range(base..).descending(), None, 1)?;
    Ok(taken.items.first().map_or(base, |(last, _)| last + 1))
}
