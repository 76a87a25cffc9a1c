//! Streams the files of a task from the manifest that the planner stored, so that a worker need not replay the table's
//! log.

use futures::Stream;
use mms_proto::scheduler::v1 as pb;
use mms_store::{Read, Store};
use tonic::Status;

use crate::convert::file_to;
use crate::error::SchedulerError;
use crate::key::{ChunkKey, TaskKey};
use crate::record::Task;
use crate::store::MANIFESTS;

/// Streams the stored chunks of some units, one message each. A unit is given by its position in the task and its
/// number in the table.
pub fn files(
    store: Store,
    key: &TaskKey,
    task: &Task,
    units: Vec<(u32, u32)>,
) -> impl Stream<Item = Result<pb::ReadTaskManifestResponse, Status>> + Send + use<> {
    let table = task.table_key(&key.job);
    let start = (units.into_iter(), None::<(u32, u32, u32)>);
    futures::stream::try_unfold(start, move |(mut units, mut at)| {
        let (store, table) = (store.clone(), table.clone());
        async move {
            loop {
                let Some((index, number, chunk)) =
                    at.or_else(|| units.next().map(|(index, number)| (index, number, 0)))
                else {
                    return Ok(None);
                };
                let chunk_key = ChunkKey { table: table.clone(), unit: number, chunk };
                let found = store.read(|read| read.get(&MANIFESTS, &chunk_key)).map_err(SchedulerError::from)?;
                if let Some(found) = found {
                    let files = found.files.into_iter().map(file_to).collect();
                    let message =
                        pb::ReadTaskManifestResponse { unit_index: i32::try_from(index).unwrap_or(i32::MAX), files };
                    return Ok(Some((message, (units, Some((index, number, chunk + 1))))));
                }
                at = None;
            }
        }
    })
}
