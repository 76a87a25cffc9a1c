//! That a data source's credential was refused where rows are read, and when it is tried again: one task at a time, at growing
//! intervals, until it is let in. Whose failure a refusal is, the source's or one table's, is decided here. Pure.

use super::lease::Epoch;
use super::reason::Reason;

/// Between two tries, at first and at most: a secret that was put right is taken up within a minute.
const FIRST_MS: i64 = 5_000;
const MOST_MS: i64 = 30_000;
/// So long tries cost no task an attempt: after that nobody is expected to put it right.
const PATIENCE_MS: i64 = 24 * 3_600_000;

/// What is known of a data source whose credential was refused.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Denial {
    /// What was refused last, while it is.
    #[prost(message, optional, tag = "1")]
    pub reason: Option<Reason>,
    /// Since when; 0: it was let in since.
    #[prost(int64, tag = "2")]
    since_ms: i64,
    /// Not before then is the next task given out.
    #[prost(int64, tag = "3")]
    try_ms: i64,
    /// Tries so far.
    #[prost(uint32, tag = "4")]
    tries: u32,
    /// The task that tries now: its job, its number, its lease.
    #[prost(string, tag = "5")]
    job: String,
    #[prost(uint32, tag = "6")]
    number: u32,
    #[prost(message, optional, tag = "7")]
    epoch: Option<Epoch>,
    /// When it was last let in after a refusal; 0: never.
    #[prost(int64, tag = "8")]
    good_ms: i64,
}

impl Denial {
    /// A task was refused. `before_ms`: when the same task was refused before and has done nothing since; 0: it was not. Says
    /// whether that is the source's: then the source waits, and the task has lost nothing. It is the task's own if the
    /// credential was let in elsewhere since, or nobody has put it right for a day.
    pub fn refused(&mut self, now_ms: i64, before_ms: i64, reason: &Reason) -> bool {
        if before_ms != 0 && self.good_ms > before_ms {
            return false;
        }
        if self.since_ms == 0 {
            (self.since_ms, self.try_ms, self.tries) = (now_ms, now_ms.saturating_add(FIRST_MS), 0);
        }
        (self.reason, self.epoch) = (Some(reason.clone()), None);
        now_ms.saturating_sub(self.since_ms) < PATIENCE_MS
    }

    /// A task was given out to try it.
    pub fn tried(&mut self, now_ms: i64, (job, number): (&str, u32), epoch: Epoch) {
        let wait = FIRST_MS.saturating_mul(1 << self.tries.min(10)).min(MOST_MS);
        self.try_ms = now_ms.saturating_add(wait);
        self.tries = self.tries.saturating_add(1);
        (self.job, self.number, self.epoch) = (job.to_owned(), number, Some(epoch));
    }

    /// Rows were read by a task with this lease. Says whether that changes anything: only the one that tries tells of the
    /// credential that there is now.
    pub fn let_in(&mut self, now_ms: i64, (job, number): (&str, u32), epoch: Epoch) -> bool {
        let tries = self.since_ms != 0 && self.job == job && self.number == number && self.epoch == Some(epoch);
        if tries {
            *self = Self { good_ms: now_ms, ..Self::default() };
        }
        tries
    }

    /// Whether the source waits.
    pub fn holds(&self) -> bool {
        self.since_ms != 0
    }

    /// Whether the time of the next try has come.
    pub fn is_due(&self, now_ms: i64) -> bool {
        now_ms >= self.try_ms
    }

    /// The task that tries now, as it was given out: its job, its number, its lease.
    pub fn trying(&self) -> Option<(&str, u32, Epoch)> {
        self.epoch.map(|epoch| (self.job.as_str(), self.number, epoch))
    }
}

#[cfg(test)]
mod tests {
    use mms_proto::ErrorReason;
    use proptest::prelude::*;

    use super::*;

    fn reason() -> Reason {
        Reason::new(ErrorReason::StorageDenied, "no")
    }

    proptest! {
        /// However long it is refused: tries are at least five seconds apart and half a minute at most, and the first that reads
        /// ends it.
        #[test]
        fn tries_are_paced_until_one_is_let_in(times in 1_u32..50) {
            let (mut denial, mut now) = (Denial::default(), 1_000);
            prop_assert!(denial.refused(now, 0, &reason()) && denial.holds());
            let mut epoch = Epoch::default();
            for number in 0..times {
                let mut waited = 0;
                while !denial.is_due(now) {
                    (now, waited) = (now + 100, waited + 100);
                }
                prop_assert!((FIRST_MS..=MOST_MS).contains(&waited), "{}", waited);
                epoch.counter += 1;
                denial.tried(now, ("j", number), epoch);
                prop_assert_eq!(denial.trying(), Some(("j", number, epoch)));
                prop_assert!(!denial.let_in(now, ("j", number + 1), epoch), "another task says nothing of it");
                if number + 1 < times {
                    prop_assert!(denial.refused(now, 0, &reason()));
                }
            }
            prop_assert!(denial.let_in(now, ("j", times - 1), epoch));
            prop_assert!(!denial.holds() && denial.trying().is_none() && denial.reason.is_none());
        }
    }

    #[test]
    fn a_table_that_is_refused_alone_does_not_hold_its_source() {
        let mut denial = Denial::default();
        assert!(denial.refused(1_000, 0, &reason()));
        let epoch = Epoch { counter: 1, ..Epoch::default() };
        denial.tried(6_000, ("j", 2), epoch);
        assert!(denial.let_in(7_000, ("j", 2), epoch));
        assert!(!denial.refused(8_000, 1_000, &reason()), "another table is read with it");
        assert!(!denial.holds());
        assert!(denial.refused(9_000, 0, &reason()), "a table that was not refused before");
        assert!(!denial.refused(9_000 + PATIENCE_MS, 9_000, &reason()) && denial.holds(), "nobody puts it right");
    }
}
