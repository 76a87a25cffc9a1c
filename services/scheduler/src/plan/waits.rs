//! Remembers why planning waits, for people to see, and how often each table was tried, so that a table whose source or
//! target does not answer is blocked in the end. Kept in memory only: a restart begins to count again.

use std::collections::HashMap;

use parking_lot::Mutex;

use crate::key::{JobKey, TableKey};
use crate::record::Reason;

/// Attempts to plan a table whose source or target does not answer. With the backoff between them, some eight minutes.
const TRIES_MAX: u32 = 20;

#[derive(Debug, Default)]
struct Waiting {
    reason: Reason,
    tries: HashMap<TableKey, u32>,
}

/// Why jobs that are being planned wait.
#[derive(Debug, Default)]
pub struct Waits(Mutex<HashMap<JobKey, Waiting>>);

impl Waits {
    /// Notes why a job cannot be planned further for now.
    pub fn job(&self, job: &JobKey, reason: Reason) {
        self.0.lock().entry(job.clone()).or_default().reason = reason;
    }

    /// Notes why a table of a job cannot be planned for now. Returns true once it has used up its attempts.
    pub fn table(&self, table: &TableKey, reason: Reason) -> bool {
        let mut all = self.0.lock();
        let waiting = all.entry(table.job.clone()).or_default();
        waiting.reason = reason;
        let tries = waiting.tries.entry(table.clone()).or_default();
        *tries += 1;
        *tries >= TRIES_MAX
    }

    /// Forgets a job that is planned, stopped or deleted.
    pub fn over(&self, job: &JobKey) {
        self.0.lock().remove(job);
    }

    /// Returns why a job waits, or None if its planning is not held up.
    pub fn of(&self, job: &JobKey) -> Option<Reason> {
        self.0.lock().get(job).map(|waiting| waiting.reason.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mms_proto::ErrorReason;

    #[test]
    fn a_table_is_given_up_after_its_tries_and_no_other_with_it() {
        let job = JobKey { data_source: "ds".to_owned(), job: "j".to_owned() };
        let table = |name: &str| TableKey { job: job.clone(), schema: "s".to_owned(), table: name.to_owned() };
        let (waits, reason) = (Waits::default(), || Reason::new(ErrorReason::SourceFailed, "away"));
        for _ in 1..TRIES_MAX {
            assert!(!waits.table(&table("a"), reason()));
        }
        assert!(!waits.table(&table("b"), reason()));
        assert!(waits.table(&table("a"), reason()));
        assert_eq!(waits.of(&job), Some(reason()));
        waits.over(&job);
        assert!(waits.of(&job).is_none() && !waits.table(&table("a"), reason()));
    }
}
