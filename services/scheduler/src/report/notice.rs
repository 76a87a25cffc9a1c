//! Stores what the catalog is to be told of tasks, in the commit that changes the task; [`super::tell`] delivers it
//! later. Decides what is said, never when.

use mms_proto::scheduler::v1::MigrationContent;
use mms_proto::types::v1::MigrationState;
use mms_store::{Read, Tx};

use crate::error::Result;
use crate::key::TaskKey;
use crate::moment::Moment;
use crate::name;
use crate::record::{JobTable, Notice, Sequence, Step, Task};
use crate::store::{JOB_TABLES, NOTICE_SEQUENCE, NOTICES};

/// Bounds of the partitions that one notice names, in number and in bytes.
const PARTITIONS_AT_ONCE: usize = 5_000;
const PARTITION_BYTES_AT_ONCE: usize = 512 << 10;

/// Stores one or more notices if the task's migration state has changed from `was` to `is`. `content` is what the job
/// moves.
pub fn leave(
    tx: &mut Tx<'_>,
    at: &Moment,
    key: &TaskKey,
    content: Option<MigrationContent>,
    table: &JobTable,
    task: &Task,
    (was, is): (MigrationState, MigrationState),
) -> Result<()> {
    // What is only compared is as it was.
    if was == is || content == Some(MigrationContent::VerificationOnly) {
        return Ok(());
    }
    // A version is only told if rows were moved. A task without units has no rows to move.
    let schema_only = content == Some(MigrationContent::SchemaOnly);
    let moved = task.steps().contains(&Step::Data) || (task.units.is_empty() && !schema_only);
    let notice = Notice {
        task: name::task_name(key),
        table: name::source_table_name(&task.table_key(&key.job))?,
        partitions: Vec::new(),
        state: is.into(),
        version: table.plan.version.clone().filter(|_| is != MigrationState::Done || moved),
        target: table.plan.target_name().cloned(),
        target_digest: Vec::new(),
        of_part: table.plan.of_part,
        rules_digest: Vec::new(),
    };
    // The digest is of the whole table, so it goes with the table's last notice: the last one of the task that looked
    // at it.
    let looked = is == MigrationState::Done && task.steps().contains(&Step::Look);
    let mut lists = cut(task.units.iter().flat_map(|unit| &unit.source_partitions)).into_iter().peekable();
    while let Some(partitions) = lists.next() {
        let sequence = next_notice(tx, at)?;
        let digest = Some(&table.target_digest).filter(|_| looked && lists.peek().is_none());
        let rules_digest = digest.map_or_else(Vec::new, |_| table.plan.rules_digest.clone());
        let target_digest = digest.cloned().unwrap_or_default();
        tx.put(&NOTICES, &sequence, &Notice { partitions, target_digest, rules_digest, ..notice.clone() })?;
    }
    Ok(())
}

/// Cuts names into lists of bounded length. No names make one empty list.
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

/// Stores that a task is no longer worked on, because it is deleted with its job.
pub fn gone(tx: &mut Tx<'_>, at: &Moment, key: &TaskKey, task: &Task) -> Result<()> {
    let Some(table) = tx.get(&JOB_TABLES, &task.table_key(&key.job))? else { return Ok(()) };
    leave(tx, at, key, None, &table, task, (task.told(), task.told_idle()))
}

/// Stores that nothing of a table is at the target any more, and then that this task is being worked on. Stored before
/// the drop: if the drop does not happen, at worst a table is moved unnecessarily.
pub fn dropped(tx: &mut Tx<'_>, at: &Moment, key: &TaskKey, task: &Task) -> Result<()> {
    let table_key = task.table_key(&key.job);
    let Some(table) = tx.get(&JOB_TABLES, &table_key)? else { return Ok(()) };
    let nothing = Notice {
        task: name::task_name(key),
        table: name::source_table_name(&table_key)?,
        state: MigrationState::Init.into(),
        ..Notice::default()
    };
    let sequence = next_notice(tx, at)?;
    tx.put(&NOTICES, &sequence, &nothing)?;
    leave(tx, at, key, None, &table, task, (task.told_idle(), task.told()))
}

/// Returns a sequence number above all earlier ones. It is also above those that this store gave out before it was
/// restored from a copy, because its upper bits are the incarnation.
fn next_notice(tx: &mut Tx<'_>, at: &Moment) -> Result<u64> {
    let base = (at.incarnation.number << 40) | (tx.revision() << 8);
    let last = tx.get(&NOTICE_SEQUENCE, &())?.unwrap_or_default().last;
    let last = base.max(last + 1);
    tx.put(&NOTICE_SEQUENCE, &(), &Sequence { last })?;
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
