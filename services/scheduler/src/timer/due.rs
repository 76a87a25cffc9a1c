//! Decides which of a timer's scheduled times counts when it is due, and whether a run starts or is skipped. Pure.

use mms_proto::ErrorReason;
use mms_proto::scheduler::v1::{MissedPolicy, OverlapPolicy};
use mms_schedule::Schedule;

use crate::record::{Reason, Timer};

/// A scheduled time that is handled later than this counts as missed, because the scheduler was not running.
pub const LATE_MS: i64 = 60_000;
const HOUR_MS: i64 = 3_600_000;
/// How far back the last scheduled time is searched, in steps, so that few times are computed however long the
/// scheduler was down.
const BACK_MS: [i64; 4] = [HOUR_MS, 24 * HOUR_MS, 32 * 24 * HOUR_MS, 400 * 24 * HOUR_MS];

/// Returns the last scheduled time up to now, starting with the first that was not handled yet.
pub fn last_moment(schedule: &Schedule, first_ms: i64, now_ms: i64) -> i64 {
    for back in BACK_MS {
        let from = (now_ms - back).max(first_ms);
        let next = |at: &i64| schedule.next_after(*at).filter(|at| *at <= now_ms);
        if let Some(last) = std::iter::successors(next(&(from - 1)), next).last() {
            return last;
        }
    }
    first_ms
}

/// What follows from a scheduled time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A run that makes a job as soon as it can.
    Run,
    /// A run that makes no job and says why.
    Skip(Reason),
}

/// Decides about a scheduled time. `alive` is the name of the timer's last job if that has not ended.
pub fn at_moment(timer: &Timer, moment_ms: i64, now_ms: i64, alive: Option<&str>) -> Step {
    if now_ms - moment_ms > LATE_MS && timer.told.missed == MissedPolicy::Skip {
        let text =
            format!("it was due {} minutes before the scheduler was running again", (now_ms - moment_ms) / LATE_MS);
        return Step::Skip(Reason::new(ErrorReason::Missed, text));
    }
    overlap(timer, alive)
}

/// Decides about a run that is due or triggered, when an earlier run waits or the timer's last job (`alive`) has not
/// ended.
pub fn overlap(timer: &Timer, alive: Option<&str>) -> Step {
    let skip = |text: String| Step::Skip(Reason::new(ErrorReason::Overlap, text));
    match (timer.waiting, alive) {
        (Some(run), _) => skip(format!("run {run} still waits, and at most one run waits")),
        (None, Some(job)) if timer.told.overlap != OverlapPolicy::Queue => {
            skip(format!("{job}, which an earlier run made, has not ended: wait for its end, or set overlap to QUEUE"))
        }
        (None, _) => Step::Run,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// However long the scheduler was down, the result is the one that computing every scheduled time finds.
        #[test]
        fn the_last_moment_is_found_without_a_look_at_all(
            away_min in 1i64..3_000,
            text in prop::sample::select(vec!["cron */5 * * * * in UTC", "daily 03:00 in Europe/Berlin", "hourly :15 in UTC", "cron 0 0 * * 1 in UTC"]),
            start in 1_600_000_000_000i64..1_800_000_000_000,
        ) {
            let schedule: Schedule = text.parse().expect("a schedule");
            let first = schedule.next_after(start).expect("it comes");
            let now = first + away_min * 60_000;
            let all = std::iter::successors(Some(first), |at| schedule.next_after(*at)).take_while(|at| *at <= now);
            prop_assert_eq!(Some(last_moment(&schedule, first, now)), all.last());
        }
    }
}
