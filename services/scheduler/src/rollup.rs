//! Keeps what hangs on a task in step with it, in the same commit: its table, its job, its log, and what the catalog is
//! to be told. Every change of a task goes through [`save`], or through a [`Roll`] when tasks of one table change together.

use mms_proto::ErrorReason;
use mms_proto::scheduler::v1::LogLevel;
use mms_proto::types::v1::Verdict;
use mms_store::{Incarnation, Read, Tx};

use crate::error::Result;
use crate::job::{JobEvent, JobState};
use crate::key;
use crate::notice;
use crate::record::{self, Job, JobTable, Log, Target, Task};
use crate::store::{JOB_TABLES, JOBS, LOGS, TASKS, TableKey, TaskKey};
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

/// A line for a task's log.
#[derive(Debug, Clone)]
pub struct Line {
    /// How grave it is.
    pub level: LogLevel,
    /// Who says it; empty: this service.
    pub worker: String,
    /// What was done or found.
    pub message: String,
}

impl Line {
    /// A line of this service, of something that is as it should be.
    pub fn own(message: impl Into<String>) -> Self {
        Self { level: LogLevel::Info, worker: String::new(), message: message.into() }
    }
}

/// Writes a line into a task's log; the oldest goes when there are too many.
pub fn log(tx: &mut Tx<'_>, at: &Moment, key: &TaskKey, task: &mut Task, line: &Line) -> Result<()> {
    task.next_log += 1;
    let sequence = task.next_log;
    let stored = Log {
        time_ms: at.now_ms,
        attempt: if line.worker.is_empty() { 0 } else { task.attempt },
        worker: line.worker.clone(),
        state: task.state,
        message: line.message.chars().take(LOG_CHARS_MAX).collect(),
        step: TaskState::of(task).and_then(TaskState::step).map_or(0, |step| step as i32),
        level: line.level as i32,
    };
    tx.put(&LOGS, &(key.0.clone(), key.1.clone(), key.2, sequence), &stored)?;
    if let Some(oldest) = sequence.checked_sub(LOGS_MAX).filter(|n| *n > 0) {
        tx.delete(&LOGS, &(key.0.clone(), key.1.clone(), key.2, oldest))?;
    }
    Ok(())
}

/// Stores a task that changed, with all that follows for its table and job. `before` is the task as it was stored.
pub fn save(tx: &mut Tx<'_>, at: &Moment, key: &TaskKey, before: &Task, after: Task) -> Result<()> {
    let mut roll = Roll::open(tx, &key::table_of(key, &after))?;
    roll.take(tx, at, key, before, after)?;
    roll.close(tx, at)
}

/// A table and its job, while tasks of the table change: read once, written once.
pub struct Roll {
    table_key: TableKey,
    table: Option<JobTable>,
    job: Option<Job>,
}

impl Roll {
    /// The table and its job as stored.
    pub fn open(tx: &Tx<'_>, key: &TableKey) -> Result<Self> {
        let job = tx.get(&JOBS, &(key.0.clone(), key.1.clone()))?;
        Ok(Self { table: tx.get(&JOB_TABLES, key)?, job, table_key: key.clone() })
    }

    /// Whether this is the table of a task.
    pub fn is_of(&self, key: &TaskKey, task: &Task) -> bool {
        key::table_of(key, task) == self.table_key
    }

    /// Where the table goes.
    pub fn target(&self) -> Option<&Target> {
        self.table.as_ref().and_then(|table| table.target.as_ref())
    }

    /// Bytes that [`close`](Self::close) writes, about.
    pub fn weight(&self) -> usize {
        self.table.as_ref().map_or(0, prost::Message::encoded_len)
    }

    /// A task of the table changed.
    pub fn take(&mut self, tx: &mut Tx<'_>, at: &Moment, key: &TaskKey, before: &Task, mut after: Task) -> Result<()> {
        after.revision = tx.revision();
        let mut tables_done = 0;
        if let Some(table) = &mut self.table {
            let done = |table: &JobTable| table.tasks_done == table.task_count;
            let was = done(table);
            roll_table(table, before, &after, at.now_ms);
            tables_done = flip(was, done(table));
            notice::notify(tx, at, key, self.job.as_ref(), table, before, &after)?;
        }
        if let Some(job) = &mut self.job {
            roll_job(job, before, &after, at.now_ms);
            job.counts.tables_done += tables_done;
        }
        tx.put(&TASKS, key, &after)?;
        if after.makes_table && !made(before) && made(&after) {
            self.unblock(tx, at, key)?;
        }
        if after.makes_table && !is(before, TaskState::SchemaFailed) && is(&after, TaskState::SchemaFailed) {
            self.fail_blocked(tx, at, key, &after)?;
        }
        Ok(())
    }

    /// The table is made: its other tasks may go.
    fn unblock(&mut self, tx: &mut Tx<'_>, at: &Moment, maker: &TaskKey) -> Result<()> {
        for (key, before) in self.others(tx, maker)? {
            let after = Task { blocked: false, ..before.clone() };
            self.take(tx, at, &key, &before, after)?;
        }
        Ok(())
    }

    /// The table cannot be made: the tasks that wait for it cannot go either.
    fn fail_blocked(&mut self, tx: &mut Tx<'_>, at: &Moment, maker: &TaskKey, cause: &Task) -> Result<()> {
        let message = format!("failed, as {} could not make the table", key::task_name(maker));
        let line = Line { level: LogLevel::Error, ..Line::own(message) };
        for (key, before) in self.others(tx, maker)? {
            if before.blocked && is(&before, TaskState::Init) {
                let state = TaskState::SchemaFailed as i32;
                let reason = cause.reason.clone();
                let mut after = Task { state, reason, end_time_ms: at.now_ms, ..before.clone() };
                log(tx, at, &key, &mut after, &line)?;
                self.take(tx, at, &key, &before, after)?;
            }
        }
        Ok(())
    }

    fn others(&self, tx: &Tx<'_>, maker: &TaskKey) -> Result<Vec<(TaskKey, Task)>> {
        let Some(table) = &self.table else { return Ok(Vec::new()) };
        let numbers = table.first_task..table.first_task + table.task_count.unsigned_abs();
        let keys = numbers.filter(|number| *number != maker.2).map(|number| (maker.0.clone(), maker.1.clone(), number));
        let mut others = Vec::new();
        for key in keys {
            others.extend(tx.get(&TASKS, &key)?.map(|task| (key, task)));
        }
        Ok(others)
    }

    /// Writes table and job, and ends the job if that was the last of it.
    pub fn close(self, tx: &mut Tx<'_>, at: &Moment) -> Result<()> {
        if let Some(mut table) = self.table {
            table.revision = tx.revision();
            tx.put(&JOB_TABLES, &self.table_key, &table)?;
        }
        if let Some(mut job) = self.job {
            settle(tx, at, &mut job);
            tx.put(&JOBS, &(self.table_key.0, self.table_key.1), &job)?;
        }
        Ok(())
    }
}

fn made(task: &Task) -> bool {
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

/// What a task that is done adds to its table and job, or, done no longer, takes away.
fn done_rows(before: &Task, after: &Task) -> (i32, i64, i64) {
    let done = flip(is(before, TaskState::Done), is(after, TaskState::Done));
    let task = if done < 0 { before } else { after };
    (done, i64::from(done) * task.rows_done, i64::from(done) * task.bytes_done)
}

fn roll_table(table: &mut JobTable, before: &Task, after: &Task, now_ms: i64) {
    if table.start_time_ms == 0 && after.leased() {
        table.start_time_ms = now_ms;
    }
    let (done, rows, bytes) = done_rows(before, after);
    table.tasks_done += done;
    table.tasks_failed += flip(failed(before), failed(after));
    table.rows_done += rows;
    table.bytes_done += bytes;
    if done != 0
        && let Some(counted) = counted_rows(if done < 0 { before } else { after })
    {
        table.verified = true;
        table.target_rows += i64::from(done) * counted;
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
    let found = task.verification.filter(|found| found.verdict == Verdict::Equal as i32)?;
    found.target_rows
}

fn roll_job(job: &mut Job, before: &Task, after: &Task, now_ms: i64) {
    let (done, rows, bytes) = done_rows(before, after);
    let counts = &mut job.counts;
    counts.tasks_running += flip(before.leased(), after.leased());
    counts.tasks_failed += flip(failed(before), failed(after));
    counts.tasks_done += done;
    counts.rows_done += rows;
    counts.bytes_done += bytes;
    if after.leased() && job.start_time_ms == 0 {
        job.start_time_ms = now_ms;
    }
    if after.leased()
        && let Some(next) = JobState::of(job).and_then(|state| state.after(JobEvent::Leased).ok())
    {
        job.state = next as i32;
    }
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
        job.reason = outcome(counts);
    }
}

/// Why a job that has come to an end is not simply done.
fn outcome(counts: &record::Counts) -> Option<record::Reason> {
    let (failed, blocked, skipped) = (counts.tasks_failed, counts.tables_blocked, counts.tables_skipped);
    let (reason, message) = match (failed, blocked) {
        (0, 0) if skipped > 0 => {
            let text = format!("{skipped} skipped: tables of kinds that cannot be moved; ListJobTables says which");
            (ErrorReason::TablesSkipped, text)
        }
        (0, 0) => return None,
        (0, blocked) => (ErrorReason::Blocked, format!("{blocked} tables cannot be carried: ListFindings says why")),
        (failed, 0) => {
            let text = format!("{failed} tasks failed: ListTasks says why; RetryJob runs them again");
            (ErrorReason::TasksFailed, text)
        }
        (failed, blocked) => {
            let text = format!("{failed} tasks failed, {blocked} tables cannot be carried: see ListJobTables");
            (ErrorReason::TasksFailed, text)
        }
    };
    Some(record::Reason { reason: reason as i32, message })
}
