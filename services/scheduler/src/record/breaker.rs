//! A job's circuit breaker: pauses a job whose tasks keep failing, counted since it was last started. It opens only
//! when an attempt fails, so that a job that merely waits is never paused. Pure.

use mms_proto::ErrorReason;

use super::reason::Reason;

/// Ended tasks below which the share of failed ones does not count.
const SHARE_FROM: u32 = 10;

/// When the breaker opens. A bound of 0 never opens it.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct BreakerBounds {
    /// Percentage of ended tasks that have failed.
    #[prost(uint32, tag = "1")]
    pub failed_percent: u32,
    /// Time in which attempts fail and none succeeds.
    #[prost(int64, tag = "2")]
    pub no_success_ms: i64,
    /// Failed attempts within `burst_ms`; at most 1,000, because their times are stored with the job.
    #[prost(uint32, tag = "3")]
    pub burst: u32,
    #[prost(int64, tag = "4")]
    pub burst_ms: i64,
}

impl BreakerBounds {
    /// The managed service's defaults.
    pub const DEFAULT: Self =
        Self { failed_percent: 20, no_success_ms: 30 * 60_000, burst: 100, burst_ms: 10 * 60_000 };
    /// A breaker that never opens.
    pub const NEVER: Self = Self { failed_percent: 0, no_success_ms: 0, burst: 0, burst_ms: 0 };
}

/// What happened to one task.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Happened {
    /// An attempt failed.
    pub attempt_failed: bool,
    /// The task has done everything but its LOOK step.
    pub succeeded: bool,
    /// 1 if the task is done; -1 if that is taken back.
    pub done: i32,
    /// 1 if the task has failed for good; -1 if that is taken back.
    pub failed: i32,
}

/// What was counted since the job was last started.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Breaker {
    /// Tasks that have ended, and those of them that have failed.
    #[prost(uint32, tag = "1")]
    ended: u32,
    #[prost(uint32, tag = "2")]
    failed: u32,
    /// The first and the last failed attempt since the last success; 0 for none.
    #[prost(int64, tag = "3")]
    failing_since_ms: i64,
    #[prost(int64, tag = "4")]
    failed_last_ms: i64,
    /// Times of the last failed attempts, oldest first; at most as many as make a burst.
    #[prost(int64, repeated, tag = "5")]
    failures_ms: Vec<i64>,
}

impl Breaker {
    /// Counts an event. Returns why the job is to pause, if it is.
    pub fn count(&mut self, bounds: &BreakerBounds, now_ms: i64, what: Happened) -> Option<Reason> {
        self.ended = self.ended.saturating_add_signed(what.done).saturating_add_signed(what.failed);
        self.failed = self.failed.saturating_add_signed(what.failed);
        if what.succeeded {
            (self.failing_since_ms, self.failed_last_ms) = (0, 0);
        }
        if !what.attempt_failed && what.failed <= 0 {
            return None;
        }
        // After a silence as long as the bound, as between two time windows, attempts have not been failing all the
        // time.
        let silent = now_ms.saturating_sub(self.failed_last_ms) >= bounds.no_success_ms.max(1);
        if self.failing_since_ms == 0 || silent {
            self.failing_since_ms = now_ms;
        }
        self.failed_last_ms = now_ms;
        let burst = usize::try_from(bounds.burst).unwrap_or(0);
        self.failures_ms.push(now_ms);
        let surplus = self.failures_ms.len().saturating_sub(burst);
        self.failures_ms.drain(..surplus);
        let why = self.share(bounds).or_else(|| self.no_success(bounds)).or_else(|| self.burst(bounds, now_ms))?;
        let text = format!("{why}: look into the reasons of its tasks, then StartJob continues");
        Some(Reason::new(ErrorReason::CircuitBroken, text))
    }

    fn share(&self, bounds: &BreakerBounds) -> Option<String> {
        let (failed, ended) = (u64::from(self.failed), u64::from(self.ended));
        let opens = bounds.failed_percent > 0 && self.ended >= SHARE_FROM;
        let opens = opens && failed > 0 && failed * 100 >= ended * u64::from(bounds.failed_percent);
        opens.then(|| format!("{failed} of {ended} ended tasks failed, and {} % pause the job", bounds.failed_percent))
    }

    fn no_success(&self, bounds: &BreakerBounds) -> Option<String> {
        let failing = self.failed_last_ms - self.failing_since_ms;
        let opens = bounds.no_success_ms > 0 && self.failing_since_ms > 0 && failing >= bounds.no_success_ms;
        opens.then(|| format!("tasks fail since {} s, and none succeeded", failing / 1000))
    }

    fn burst(&self, bounds: &BreakerBounds, now_ms: i64) -> Option<String> {
        let whole = bounds.burst > 0 && self.failures_ms.len() == usize::try_from(bounds.burst).unwrap_or(0);
        let first = self.failures_ms.first().filter(|_| whole)?;
        let within = now_ms - first;
        (within <= bounds.burst_ms).then(|| format!("{} attempts failed within {} s", bounds.burst, within / 1000))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FAILED: Happened = Happened { attempt_failed: true, succeeded: false, done: 0, failed: 0 };
    const GIVEN_UP: Happened = Happened { failed: 1, ..FAILED };
    const DONE: Happened = Happened { attempt_failed: false, succeeded: true, done: 1, failed: 0 };

    proptest! {
        /// The window slides: the breaker opens exactly when enough failures for a burst lie within it.
        #[test]
        fn a_burst_is_what_lies_within_the_window(gaps in proptest::collection::vec(0..40_i64, 1..60), count in 1..8_u32) {
            let bounds = BreakerBounds { burst: count, burst_ms: 100, ..BreakerBounds::NEVER };
            let (mut breaker, mut now, mut times) = (Breaker::default(), 1, Vec::new());
            for gap in gaps {
                now += gap;
                times.push(now);
                let within = times.iter().filter(|time| now - **time <= 100).count();
                let opened = breaker.count(&bounds, now, FAILED).is_some();
                prop_assert_eq!(opened, within >= usize::try_from(count).unwrap());
                prop_assert!(breaker.failures_ms.len() <= usize::try_from(count).unwrap());
            }
        }

        #[test]
        fn the_share_counts_ended_tasks_from_the_tenth_on(ends in proptest::collection::vec(any::<bool>(), 1..60), percent in 1..=100_u32) {
            let bounds = BreakerBounds { failed_percent: percent, ..BreakerBounds::NEVER };
            let mut breaker = Breaker::default();
            let (mut ended, mut failed) = (0, 0);
            for fails in ends {
                ended += 1;
                failed += u32::from(fails);
                let opened = breaker.count(&bounds, 1, if fails { GIVEN_UP } else { DONE }).is_some();
                prop_assert_eq!(opened, fails && ended >= 10 && failed * 100 >= ended * percent);
            }
        }

        #[test]
        fn nothing_opens_it_that_is_no_failure_or_when_it_never_does(events in proptest::collection::vec(0..3_u8, 1..80)) {
            let mut breaker = Breaker::default();
            for (at, event) in (1..).zip(events) {
                let what = [DONE, FAILED, GIVEN_UP][usize::from(event)];
                prop_assert_eq!(breaker.count(&BreakerBounds::NEVER, at * 1_000_000, what), None);
                if event == 0 {
                    prop_assert_eq!(breaker.clone().count(&BreakerBounds::DEFAULT, at * 1_000_000, DONE), None);
                }
            }
        }
    }

    #[test]
    fn it_opens_after_failing_for_long_and_not_for_a_silence() {
        let bounds = BreakerBounds { no_success_ms: 1_000, ..BreakerBounds::NEVER };
        let mut breaker = Breaker::default();
        assert_eq!(breaker.count(&bounds, 5_000, FAILED), None, "the first failure after a long wait");
        assert_eq!(breaker.count(&bounds, 5_600, FAILED), None);
        assert_eq!(breaker.count(&bounds, 5_700, DONE), None);
        assert_eq!(breaker.count(&bounds, 6_200, FAILED), None, "a success in between");
        assert_eq!(breaker.count(&bounds, 9_000, FAILED), None, "a silence as long as the bound");
        assert_eq!(breaker.count(&bounds, 9_900, FAILED), None);
        let why = breaker.count(&bounds, 10_000, FAILED).expect("a second of failures");
        assert_eq!(why.reason, ErrorReason::CircuitBroken);
        assert!(why.message.contains("tasks fail since 1 s, and none succeeded"), "{}", why.message);
    }

    #[test]
    fn what_is_taken_back_counts_no_more() {
        let bounds = BreakerBounds { failed_percent: 20, ..BreakerBounds::NEVER };
        let mut breaker = Breaker::default();
        for _ in 0..9 {
            breaker.count(&bounds, 1, DONE);
        }
        assert_eq!(breaker.count(&bounds, 1, GIVEN_UP), None, "a tenth of them");
        breaker.count(&bounds, 1, Happened { failed: -1, ..Happened::default() });
        assert_eq!(breaker.count(&bounds, 1, GIVEN_UP), None);
        assert!(breaker.count(&bounds, 1, GIVEN_UP).is_none(), "2 of 11");
        assert!(breaker.count(&bounds, 1, GIVEN_UP).is_some(), "3 of 12");
    }
}
