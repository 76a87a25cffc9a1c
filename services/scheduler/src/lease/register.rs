//! Registers workers and deletes those that are silent, inside a commit.

use mms_store::{Read, Tx};

use super::{end, held};
use crate::error::Result;
use crate::key::TaskKey;
use crate::moment::Moment;
use crate::record::{Epoch, LeaseEnd, Worker};
use crate::store::WORKERS;

/// Stores a worker, which keeps the uid of its first registration. Leases of an earlier process of the same worker end;
/// they are returned.
pub fn register(tx: &mut Tx<'_>, at: &Moment, id: &str, mut worker: Worker) -> Result<Vec<(TaskKey, Epoch)>> {
    if let Some(known) = tx.get(&WORKERS, &id.to_owned())? {
        worker.uid = known.uid;
    }
    let mut ended = Vec::new();
    for (key, task) in held::all(tx, Some(id))? {
        let same = task.holder.as_ref().is_some_and(|holder| holder.instance == worker.instance);
        if !same && end::end(tx, at, &key, task.epoch, LeaseEnd::Restarted)? {
            ended.push((key, task.epoch));
        }
    }
    tx.put(&WORKERS, &id.to_owned(), &worker)?;
    Ok(ended)
}

/// Deletes a worker if it is still this process and holds no lease. Returns whether it was deleted.
pub fn forget(tx: &mut Tx<'_>, id: &str, instance: &str) -> Result<bool> {
    let same = tx.get(&WORKERS, &id.to_owned())?.is_some_and(|worker| worker.instance == instance);
    let gone = same && held::all(tx, Some(id))?.is_empty();
    if gone {
        tx.delete(&WORKERS, &id.to_owned())?;
    }
    Ok(gone)
}
