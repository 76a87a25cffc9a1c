//! Records that a data source's credential was refused, and paces the attempts with it: one task at a time, at growing
//! intervals, until a task reads rows. Decides whether a refusal is the source's failure or one task's. Pure.

use super::lease::Epoch;
use super::reason::Reason;

/// The first and the longest interval between two attempts, so that a corrected credential is used within a minute.
const FIRST_MS: i64 = 5_000;
const MOST_MS: i64 = 30_000;
/// How long refusals cost no task an attempt. After a day nobody is expected to correct the credential.
const PATIENCE_MS: i64 = 24 * 3_600_000;

/// The state of a data source whose credential was refused.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Denial {
    /// The last refusal; None once the credential is accepted again.
    #[prost(message, optional, tag = "1")]
    pub reason: Option<Reason>,
    /// When the credential was first refused, in Unix milliseconds; 0 if it has been accepted since.
    #[prost(int64, tag = "2")]
    since_ms: i64,
    /// The next attempt is not made before this time.
    #[prost(int64, tag = "3")]
    try_ms: i64,
    /// Attempts since the first refusal.
    #[prost(uint32, tag = "4")]
    tries: u32,
    /// The task that tries the credential now: its job, number and lease.
    #[prost(string, tag = "5")]
    job: String,
    #[prost(uint32, tag = "6")]
    number: u32,
    #[prost(message, optional, tag = "7")]
    epoch: Option<Epoch>,
    /// When the credential was last accepted after a refusal; 0 for never.
    #[prost(int64, tag = "8")]
    good_ms: i64,
}

impl Denial {
    /// Notes that a task was refused. `before_ms` is when the same task was refused before, if it has done nothing
    /// since, else 0. Returns true if the refusal is the data source's: then the source waits and the task loses no
    /// attempt. Returns false if it is the task's own, because another task has read with the credential since, or
    /// because nobody has corrected it for a day.
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

    /// Notes that a task was leased to try the credential.
    pub fn tried(&mut self, now_ms: i64, (job, number): (&str, u32), epoch: Epoch) {
        let wait = FIRST_MS.saturating_mul(1 << self.tries.min(10)).min(MOST_MS);
        self.try_ms = now_ms.saturating_add(wait);
        self.tries = self.tries.saturating_add(1);
        (self.job, self.number, self.epoch) = (job.to_owned(), number, Some(epoch));
    }

    /// Notes that the task with this lease has read rows. Returns whether that changes anything: only the task that
    /// tries the credential proves that it is accepted now.
    pub fn let_in(&mut self, now_ms: i64, (job, number): (&str, u32), epoch: Epoch) -> bool {
        let tries = self.since_ms != 0 && self.job == job && self.number == number && self.epoch == Some(epoch);
        if tries {
            *self = Self { good_ms: now_ms, ..Self::default() };
        }
        tries
    }

    /// Whether the data source waits.
    pub fn holds(&self) -> bool {
        self.since_ms != 0
    }

    /// Whether the next attempt may be made.
    pub fn is_due(&self, now_ms: i64) -> bool {
        now_ms >= self.try_ms
    }

    /// The task that tries the credential now: its job, number and lease.
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
        /// However long the credential is refused, attempts are five to thirty seconds apart, and the first that reads
        /// rows ends it.
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
