//! Moments and durations, between what stores keep and what the contracts have. A moment that is kept is milliseconds since
//! 1970 in UTC; 0 is unset.

use std::time::Duration;

use prost_types::Timestamp;

/// A moment as the contract has it.
pub fn timestamp(ms: i64) -> Option<Timestamp> {
    (ms != 0).then(|| Timestamp {
        seconds: ms.div_euclid(1000),
        nanos: i32::try_from(ms.rem_euclid(1000)).unwrap_or(0) * 1_000_000,
    })
}

/// A moment as it is kept, without what is below a millisecond.
pub fn millis(time: Option<Timestamp>) -> i64 {
    time.map_or(0, |t| t.seconds.saturating_mul(1000).saturating_add(i64::from(t.nanos) / 1_000_000))
}

/// A duration as the contract has it; none: it is longer than the contract can say.
pub fn duration(time: Duration) -> Option<prost_types::Duration> {
    prost_types::Duration::try_from(time).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_moment_goes_there_and_back(ms in any::<i64>()) {
            prop_assert_eq!(millis(timestamp(ms)), ms);
        }
    }

    #[test]
    fn moments_before_1970_have_nanos_that_count_upward() {
        assert_eq!(timestamp(-1), Some(Timestamp { seconds: -1, nanos: 999_000_000 }));
        assert_eq!((timestamp(0), millis(None)), (None, 0));
    }
}
