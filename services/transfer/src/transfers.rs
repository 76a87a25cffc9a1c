//! What this process does now, and the last that it did, for people to look at. Lost with the process, which is no loss.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::SystemTime;

use mms_proto::scheduler::v1 as pb;
use mms_proto::transfer::v1::{Transfer, TransferStep};
use parking_lot::Mutex;

use crate::progress::Progress;

/// Ended transfers that are kept.
const ENDED_MAX: usize = 100;

struct Entry {
    transfer: Transfer,
    progress: Arc<Progress>,
}

#[derive(Default)]
struct Inner {
    running: Vec<Entry>,
    ended: VecDeque<Transfer>,
}

/// The transfers of this process.
pub struct Transfers {
    worker: String,
    inner: Mutex<Inner>,
}

impl Transfers {
    /// None yet, of this worker (`workers/{worker}`).
    pub fn new(worker: String) -> Self {
        Self { worker, inner: Mutex::default() }
    }

    /// The worker's name.
    pub fn worker(&self) -> &str {
        &self.worker
    }

    /// A transfer begins; answers its name. The epoch's counter tells attempts of one task apart.
    pub fn begin(&self, spec: &pb::TaskSpec, epoch: pb::Epoch, progress: Arc<Progress>) -> String {
        let task = spec.name.split('/').skip(1).step_by(2).collect::<Vec<_>>().join("-");
        let id: String = format!("{}-{}", task, epoch.counter)
            .chars()
            .rev()
            .take(63)
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
            .collect();
        let name = format!("{}/transfers/{}", self.worker, id.trim_start_matches('-'));
        let rows: Option<i64> = spec.units.iter().map(|unit| unit.source_rows).sum();
        let transfer = Transfer {
            name: name.clone(),
            task: spec.name.clone(),
            attempt: spec.attempt,
            table: spec.table.clone(),
            target: spec.target.as_ref().and_then(|target| target.table.clone()),
            rows_total: rows,
            bytes_total: spec.units.iter().map(|unit| unit.source_bytes).sum(),
            units_total: i32::try_from(spec.units.len()).unwrap_or(i32::MAX),
            start_time: Some(SystemTime::now().into()),
            ..Transfer::default()
        };
        self.inner.lock().running.push(Entry { transfer, progress });
        name
    }

    /// A transfer ended; with why, if it did not do its task.
    pub fn end(&self, name: &str, error: Option<String>) {
        let mut inner = self.inner.lock();
        let Some(at) = inner.running.iter().position(|entry| entry.transfer.name == name) else { return };
        let entry = inner.running.swap_remove(at);
        let mut transfer = look(&entry);
        if let Some(error) = error {
            let lost = error == crate::error::TransferError::GivenUp.to_string();
            let step = if lost { TransferStep::GivenUp } else { TransferStep::Failed };
            transfer.step = step as i32;
            transfer.error = error;
        }
        transfer.end_time = Some(SystemTime::now().into());
        inner.ended.push_front(transfer);
        inner.ended.truncate(ENDED_MAX);
    }

    /// Those that run, by name, then those that ended, newest first.
    pub fn all(&self) -> Vec<Transfer> {
        let inner = self.inner.lock();
        let mut running: Vec<Transfer> = inner.running.iter().map(look).collect();
        running.sort_by(|a, b| a.name.cmp(&b.name));
        running.extend(inner.ended.iter().cloned());
        running
    }

    /// One of them.
    pub fn get(&self, name: &str) -> Option<Transfer> {
        self.all().into_iter().find(|transfer| transfer.name == name)
    }
}

fn look(entry: &Entry) -> Transfer {
    let beat = entry.progress.beat();
    let (step, units) = entry.progress.shown();
    Transfer {
        step: step as i32,
        rows_read: beat.rows,
        bytes_read: beat.bytes,
        units_done: units,
        ..entry.transfer.clone()
    }
}
