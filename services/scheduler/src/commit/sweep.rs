//! Takes back what tasks of live jobs did at a target table that was deleted or recreated, in many small commits, until
//! no task counts it any more. Until then no task of that target is leased, so no piece comes too late. Jobs that are
//! not live check their tasks when they are started or retried ([`crate::job::change`]).

use std::ops::ControlFlow;

use mms_proto::scheduler::v1::LogLevel;
use mms_store::{Read, Scope, Tx};
use tokio_util::sync::CancellationToken;

use super::claim;
use crate::error::Result;
use crate::job::rollup;
use crate::key::{TableKey, TargetKey, TaskKey};
use crate::moment::Moment;
use crate::pages::ROWS_AT_ONCE;
use crate::record::{AtTarget, Epoch, JobTable, TargetEvent, Task, TaskEvent};
use crate::report::log::{self, Line};
use crate::scheduler::Scheduler;
use crate::store::{JOB_TABLES, STALE_TARGETS, TABLE_CLAIMS, TARGETS, TASKS};

/// How far the sweep of a target has come. Kept in memory only: to begin again from the start is always correct.
#[derive(Debug, Clone, Default)]
pub struct Cursor {
    generation: u64,
    /// Tables of jobs that are swept completely.
    tables: usize,
    /// Tasks of the next table that are swept.
    tasks: usize,
}

/// The outcome of a piece.
#[derive(Debug)]
pub enum Piece {
    /// There is more to do, from this position. These leases have ended with the piece.
    More(Cursor, Vec<(TaskKey, Epoch)>),
    /// The target is swept. These leases have ended with the piece.
    Done(Vec<(TaskKey, Epoch)>),
}

/// Sweeps every stale target, until the token is cancelled.
pub async fn run(scheduler: Scheduler, stop: CancellationToken) {
    let what = "taking back what was done at a lost target table";
    scheduler.after_changes(stop, what, || all(&scheduler)).await;
}

async fn all(scheduler: &Scheduler) -> Result<()> {
    let stale = scheduler.store.read(|read| read.index_page(&TARGETS, &STALE_TARGETS, &Scope::all(), None, 1000))?;
    for (key, _) in stale.items {
        let mut cursor = Cursor::default();
        loop {
            let (own, at, from) = (key.clone(), scheduler.moment(), cursor);
            let (next, ended) = match scheduler.store.commit(move |tx| some(tx, &at, &own, from)).await? {
                Piece::More(next, ended) => (Some(next), ended),
                Piece::Done(ended) => (None, ended),
            };
            ended.iter().for_each(|(task, epoch)| scheduler.leases.end(task, *epoch));
            match next {
                Some(next) => cursor = next,
                None => break,
            }
        }
    }
    Ok(())
}

/// Sweeps one page of the tasks of a target.
pub fn some(tx: &mut Tx<'_>, at: &Moment, key: &TargetKey, mut cursor: Cursor) -> Result<Piece> {
    let Some(mut known) = tx.get(&TARGETS, key)?.filter(AtTarget::is_stale) else { return Ok(Piece::Done(Vec::new())) };
    if cursor.generation != known.generation() {
        cursor = Cursor { generation: known.generation(), ..Cursor::default() };
    }
    let mut ended = Vec::new();
    let tables = tables(tx, key)?;
    while let Some(table_key) = tables.get(cursor.tables) {
        let Some(table) = tx.get(&JOB_TABLES, table_key)? else {
            (cursor.tables, cursor.tasks) = (cursor.tables + 1, 0);
            continue;
        };
        let numbers: Vec<u32> = table.tasks().skip(cursor.tasks).take(ROWS_AT_ONCE).collect();
        for number in &numbers {
            let task_key = TaskKey { job: table_key.job.clone(), number: *number };
            let Some(before) = tx.get(&TASKS, &task_key)? else { continue };
            if is_lost(tx, &table, &task_key, &before, &known)? {
                let epoch = before.leased().then_some(before.epoch);
                lose(tx, at, &task_key, &before, &known)?;
                ended.extend(epoch.map(|epoch| (task_key, epoch)));
            }
        }
        cursor.tasks += numbers.len();
        if numbers.len() == ROWS_AT_ONCE {
            return Ok(Piece::More(cursor, ended));
        }
        (cursor.tables, cursor.tasks) = (cursor.tables + 1, 0);
    }
    known.apply(TargetEvent::Swept);
    tx.put(&TARGETS, key, &known)?;
    Ok(Piece::Done(ended))
}

/// Returns the tables of live jobs that have this target.
fn tables(read: &impl Read, target: &TargetKey) -> Result<Vec<TableKey>> {
    let mut claims = Vec::new();
    read.scan(&TABLE_CLAIMS, &Scope::prefix(target), |at, claim| {
        claims.push((at, claim));
        ControlFlow::Continue(())
    })?;
    let mut live = Vec::new();
    for (at, claim) in claims {
        if claim::holds(read, &at.job, &claim.job_uid)? {
            live.push(TableKey { job: at.job, schema: claim.schema, table: claim.table });
        }
    }
    Ok(live)
}

/// Whether what a task did no longer counts, or whether it could be leased before its table is made.
fn is_lost(read: &impl Read, table: &JobTable, key: &TaskKey, task: &Task, known: &AtTarget) -> Result<bool> {
    let early = task.needs_maker() && !task.blocked && !task.state.is_failed() && {
        let maker = read.get(&TASKS, &TaskKey { number: table.first_task, ..key.clone() })?;
        maker.is_some_and(|maker| !has_made(&maker, known))
    };
    Ok(early || !task.is_of_generation(known.generation()))
}

fn has_made(maker: &Task, known: &AtTarget) -> bool {
    maker.state.table_made() && maker.generation == known.generation()
}

/// Takes back what a task did at its target. If the table cannot be made because the task that makes it has failed,
/// this task fails too.
pub fn lose(tx: &mut Tx<'_>, at: &Moment, key: &TaskKey, before: &Task, known: &AtTarget) -> Result<()> {
    let maker = match tx.get(&JOB_TABLES, &before.table_key(&key.job))?.filter(|_| before.needs_maker()) {
        Some(table) => {
            let maker = TaskKey { number: table.first_task, ..key.clone() };
            tx.get(&TASKS, &maker)?.map(|task| (maker, task))
        }
        None => None,
    };
    let mut task = before.clone();
    task.apply(
        at,
        TaskEvent::TargetLost { blocked: maker.as_ref().is_some_and(|(_, maker)| !has_made(maker, known)) },
    )?;
    let text = "the target table was deleted or made anew: what was written there is written again";
    log::write(tx, at, key, &mut task, &Line { level: LogLevel::Warning, ..Line::own(text) })?;
    if let Some((maker_key, maker)) = maker.filter(|(_, maker)| maker.state.is_failed() && task.blocked) {
        task.apply(at, TaskEvent::TableFailed(Some(rollup::because_of(&maker_key, &maker))))?;
    }
    rollup::save(tx, at, key, before, task)
}
