//! Streams the units that the tasks of a table have published, and the partitions that are to be dropped. The task with the LOOK
//! step compares the target with them.

use futures::Stream;
use mms_proto::scheduler::v1 as pb;
use mms_store::{Read, Store};
use tonic::Status;

use crate::convert::{dropped_to, value_to};
use crate::error::{Result, SchedulerError};
use crate::key::TaskKey;
use crate::record::{Step, Task};
use crate::store::{JOB_TABLES, TASKS};

/// Units per message.
const AT_ONCE: usize = 1_000;

/// Tasks that are still to be read, units that are still to be sent, and partitions to be dropped.
type Left = (std::ops::Range<u32>, Vec<pb::PublishedUnit>, Vec<pb::DroppedPartition>);

/// Streams the published units of all tasks of a task's table, task by task, and the partitions to be dropped there. For a job
/// that moves no rows these are all units of tasks that have not failed.
pub fn units(
    store: Store,
    key: &TaskKey,
    task: &Task,
) -> Result<impl Stream<Item = Result<pb::ReadPublishedUnitsResponse, Status>> + Send + use<>> {
    let table = store.read(|read| read.get(&JOB_TABLES, &task.table_key(&key.job)))?;
    let numbers = table.as_ref().map_or(0..0, |table| table.tasks());
    let drops = table.map_or_else(Vec::new, |table| table.into_plan().gone).iter().map(dropped_to).collect();
    let start = (numbers, Vec::new(), drops);
    let job = key.job.clone();
    Ok(futures::stream::try_unfold(start, move |(mut numbers, mut left, drops): Left| {
        let (store, job) = (store.clone(), job.clone());
        async move {
            while left.len() < AT_ONCE {
                let Some(number) = Iterator::next(&mut numbers) else { break };
                let other = TaskKey { job: job.clone(), number };
                let task = store.read(|read| read.get(&TASKS, &other)).map_err(SchedulerError::from)?;
                left.extend(task.iter().flat_map(published));
            }
            if left.is_empty() && drops.is_empty() {
                return Ok(None);
            }
            let rest = left.split_off(left.len().min(AT_ONCE));
            Ok(Some((pb::ReadPublishedUnitsResponse { units: left, drops }, (numbers, rest, Vec::new()))))
        }
    }))
}

fn published(task: &Task) -> Vec<pb::PublishedUnit> {
    let moves = task.steps().contains(&Step::Data);
    let units = task.units.iter().filter(|unit| unit.published || (!moves && !task.state.is_failed()));
    let unit = |unit: &crate::record::Unit| pb::PublishedUnit {
        partition: unit.partition.iter().map(value_to).collect(),
        rows: moves.then_some(unit.rows_at_target()),
    };
    units.map(unit).collect()
}
