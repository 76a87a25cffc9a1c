//! What this process does now, and the last transfers that ended, for people to look at. In memory only: nothing depends on
//! it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::SystemTime;

use mms_proto::scheduler::v1 as pb;
use mms_proto::transfer::v1::{Transfer, TransferStep};
use parking_lot::Mutex;

use crate::progress::Progress;

/// Ended transfers that are kept; the oldest go first.
const ENDED_MAX: usize = 100;

/// How a transfer ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// All its steps that could be done are done.
    Done,
    /// It failed for this reason.
    Failed(String),
    /// The lease was lost or released for this reason.
    GivenUp(String),
}

/// Position of a transfer in lists: running ones first, then the latest that ended. Positions are never used twice, and a
/// transfer that ends moves towards the end of the list, so that a reader of page after page misses none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    ended: bool,
    number: u64,
}

impl Place {
    /// The text of a page token.
    pub fn text(self) -> String {
        format!("{}-{}", u8::from(self.ended), self.number)
    }

    /// Parses the text of a page token.
    pub fn of(text: &str) -> Option<Self> {
        let (ended, number) = text.split_once('-')?;
        Some(Self { ended: ended == "1", number: number.parse().ok()? })
    }
}

struct Entry {
    number: u64,
    transfer: Transfer,
    progress: Arc<Progress>,
}

#[derive(Default)]
struct Inner {
    /// Numbers that were given so far.
    last: u64,
    /// Oldest first.
    running: Vec<Entry>,
    /// Latest first.
    ended: VecDeque<(u64, Transfer)>,
}

impl Inner {
    fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }
}

pub struct Transfers {
    worker: String,
    inner: Mutex<Inner>,
}

impl Transfers {
    /// No transfers yet; `worker` is the worker's name, `workers/{worker}`.
    pub fn new(worker: String) -> Self {
        Self { worker, inner: Mutex::default() }
    }

    /// The worker's name.
    pub fn worker(&self) -> &str {
        &self.worker
    }

    /// Adds a running transfer and returns its name. The epoch's counter in it tells attempts of one task apart.
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
            uid: uuid::Uuid::new_v4().to_string(),
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
        let mut inner = self.inner.lock();
        let number = inner.next();
        inner.running.push(Entry { number, transfer, progress });
        name
    }

    /// Moves a transfer to those that ended.
    pub fn end(&self, name: &str, how: Ending) {
        let mut inner = self.inner.lock();
        let Some(at) = inner.running.iter().position(|entry| entry.transfer.name == name) else { return };
        let entry = inner.running.remove(at);
        let mut transfer = look(&entry);
        let (step, error) = match how {
            Ending::Done => (TransferStep::Done, String::new()),
            Ending::Failed(why) => (TransferStep::Failed, why),
            Ending::GivenUp(why) => (TransferStep::GivenUp, why),
        };
        (transfer.step, transfer.error) = (step as i32, error);
        transfer.end_time = Some(SystemTime::now().into());
        let number = inner.next();
        inner.ended.push_front((number, transfer));
        inner.ended.truncate(ENDED_MAX);
    }

    /// The transfers behind a position, in order; all of them for None.
    pub fn after(&self, place: Option<Place>) -> Vec<(Place, Transfer)> {
        let inner = self.inner.lock();
        let running = inner.running.iter().map(|entry| (Place { ended: false, number: entry.number }, look(entry)));
        let ended = inner
            .ended
            .iter()
            .map(|(number, transfer)| (Place { ended: true, number: u64::MAX - number }, transfer.clone()));
        running.chain(ended).filter(|(at, _)| place.is_none_or(|place| *at > place)).collect()
    }

    pub fn get(&self, name: &str) -> Option<Transfer> {
        self.after(None).into_iter().map(|(_, transfer)| transfer).find(|transfer| transfer.name == name)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(transfers: &Transfers, task: &str) -> String {
        let spec = pb::TaskSpec { name: format!("dataSources/d/jobs/j/tasks/{task}"), ..pb::TaskSpec::default() };
        transfers.begin(&spec, pb::Epoch { incarnation: 1, counter: 1 }, Arc::default())
    }

    #[test]
    fn a_page_goes_on_where_it_was_though_its_last_transfer_went() {
        let transfers = Transfers::new("workers/w".to_owned());
        let names: Vec<String> = ["c", "a", "b"].iter().map(|task| begin(&transfers, task)).collect();
        let list = |place| transfers.after(place).into_iter().map(|(_, transfer)| transfer.name).collect::<Vec<_>>();
        assert_eq!(list(None), names);
        let second = Place::of(&transfers.after(None)[1].0.text());
        assert!(second.is_some());
        transfers.end(&names[1], Ending::GivenUp("stopped".to_owned()));
        transfers.end(&names[0], Ending::Done);
        assert_eq!(list(second), [&*names[2], &*names[0], &*names[1]]);
        let given_up = transfers.get(&names[1]).expect("kept");
        assert_eq!((given_up.step(), &*given_up.error), (TransferStep::GivenUp, "stopped"));
    }
}
