//! Moments and durations.

/// A moment of the store as the contract has it; 0 is unset.
pub fn time(ms: i64) -> Option<prost_types::Timestamp> {
    (ms != 0).then(|| prost_types::Timestamp {
        seconds: ms.div_euclid(1000),
        nanos: i32::try_from(ms.rem_euclid(1000)).unwrap_or(0) * 1_000_000,
    })
}

/// The other way.
pub fn millis(time: Option<prost_types::Timestamp>) -> i64 {
    time.map_or(0, |t| t.seconds.saturating_mul(1000).saturating_add(i64::from(t.nanos) / 1_000_000))
}

/// A duration as the contract has it.
pub fn duration(time: std::time::Duration) -> Option<prost_types::Duration> {
    prost_types::Duration::try_from(time).ok()
}
