//! Converts moments and durations between the stores and the contracts. Stores keep a moment as milliseconds since 1970
//! in UTC, with 0 for "not set".

use std::time::Duration;

use prost_types::Timestamp;

/// A stored moment as the contract has it; `None` for 0.
pub fn timestamp(ms: i64) -> Option<Timestamp> {
    (ms != 0).then(|| Timestamp {
        seconds: ms.div_euclid(1000),
        nanos: i32::try_from(ms.rem_euclid(1000)).unwrap_or(0) * 1_000_000,
    })
}

/// A moment of the contract as it is stored, cut to whole milliseconds; 0 for `None`.
pub fn millis(time: Option<Timestamp>) -> i64 {
    time.map_or(0, |t| t.seconds.saturating_mul(1000).saturating_add(i64::from(t.nanos) / 1_000_000))
}

/// A duration as the contract has it; `None` if it is longer than the contract can express.
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
