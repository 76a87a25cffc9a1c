//! Tells tasks that wait for their table whether the task that makes it succeeded. The first [`ROWS_AT_ONCE`] hear it
//! in the commit that ends that task's SCHEMA step; the rest of a large table follow in commits of their own.

use mms_proto::scheduler::v1::LogLevel;
use mms_store::{Read, Scope, Tx};
use tokio_util::sync::CancellationToken;

use super::rollup::{self, Roll};
use crate::error::Result;
use crate::key::{TableKey, TaskKey};
use crate::moment::Moment;
use crate::name;
use crate::pages::ROWS_AT_ONCE;
use crate::record::{Task, TaskEvent, TaskState};
use crate::report::log::{self, Line};
use crate::scheduler::Scheduler;
use crate::store::{JOB_TABLES, TASKS, UNTOLD_TABLES};

/// Tells a page of a table's tasks, from this index on, the outcome of the task that makes the table. Returns the index
/// to continue from, or None if there are no more.
pub fn tell(
    roll: &mut Roll,
    tx: &mut Tx<'_>,
    at: &Moment,
    (maker_key, maker): (&TaskKey, &Task),
    from: usize,
) -> Result<Option<usize>> {
    let Some(table) = roll.table() else { return Ok(None) };
    let numbers: Vec<u32> = table.tasks().skip(from).take(ROWS_AT_ONCE).collect();
    for number in numbers.iter().filter(|number| **number != maker_key.number) {
        let key = TaskKey { number: *number, ..maker_key.clone() };
        let Some(before) = tx.get(&TASKS, &key)?.filter(|task| task.blocked) else { continue };
        let mut after = before.clone();
        if maker.state.table_made() {
            after.apply(at, TaskEvent::TableMade)?;
        } else if maker.state == TaskState::SchemaFailed && before.state == TaskState::Init {
            after.apply(at, TaskEvent::TableFailed(Some(rollup::because_of(maker_key, maker))))?;
            let message = format!("failed, as {} could not make the table", name::task_name(maker_key));
            log::write(tx, at, &key, &mut after, &Line { level: LogLevel::Error, ..Line::own(message) })?;
        } else {
            continue;
        }
        roll.take(tx, at, &key, &before, after)?;
    }
    Ok((numbers.len() == ROWS_AT_ONCE).then_some(from + ROWS_AT_ONCE))
}

/// Tells the remaining tasks of all tables that have some, until the token is cancelled.
pub async fn run(scheduler: Scheduler, stop: CancellationToken) {
    scheduler.after_changes(stop, "telling tasks that their table is made", || all(&scheduler)).await;
}

async fn all(scheduler: &Scheduler) -> Result<()> {
    let untold =
        scheduler.store.read(|read| read.index_page(&JOB_TABLES, &UNTOLD_TABLES, &Scope::all(), None, 1000))?;
    for (key, _) in untold.items {
        let mut next = Some(0);
        while let Some(from) = next {
            let (own, at) = (key.clone(), scheduler.moment());
            next = scheduler.store.commit(move |tx| some(tx, &at, &own, from)).await?;
        }
    }
    Ok(())
}

/// Tells a page of a table's tasks. Returns the index to continue from, or None if all are told.
pub fn some(tx: &mut Tx<'_>, at: &Moment, key: &TableKey, from: usize) -> Result<Option<usize>> {
    let mut roll = Roll::open(tx, key)?;
    let Some(table) = roll.table().filter(|table| table.untold) else { return Ok(None) };
    let maker_key = TaskKey { job: key.job.clone(), number: table.first_task };
    let next = match tx.get(&TASKS, &maker_key)? {
        Some(maker) => tell(&mut roll, tx, at, (&maker_key, &maker), from)?,
        None => None,
    };
    if next.is_none() {
        roll.untold(at, false)?;
    }
    roll.close(tx)?;
    Ok(next)
}
