//! What the catalog is to be told of tasks: written down in the commit that changes the task, told later by
//! [`crate::background`]. Decides what is said, never when.

use mms_proto::scheduler::v1::MigrationContent;
use mms_proto::types::v1::MigrationState;
use mms_store::{Read, Tx};

use crate::error::Result;
use crate::key;
use crate::record::{Job, JobTable, Notice, Sequence, Task};
use crate::rollup::Moment;
use crate::store::{JOB_TABLES, NOTICE_SEQUENCE, NOTICES, TaskKey};
use crate::task::{Step, TaskState};

/// What the catalog is told of a task.
pub fn told(task: &Task) -> MigrationState {
    match TaskState::of(task) {
        Some(TaskState::Done) => MigrationState::Done,
        Some(state) if state.is_failed() => MigrationState::Failed,
        _ if task.leased() || (task.attempt > 0 && !task.parked) => MigrationState::Doing,
        _ => MigrationState::Init,
    }
}

/// Whether the catalog believes it to be at work.
pub fn at_work(task: &Task) -> bool {
    told(task) == MigrationState::Doing
}

/// Partitions that one notice names: reports are bounded, in number and in bytes.
const PARTITIONS_AT_ONCE: usize = 5_000;
const PARTITION_BYTES_AT_ONCE: usize = 512 << 10;

/// Leaves a notice, or several, if the catalog is to hear of a change of a task.
pub fn notify(
    tx: &mut Tx<'_>,
    at: &Moment,
    key: &TaskKey,
    job: Option<&Job>,
    table: &JobTable,
    before: &Task,
    after: &Task,
) -> Result<()> {
    let state = told(after);
    if state == told(before) {
        return Ok(());
    }
    // Without rows that were moved, nothing is at the target that a version could be told of. What has no unit has no rows.
    let schema_only = job.is_some_and(|job| job.spec.content == MigrationContent::SchemaOnly as i32);
    let moved = after.steps.contains(&(Step::Data as i32)) || (after.units.is_empty() && !schema_only);
    let notice = Notice {
        task: key::task_name(key),
        table: key::table_name(&key.0, &after.schema, &after.table)?,
        partitions: Vec::new(),
        state: state as i32,
        version: table.version.clone().filter(|_| state != MigrationState::Done || moved),
        target: table.target.as_ref().and_then(|target| target.name.clone()),
    };
    for partitions in cut(after.units.iter().flat_map(|unit| &unit.source_partitions)) {
        let sequence = next_notice(tx, at)?;
        tx.put(&NOTICES, &sequence, &Notice { partitions, ..notice.clone() })?;
    }
    Ok(())
}

/// Cuts names into lists of bounded length; no name is one empty list.
fn cut<'a>(names: impl Iterator<Item = &'a String>) -> Vec<Vec<String>> {
    let mut lists: Vec<Vec<String>> = vec![Vec::new()];
    let mut bytes = 0;
    for name in names {
        let full = lists.last().is_some_and(|list| list.len() >= PARTITIONS_AT_ONCE)
            || (bytes > 0 && bytes + name.len() > PARTITION_BYTES_AT_ONCE);
        if full {
            lists.push(Vec::new());
            bytes = 0;
        }
        bytes += name.len();
        if let Some(list) = lists.last_mut() {
            list.push(name.clone());
        }
    }
    lists
}

/// Tells that a task is at work no more, as it goes away with its job.
pub fn gone(tx: &mut Tx<'_>, at: &Moment, key: &TaskKey, task: &Task) -> Result<()> {
    let Some(table) = tx.get(&JOB_TABLES, &key::table_of(key, task))? else { return Ok(()) };
    let after = Task { worker: String::new(), parked: true, ..task.clone() };
    notify(tx, at, key, None, &table, task, &after)
}

/// Tells that nothing of a table is at the target any more, as it is about to be dropped; then again that this task is at
/// work. Told before the drop: whoever hears it late has at worst moved too much.
pub fn dropped(tx: &mut Tx<'_>, at: &Moment, key: &TaskKey, task: &Task) -> Result<()> {
    let Some(table) = tx.get(&JOB_TABLES, &key::table_of(key, task))? else { return Ok(()) };
    let nothing = Notice {
        task: key::task_name(key),
        table: key::table_name(&key.0, &task.schema, &task.table)?,
        state: MigrationState::Init as i32,
        ..Notice::default()
    };
    let sequence = next_notice(tx, at)?;
    tx.put(&NOTICES, &sequence, &nothing)?;
    let idle = Task { worker: String::new(), parked: true, ..task.clone() };
    notify(tx, at, key, None, &table, &idle, task)
}

/// A sequence number above all before it, also above those that a copy of this store gave out before it was restored:
/// the incarnation makes its upper bits.
fn next_notice(tx: &mut Tx<'_>, at: &Moment) -> Result<u64> {
    let base = (at.incarnation.number << 40) | (tx.revision() << 8);
    let last = tx.get(&NOTICE_SEQUENCE, &0)?.unwrap_or_default().last;
    let last = base.max(last + 1);
    tx.put(&NOTICE_SEQUENCE, &0, &Sequence { last })?;
    Ok(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_name_is_lost_and_lists_are_bounded(sizes in proptest::collection::vec(0..2_000_usize, 0..2_000)) {
            let names: Vec<String> = sizes.iter().map(|size| "x".repeat(*size)).collect();
            let lists = cut(names.iter());
            prop_assert_eq!(lists.concat(), names);
            for list in &lists {
                prop_assert!(list.iter().map(String::len).sum::<usize>() <= PARTITION_BYTES_AT_ONCE);
            }
        }
    }

    #[test]
    fn names_are_cut_by_their_number_too() {
        let names = vec![String::new(); 2 * PARTITIONS_AT_ONCE + 1];
        let lists: Vec<usize> = cut(names.iter()).iter().map(Vec::len).collect();
        assert_eq!(lists, [PARTITIONS_AT_ONCE, PARTITIONS_AT_ONCE, 1]);
        assert_eq!(cut([].iter()).len(), 1, "the whole table");
    }
}
